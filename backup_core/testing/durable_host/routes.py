"""Which function answers a path: route templates with constraints, as the Functions host reads them.

A request whose path fits but whose method does not is no match either: the Functions host answers 404 there, not 405.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from backup_core.errors import DrivekeepError
from backup_core.testing.durable_host.worker import FunctionInfo

_GUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_PARAMETER = re.compile(r"\{(\*{0,2})(\w+)((?::\w+(?:\([^)]*\))?)*)(\?)?\}")
_CONSTRAINT = re.compile(r":(\w+)(?:\(([^)]*)\))?")

Check = Callable[[str, str], bool]  # the value, the text in the constraint's parentheses
_CHECKS: Mapping[str, Check] = {
    "int": lambda value, _: bool(re.fullmatch(r"-?\d{1,10}", value)),
    "long": lambda value, _: bool(re.fullmatch(r"-?\d{1,19}", value)),
    "bool": lambda value, _: value.lower() in ("true", "false"),
    "guid": lambda value, _: bool(_GUID.fullmatch(value)),
    "alpha": lambda value, _: bool(re.fullmatch(r"[A-Za-z]*", value)),
    "length": lambda value, bounds: _within(len(value), bounds),
    "minlength": lambda value, least: len(value) >= int(least),
    "maxlength": lambda value, most: len(value) <= int(most),
    "min": lambda value, least: _is_number(value) and int(value) >= int(least),
    "max": lambda value, most: _is_number(value) and int(value) <= int(most),
    "range": lambda value, bounds: _is_number(value) and _within(int(value), bounds),
}


class _Segment(NamedTuple):
    """One part of a template between slashes: literal text, or a parameter with its checks."""

    literal: str = ""
    name: str = ""
    rest: bool = False
    optional: bool = False
    checks: tuple[tuple[Check, str], ...] = ()

    @property
    def rank(self) -> int:
        """Literal text goes before a parameter with a constraint, that before one without, that before `{*rest}`."""
        if not self.name:
            return 0
        return 3 if self.rest else 1 if self.checks else 2

    def takes(self, value: str) -> bool:
        if not self.name:
            return self.literal.lower() == value.lower()
        return all(check(value, text) for check, text in self.checks)


@dataclass(frozen=True)
class Route:
    """Where one function answers; `methods` empty: every method."""

    function: str
    template: str
    methods: frozenset[str]
    level: str
    parameter: str
    segments: tuple[_Segment, ...]

    def match(self, parts: list[str]) -> dict[str, str] | None:
        """The route parameters, where the decoded parts of a path fit."""
        values: dict[str, str] = {}
        for number, segment in enumerate(self.segments):
            if segment.rest:
                values[segment.name] = "/".join(parts[number:])
                return values
            if number >= len(parts):
                return values if all(each.optional for each in self.segments[number:]) else None
            if not segment.takes(parts[number]):
                return None
            if segment.name:
                values[segment.name] = parts[number]
        return values if len(parts) <= len(self.segments) else None

    @property
    def shape(self) -> tuple[object, ...]:
        """Two routes of one shape and method answer the same paths."""
        return tuple((segment.rank, segment.literal.lower()) for segment in self.segments)


class RouteTable:
    """All HTTP functions of an app, the most exact template first."""

    def __init__(self, functions: Iterable[FunctionInfo], prefix: str) -> None:
        routes = [_route(function, prefix) for function in functions if function.kind == "httpTrigger"]
        self.routes = sorted(routes, key=lambda route: [segment.rank for segment in route.segments])

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
        """`raw_path` still percent-encoded, without the query."""
        parts = _parts(raw_path)
        for route in self.routes:
            values = route.match(parts)
            if values is not None and (not route.methods or method in route.methods):
                return route, values
        return None

    def collisions(self) -> list[tuple[str, str]]:
        """Pairs of functions that claim the same paths and methods: which one Azure would ask is not said anywhere."""
        return [
            (first.function, second.function)
            for number, first in enumerate(self.routes)
            for second in self.routes[number + 1 :]
            if first.shape == second.shape
            and (not first.methods or not second.methods or first.methods & second.methods)
        ]


def _route(function: FunctionInfo, prefix: str) -> Route:
    trigger = function.trigger
    template = trigger.get("route") or function.name  # an empty route means the function's name, in Azure too
    whole = "/".join(part for part in (prefix.strip("/"), template.strip("/")) if part)
    return Route(
        function=function.name,
        template=whole,
        methods=frozenset(str(method).upper() for method in trigger.get("methods") or ()),
        level=str(trigger.get("authLevel") or "FUNCTION").upper(),
        parameter=trigger["name"],
        segments=tuple(_segment(part, whole) for part in whole.split("/")),
    )


def _segment(text: str, template: str) -> _Segment:
    if "{" not in text:
        return _Segment(literal=text)
    found = _PARAMETER.fullmatch(text)
    constraints = _CONSTRAINT.findall(found[3]) if found else []
    if not found or any(name not in _CHECKS for name, _ in constraints):
        raise DrivekeepError(
            f"The route {template} is beyond this host.",
            why=f"It knows {{name}}, {{name?}}, {{*name}} and the constraints {', '.join(_CHECKS)}.",
            remedy="Put the route in those words.",
        )
    checks = tuple((_CHECKS[name], argument) for name, argument in constraints)
    return _Segment(name=found[2], rest=bool(found[1]), optional=bool(found[4] or found[1]), checks=checks)


def _parts(raw_path: str) -> list[str]:
    """Decoded segments, `.` and `..` carried out as web servers do before they look for a route."""
    parts: list[str] = []
    for raw in raw_path.strip("/").split("/"):
        part = unquote(raw)
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    return parts


def _is_number(value: str) -> bool:
    return bool(re.fullmatch(r"-?\d{1,10}", value))


def _within(count: int, bounds: str) -> bool:
    least, _, most = bounds.partition(",")
    return int(least) <= count <= int(most or least)
