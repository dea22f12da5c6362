"""The script of what goes wrong: which request meets which fault, and whether each fault really came.

It does not touch a socket: `server.py` carries the transport faults out.
"""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backup_core.testing.m365.wire import Request, Response


@dataclass(frozen=True)
class Status:
    """The route is not asked; this answer comes instead. A dict becomes JSON."""

    status: int
    body: bytes | str | Mapping[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        if isinstance(self.body, Mapping):
            return Response.of_json(dict(self.body), self.status, dict(self.headers))
        body = self.body.encode() if isinstance(self.body, str) else self.body
        return Response(self.status, dict(self.headers), body)


@dataclass(frozen=True)
class Alter:
    """The route's own answer, changed on its way: a link to a foreign host, a flipped byte, a missing header."""

    change: Callable[[Response], Response]


@dataclass(frozen=True)
class Reset:
    """A TCP reset once the head and `after` bytes of the body have arrived; a negative `after` counts from the end."""

    after: int = 0


@dataclass(frozen=True)
class Truncate:
    """The head promises the whole body, `after` bytes of it come, then the connection is closed in good order."""

    after: int = 0


@dataclass(frozen=True)
class WithoutLength:
    """A body without Content-Length that ends with the connection; with `after` it is cut there, and nothing tells."""

    after: int | None = None


@dataclass(frozen=True)
class Slow:
    """A pause of real seconds (a client's timeout is real too): before the answer, or after so many bytes of it."""

    seconds: float
    after: int | None = None


@dataclass(frozen=True)
class Close:
    """The request arrives, and the connection is closed without a word."""


Fault = Status | Alter | Reset | Truncate | WithoutLength | Slow | Close


@dataclass
class _Rule:
    pattern: re.Pattern[str]
    fault: Fault
    nth: int
    times: int | None
    seen: int = 0
    fired: int = 0

    def takes(self, lines: tuple[str, str]) -> bool:
        if not any(self.pattern.search(line) for line in lines):
            return False
        self.seen += 1
        due = self.seen >= self.nth and (self.times is None or self.fired < self.times)
        self.fired += due
        return due

    def shortfall(self) -> str | None:
        wanted = self.times or 1
        if self.fired >= wanted:
            return None
        return f"{self.fault} for {self.pattern.pattern!r} from request {self.nth} on: {self.fired} of {wanted} times"


class FaultPlan:
    """Thread-safe. A request meets one fault at most: of several rules that are due, the one that was added first."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def add(self, match: str, fault: Fault, nth: int = 1, times: int | None = 1) -> None:
        """The fault meets the `nth` matching request (from 1) and those after it, `times` in all (None: every one).

        `match` is a regular expression, searched in `GET graph /v1.0/me?a=b` and in `GET /v1.0/me?a=b`. A request that
        an earlier rule took is not counted, so two rules with one `match` follow each other.
        """
        if nth < 1 or (times is not None and times < 1):
            raise ValueError("nth and times count from 1")
        with self._lock:
            self._rules.append(_Rule(re.compile(match), fault, nth, times))

    def take(self, request: Request) -> Fault | None:
        if not self._rules:
            return None
        target = f"{request.path}?{request.raw_query}" if request.raw_query else request.path
        lines = (f"{request.method} {request.origin} {target}", f"{request.method} {target}")
        with self._lock:
            for rule in self._rules:
                if rule.takes(lines):
                    return rule.fault
        return None

    def fired(self) -> int:
        """How many requests have met a fault so far."""
        with self._lock:
            return sum(rule.fired for rule in self._rules)

    def clear(self) -> None:
        """The trouble is over. AssertionError as for `verify_all_fired`: a fault that never came is not forgotten."""
        self.verify_all_fired()
        with self._lock:
            self._rules.clear()

    def verify_all_fired(self) -> None:
        """AssertionError with every fault that came too seldom: a test that met no trouble has shown nothing."""
        with self._lock:
            missing = [text for rule in self._rules if (text := rule.shortfall())]
        if missing:
            raise AssertionError("Scripted faults did not come:\n  " + "\n  ".join(missing))
