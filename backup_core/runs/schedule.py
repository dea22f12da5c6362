"""Schedules: when an account is due, from a cron of five fields in UTC. It reads no clock and keeps nothing.

The accounts of one tenant do not start together: each has its own place, always the same, in the first quarter of the
period between two times of its cron, four hours at most.
"""

import datetime
import functools
import hashlib
import re

from croniter import croniter
from croniter.croniter import CroniterError

from backup_core.errors import Usage

SPREAD_MAX = datetime.timedelta(hours=4)
_SPREAD_SHARE = 4  # of the period
_TEXT_MAX = 100
# What croniter knows beyond this either changes by itself (R: random) or needs more than the text (H: hashed).
_FIELD = r"(?:[0-9*/,?-]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat)+"
_CRON = re.compile(rf"{_FIELD} {_FIELD} (?:{_FIELD}|l) {_FIELD} {_FIELD}")
# Where the search for a first time begins: before a leap year, so that a 29 February is found fast.
_ANY_TIME = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)


def valid_cron(text: str) -> str:
    """The same schedule with single spaces and in lower case. Usage where it is none, or where its time never comes."""
    cron = " ".join(text.lower().split())
    try:
        if len(text) > _TEXT_MAX or not text.isascii() or not _CRON.fullmatch(cron):
            raise ValueError(cron)
        _next(cron, _ANY_TIME)
    except (CroniterError, ValueError) as error:
        raise Usage(
            f"{text[:_TEXT_MAX]!r} is no schedule.",
            why="A schedule has five fields in UTC: minute, hour, day of the month, month, day of the week.",
            remedy="Write for example `0 2 * * *` for two o'clock every night.",
        ) from error
    return cron


def next_due(cron: str, after: datetime.datetime, tenant: str, account: str) -> datetime.datetime:
    """The first time later than `after` at which the account is due; whole seconds. Usage for what is no schedule.

    A time of the cron that comes while the account's place in the spread is still ahead counts, so that a change of
    schedule or a late tick skips nothing.
    """
    cron, place = valid_cron(cron), _place(tenant, account)
    coming, following = _times_after(cron, after)
    before = croniter(cron, coming).get_prev(datetime.datetime)
    due: datetime.datetime = before + _offset(coming - before, place)
    return due if due > after else coming + _offset(following - coming, place)


@functools.lru_cache(maxsize=256)  # thousands of accounts ask with one cron and one time
def _times_after(cron: str, after: datetime.datetime) -> tuple[datetime.datetime, datetime.datetime]:
    coming = _next(cron, after)
    return coming, _next(cron, coming)


def _next(cron: str, after: datetime.datetime) -> datetime.datetime:
    found: datetime.datetime = croniter(cron, after).get_next(datetime.datetime)
    return found


def _offset(period: datetime.timedelta, place: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=int(min(period / _SPREAD_SHARE, SPREAD_MAX).total_seconds() * place))


def _place(tenant: str, account: str) -> float:
    """From 0 up to 1, even over the accounts of a tenant."""
    digest = hashlib.sha256(f"{tenant.lower()}/{account.lower()}".encode()).digest()
    return int.from_bytes(digest[:6]) / (1 << 48)
