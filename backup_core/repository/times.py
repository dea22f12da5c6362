"""Moments as restic writes and reads them in keys, locks and snapshots: RFC 3339. Times of files: `go_json.py`."""

import datetime

from backup_core.repository.go_json import time_nanoseconds, time_text

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def to_text(moment: datetime.datetime) -> str:
    """`2023-11-14T22:13:20.5Z`: in UTC, no trailing zeros."""
    return time_text((moment - _EPOCH) // _MICROSECOND * 1000)


def from_text(text: str) -> datetime.datetime:
    """In UTC, cut to microseconds. ValueError."""
    return _EPOCH + time_nanoseconds(text) // 1000 * _MICROSECOND
