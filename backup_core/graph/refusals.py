"""What the other side says when it says no: its code, whether asking again makes sense, and the words for a person."""

import datetime
import email.utils
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from backup_core.clock import Clock
from backup_core.errors import AccessDenied, DrivekeepError
from backup_core.graph.gate import CLOSED_MAX_SECONDS

RETRIED = frozenset({408, 500, 502, 503, 504, 509})
THROTTLING_WITH_RETRY_AFTER = frozenset({503, 509})

_MESSAGE_MAX_CHARACTERS = 200
_DEPTH_MAX = 8  # inner errors nest two or three deep


class Refused(DrivekeepError):
    """Graph answered, and the answer is no. Rooms turn those that they know into what they mean."""

    def __init__(self, refusal: "Refusal", what: str) -> None:
        super().__init__(
            f"{what} failed: Microsoft answered {refusal.words}.",
            why=refusal.message,
            remedy="Run the same command again later. If it stays so, Microsoft's support can find out more by the"
            " request-id.",
            reason="refused",
        )
        self.refusal = refusal


class Forbidden(AccessDenied):
    """403: the token is good, and does not open this."""

    def __init__(self, refusal: "Refusal", what: str) -> None:
        super().__init__(
            f"{what} failed: Microsoft answers 403 Forbidden{f' ({refusal.codes[0]})' if refusal.codes else ''}.",
            why=refusal.message,
            remedy="Check the permissions that were granted (Files.Read.All, and User.Read.All for app-only access),"
            " the API permissions of the app registration, and that an administrator has consented to them.",
        )
        self.refusal = refusal


class Refusal(NamedTuple):
    """An answer with a status of 300 or more. `codes`: in lower case, the outermost first."""

    status: int
    codes: tuple[str, ...] = ()
    message: str = ""
    retry_after: float | None = None  # whole seconds; 0 where the header asks for no wait at all; None without one
    virus: bool = False
    request_id: str = ""

    @property
    def words(self) -> str:
        details = [*self.codes[:1], *([f"request-id {self.request_id}"] if self.request_id else [])]
        return f"{self.status}" + (f" ({', '.join(details)})" if details else "")

    @property
    def throttling(self) -> bool:
        return self.status == 429 or (self.status in THROTTLING_WITH_RETRY_AFTER and self.retry_after is not None)

    @property
    def malware(self) -> bool:
        return self.virus or (self.status in (400, 403) and "malwaredetected" in self.codes)

    @property
    def drive_blocked(self) -> bool:
        """An administrator has locked the whole site, as against one file that somebody edits."""
        return self.status == 423 and ("notallowed" in self.codes or "has been blocked" in self.message)

    @property
    def no_drive(self) -> bool:
        text = self.message.lower()
        return (self.status == 404 and "mysite" in text) or (self.status == 400 and "spo license" in text)


def read_refusal(status: int, headers: Mapping[str, str], body: bytes, clock: Clock) -> Refusal:
    """`body` may be anything: JSON in one of several spellings, a gateway's HTML, nothing."""
    codes, message = _error_of(body)
    return Refusal(
        status,
        codes,
        message,
        retry_after(headers, clock),
        virus="X-Virus-Infected" in headers or headers.get("X-ClientErrorCode", "").lower() == "viruserror",
        request_id=_plain(headers.get("request-id", "")),
    )


def retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Seconds to wait, rounded up, at most an hour; None where the header is missing or makes no sense."""
    text = headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        moment = _date(text)
        if moment is None:
            return None
        # Both dates are the server's: its clock and ours may be hours apart.
        seconds = (moment - (_date(headers.get("Date", "")) or clock.now())).total_seconds()
    if math.isnan(seconds):
        return None
    return float(math.ceil(min(max(0.0, seconds), CLOSED_MAX_SECONDS)))


def _date(text: str) -> datetime.datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)


def _error_of(body: bytes) -> tuple[tuple[str, ...], str]:
    try:
        answer = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError):
        return (), ""
    error: Any = answer.get("error") if isinstance(answer, dict) else None
    codes: list[str] = []
    message = ""
    for _ in range(_DEPTH_MAX):
        if not isinstance(error, dict):
            break
        if isinstance(error.get("code"), str):
            codes.append(_plain(error["code"]).lower())
        if not message and isinstance(error.get("message"), str):
            message = _plain(error["message"])
        error = error.get("innerError", error.get("innererror"))
    return tuple(codes), message


def _plain(text: str) -> str:
    """Somebody else's words, fit for a terminal and a log: one line, no addresses, nothing that may be a token."""
    text = "".join(character if character.isprintable() else " " for character in text[:2000])
    text = re.sub(r"https?:\S+", "(address)", text)
    text = re.sub(r"[A-Za-z0-9+/_=.!%~-]{40,}", "(…)", text)
    return text[:_MESSAGE_MAX_CHARACTERS]
