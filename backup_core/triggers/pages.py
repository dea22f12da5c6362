"""HTML pages from templates, and the few files that they need; knows nothing of requests, or of who may see what.

What each page is told (`=` has a default, everything else must be given):

welcome    sign_in="" where operators sign in, signed_in_as="" a person who is no operator
onboard    place (where backups lie, in words), start_url="/onboard/start", approve=False (an operator lets each
           organisation in), enrol="all" or "none"
connect    place, start_url, approve=False
connected  name, upn="", pending=False
outcome    kind (a key of outcomes.OUTCOMES), organization="", missing=() roles, detail="" (Microsoft's words),
           reference="", way="onboard" or "connect" (which ended so, and starts again by the button)
dashboard  overview (an overview.Overview), now, signed_in_as="", sign_out=""
error      status, title, detail="", reference="" (the correlation id)
"""

import datetime
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from backup_core.triggers.outcomes import outcome

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

_DEFAULTS: dict[str, dict[str, Any]] = {
    "welcome": {"sign_in": "", "signed_in_as": ""},
    "onboard": {"start_url": "/onboard/start", "approve": False, "enrol": "all"},
    "connect": {"approve": False},
    "connected": {"upn": "", "pending": False},
    "outcome": {"organization": "", "missing": (), "detail": "", "reference": "", "way": "onboard"},
    "dashboard": {"signed_in_as": "", "sign_out": ""},
    "error": {"detail": "", "reference": ""},
}


class Asset(NamedTuple):
    """A file that pages refer to. `name` holds a hash of the content: it can be kept for ever."""

    name: str
    content_type: str
    body: bytes


def render(page: str, /, **data: Any) -> str:
    """The page as HTML. Every value is escaped; one that the page needs and was not given is an error."""
    return _templates().get_template(f"{page}.html").render(_DEFAULTS[page] | data)


def asset(name: str) -> Asset | None:
    """The file under `/assets/<name>`; None where no page of this version refers to that name."""
    return next((each for each in _assets().values() if each.name == name), None)


@cache
def _assets() -> dict[str, Asset]:
    return dict(_read_assets())


def _read_assets() -> Iterator[tuple[str, Asset]]:
    for path in sorted((_HERE / "assets").iterdir()):
        body = path.read_bytes()
        name = f"{path.stem}.{hashlib.sha256(body).hexdigest()[:12]}{path.suffix}"
        yield path.name, Asset(name, _TYPES[path.suffix], body)


@cache
def _templates() -> Environment:
    """Made at the first page: the app answers its other triggers without waiting for templates."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(asset=lambda name: f"/assets/{_assets()[name].name}", outcome=outcome)
    made.filters.update(ago=_ago, moment=_moment, number=_number)
    return made


def _number(value: int) -> str:
    return f"{value:,}"


def _moment(when: datetime.datetime) -> str:
    return f"{when.day} {when:%b %Y, %H:%M} UTC"


def _ago(when: datetime.datetime, now: datetime.datetime) -> str:
    """How long ago, in the largest whole unit: an overview needs no more."""
    seconds = max(0, int((now - when).total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if count := seconds // length:
            return f"{count:,} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
