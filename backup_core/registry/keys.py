"""Every key of the registry's rows: how ids and times become part of one. It reads and writes nothing.

A tenant's partition is its id, so that every change of state within a tenant is one transaction.
"""

import datetime
import hashlib
import re

TENANT = "tenant"  # the tenant itself
COUNTS = "counts"  # accounts per state and per last outcome
THROTTLE = "throttle"  # until when Microsoft wants no request of this tenant
ACCOUNTS = "account:"  # + account id
UPNS = "upn:"  # + hash of the lower-case user principal name
DUE = "due:"  # + time + ":" + account id
TOKENS = "token:"  # + account id
AUDIT = "audit:"  # + inverted milliseconds + "-" + random

# Partitions that are nobody's; no tenant id looks like one of them.
TENANTS = "tenants"
NONCES = "nonces"
INSTALLATION = "installation"

# Around every key of a partition.
FIRST, LAST = "!", "~~~"

_PLAIN = re.compile(r"[A-Za-z0-9._-]")
_PART_MAX = 200  # of the 512 characters of a key
_MILLISECOND = datetime.timedelta(milliseconds=1)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_INVERTED_FROM = 1 << 48  # 12 hexadecimal digits of milliseconds: until the year 10889


def part(text: str) -> str:
    """Any id as a part of a key: lower case, what a key cannot hold as `~` and hexadecimal, too long a one hashed."""
    lower = text.lower()
    escaped = "".join(each if _PLAIN.match(each) else f"~{each.encode(errors='replace').hex()}~" for each in lower)
    if 0 < len(escaped) <= _PART_MAX:
        return escaped
    return f"~~{hashlib.sha256(lower.encode(errors='replace')).hexdigest()}"


def end(prefix: str) -> str:
    """The first key after all that begin with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def after(key: str) -> str:
    """The smallest key that can follow `key`."""
    return f"{key}!"


def stamp(moment: datetime.datetime) -> str:
    """`2026-11-25T16:48:25.123Z`: sorts as time does; milliseconds, cut."""
    utc = moment.astimezone(datetime.UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def moment(text: str) -> datetime.datetime:
    """The time that `stamp` wrote. ValueError."""
    return datetime.datetime.fromisoformat(text)


def inverted(moment: datetime.datetime) -> str:
    """12 hexadecimal digits that sort the newest first."""
    return f"{_INVERTED_FROM - 1 - (moment - _EPOCH) // _MILLISECOND:012x}"
