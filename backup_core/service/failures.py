"""What a step's trouble means for its drive: a reason of the contract's list, and whether another try makes sense."""

import logging
import traceback
from dataclasses import asdict, dataclass
from typing import Any

from backup_core.backup.run_log import Unplanned
from backup_core.drive_state.segments import StateDamaged
from backup_core.errors import AccessDenied, Damaged, DrivekeepError, Inconsistent, Locked, Temporary, WrongPassword
from backup_core.graph.refusals import Forbidden, Refused
from backup_core.runs.claim import ClaimLost
from backup_core.runs.run import REASONS

LOCKED_PAUSE_SECONDS = 120.0  # somebody's check or prune; after some of these pauses the run fails
_FRAMES_MAX = 12  # of a stack: the innermost ones say where it happened
_WHY_MAX = 500  # characters of a message that goes through a history

# Reasons of errors that the contract's list calls otherwise.
_OTHER_NAMES = {
    "wrong-password": "wrong-key",
    "another-run": "locked",
    "lock-lost": "locked",
}


@dataclass(frozen=True)
class Failure:
    """`again`: the same step may succeed later, at the earliest after `retry_after` seconds."""

    reason: str
    again: bool = False
    retry_after: float = 0.0
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"ok": False, **asdict(self)}


def failure_of(error: DrivekeepError) -> Failure:
    """An error's own words go along where they can name no file of the drive."""
    if isinstance(error, ClaimLost):
        return Failure("claim-lost")
    if isinstance(error, Unplanned):
        return Failure("unplanned")
    if isinstance(error, Inconsistent | StateDamaged):
        return Failure("inconsistent")
    reason, message = _reason(error), _words(error)
    if isinstance(error, Locked):
        return Failure(reason, again=True, retry_after=LOCKED_PAUSE_SECONDS, message=message)
    if isinstance(error, Temporary):
        return Failure(reason, again=True, retry_after=error.retry_after or 0.0, message=message)
    return Failure(reason, message=message)


def _words(error: DrivekeepError) -> str:
    if isinstance(error, Damaged):
        return ""
    told = [error.what] if isinstance(error, Refused | Forbidden) else [error.what, error.why]  # why: Microsoft's words
    return " ".join(filter(None, told))[:_WHY_MAX]


def log_unexpected(log: logging.Logger, what: str, error: Exception) -> None:
    """`what` has happened, and where. An error that is not ours keeps its words to itself: they may hold anything, the
    path of somebody's file or a token.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    places = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
    words = f": {error}" if isinstance(error, DrivekeepError) else ""
    log.error("%s %s%s (%s)", what, type(error).__name__, words, places)


def _reason(error: DrivekeepError) -> str:
    if isinstance(error, WrongPassword):
        return "wrong-key"
    named = _OTHER_NAMES.get(error.reason, error.reason)
    if named in REASONS:
        return named
    if isinstance(error, Forbidden):
        return "drive-blocked"
    # What Microsoft refuses has a reason of its own: what has none is the storage's refusal.
    return "storage-unreachable" if isinstance(error, AccessDenied) and error.reason == "access-denied" else "internal"
