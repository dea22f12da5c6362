"""What is answered where something cannot be done: problem+json for programs, a page for people. It decides nothing.

A caller sees the class of an error in a fixed sentence. What exactly went wrong inside is in the log, under the
correlation id that the caller sees: an error's own words may name storage, hosts and paths.
"""

import json
import logging
import secrets
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from backup_core.errors import (
    AccessDenied,
    Damaged,
    DrivekeepError,
    Locked,
    NotFound,
    Temporary,
    Usage,
    WrongPassword,
)

TYPE = "application/problem+json"

_log = logging.getLogger("backup_core.http")
_FRAMES_MAX = 12  # the innermost ones say where it happened


class Refusal(Exception):
    """A request is answered with an error. `reason`: one word for programs; `detail`: a sentence for its sender."""

    def __init__(self, status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail, self.headers = status, reason, _whole(detail), dict(headers or {})


NOT_HERE = "There is no such thing, or it is not yours to see."


def not_here() -> Refusal:
    """The one answer for what is not there and for what belongs to somebody else."""
    return Refusal(404, "not-found", NOT_HERE)


# The first class that fits; a reason of None is the error's own.
_ANSWERS: tuple[tuple[type[DrivekeepError], int, str | None, str], ...] = (
    (NotFound, 404, "not-found", NOT_HERE),
    (WrongPassword, 503, "wrong-key", "The repository does not open with the master key of this installation."),
    (Temporary, 503, None, "Something that this needs cannot be reached just now. Try again in a while."),
    (Locked, 503, "locked", "Somebody else is working on the repository. Try again in a while."),
    (AccessDenied, 503, None, "The installation is refused access to something that this needs."),
    (Usage, 503, None, "The installation is not set up for this: an operator sees why at /api/health."),
    (Damaged, 500, "damaged", "Something that is stored is damaged: `drivekeep check` says what."),
)


def refusal_of(error: Exception) -> Refusal:
    """How an error from below is answered."""
    if isinstance(error, Refusal):
        return error
    for kind, status, reason, detail in _ANSWERS:
        if isinstance(error, kind):
            wait = error.retry_after if isinstance(error, Temporary) else None
            return Refusal(
                status, reason or error.reason, detail, {"Retry-After": str(max(1, round(wait)))} if wait else {}
            )
    if isinstance(error, DrivekeepError) and error.reason == "conflict":
        return Refusal(409, "conflict", "Somebody else changed it at the same time. Read it again, then try again.")
    if isinstance(error, DrivekeepError) and error.reason == "wrong-key":
        return Refusal(503, "wrong-key", "The registry was made with another master key.")
    return Refusal(500, "internal", "Something went wrong here. The log says what, under the id of this answer.")


def document(refusal: Refusal, path: str, correlation: str) -> dict[str, Any]:
    """The members of problem+json. `correlation` is there where the log has more."""
    problem = {
        "type": "about:blank",
        "title": _title(refusal.status),
        "status": refusal.status,
        "detail": refusal.detail,
        "reason": refusal.reason,
        "instance": _whole(path[:200]),
    }
    return {**problem, "correlation": correlation} if correlation else problem


def page(refusal: Refusal, correlation: str) -> str:
    """The same for a person."""
    from backup_core.triggers import pages  # noqa: PLC0415 - a program that is answered in JSON waits for no templates

    title = _title(refusal.status)
    return pages.render("error", status=refusal.status, title=title, detail=refusal.detail, reference=correlation)


def log(error: Exception, *, method: str, path: str, level: int = logging.ERROR) -> str:
    """One line of JSON, whatever the names in it; its correlation id is returned.

    Without the words of an error that is not ours, and without the query: both may hold what is secret.
    """
    correlation = secrets.token_hex(8)
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    line = {
        "correlation": correlation,
        "method": method[:16],
        "path": path[:200],
        "error": type(error).__name__,
        "message": str(error) if isinstance(error, DrivekeepError) else "",
        "at": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
    }
    _log.log(level, "%s", json.dumps(line))  # ascii only: no line break or escape sequence of a name gets through
    return correlation


def _whole(text: str) -> str:
    """Without the half characters that an address may hold: they cannot be sent."""
    return text.encode("utf-8", "replace").decode()


def _title(status: int) -> str:
    return HTTPStatus(status).phrase
