"""The contract of a table: rows with versions, in words first, then in four methods. It knows no row's meaning.

- A row lies in a partition under a key; within a partition rows are ordered by key, character by character.
- `values` maps names to str, int, float or bool. What has no value is left out: a table knows no None.
- Every write gives a row a new `etag`. Replace, and Delete with an etag, succeed only on the version that was read.
- `transact` does all of its changes in one partition or none of them, and a reader sees all or none. Conflict: a row to
  insert was there, a row to replace or delete was gone or changed meanwhile. Nothing was done then.
- A writer whose reply was lost is sent again by the edge, and may get Conflict for its own success. So whoever gets
  Conflict reads what is there before it decides, which is what `commit` does.
- A table that does not exist is empty, and is made by the first write.
- An unreachable table is Temporary (reason "storage-unreachable"), a refusal AccessDenied, missing or unusable
  credentials Usage. What no table can hold (see `check_changes`) is Usage, too.
- Every method may be called from many threads at once.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from backup_core.clock import Clock
from backup_core.errors import DrivekeepError, Temporary, Usage

Value = str | int | float | bool

CHANGES_MAX = 100  # Azure's limit for one transaction
TEXT_UNITS_MAX = 32_768  # Azure's limit for one property: 64 KiB of UTF-16
ROW_BYTES_MAX = 1 << 20  # Azure's limit for a row: two bytes a character, of the names too
_INTEGER_MAX = 1 << 63
# Azure refuses / \ # ? and control characters, and its clients disagree about % and + in addresses. Everything that may
# stand in a key here means itself everywhere.
_KEY = re.compile(r"[A-Za-z0-9:;._~!-]{1,512}\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}\Z")

COMMIT_TRIES = 30  # as many writers as a tenant has lanes, callers of the API and a tick, with room to lose each time
_FIRST_PAUSE_SECONDS = 0.05
_PAUSE_MAX_SECONDS = 2.0


class Row(NamedTuple):
    partition: str
    key: str
    values: dict[str, Value]
    etag: str


@dataclass(frozen=True)
class Insert:
    """A row that must not be there yet."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Replace:
    """A row that must still be the version that was read; values that are not named are gone."""

    key: str
    values: Mapping[str, Value]
    etag: str


@dataclass(frozen=True)
class Put:
    """A row, whatever is there; values that are not named are gone."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Delete:
    """A row that must be there, in any version where `etag` is None."""

    key: str
    etag: str | None = None


Change = Insert | Replace | Put | Delete


class Conflict(DrivekeepError):
    """A row was there already, or was changed by somebody else; nothing of the transaction was done."""

    reason = "conflict"


class Table(Protocol):
    def create(self) -> None:
        """Make the table; one that is there is no error."""

    def get(self, partition: str, key: str) -> Row | None:
        """One row, or None where it is not there."""

    def rows(
        self,
        partition: str,
        first: str,
        before: str,
        *,
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        where: Mapping[str, Value] | None = None,
    ) -> Iterator[Row]:
        """The rows with first <= key < before, by key, read page by page as they are asked for.

        Never asks for more rows than `limit`. `columns`: only these values come along. `where`: only rows that have
        these very values, sorted out by the table itself.
        """

    def transact(self, partition: str, changes: Sequence[Change]) -> None:
        """All changes, each to another row, or none: 1 to 100. Conflict."""


def commit(
    table: Table,
    clock: Clock,
    partition: str,
    make_changes: Callable[[], Sequence[Change]],
    tries: int = COMMIT_TRIES,
) -> None:
    """Carry out what `make_changes` wants, and ask it anew each time another writer was first.

    It must read whatever it depends on each time it is called; where it returns nothing there is nothing left to do,
    which is also how a success whose reply was lost ends well. Its own errors, a Conflict among them, end the attempt.
    Temporary (reason "busy") after so many tries.
    """
    for attempt in range(tries):
        changes = make_changes()
        if not changes:
            return
        try:
            table.transact(partition, changes)
        except Conflict:
            longest = min(_FIRST_PAUSE_SECONDS * 2.0**attempt, _PAUSE_MAX_SECONDS)
            clock.sleep(longest * random.random())  # noqa: S311  # two writers shall not meet again
        else:
            return
    raise Temporary(
        "The registry could not be changed: other writers were first each time.",
        why=f"{tries} attempts met a change of somebody else.",
        remedy="Try again in a minute.",
        reason="busy",
    )


def check_keys(*keys: str) -> None:
    """Usage where a partition or a key has characters that not every table takes."""
    for key in keys:
        if not _KEY.match(key):
            raise Usage(f"{key[:80]!r} cannot be the key of a row.", why="It has 1 to 512 of A-Z a-z 0-9 : ; . _ ~ ! -")


def check_changes(partition: str, changes: Sequence[Change]) -> None:
    """Usage where a transaction is one that Azure would refuse, so that every table refuses it alike."""
    check_keys(partition, *(change.key for change in changes))
    if not 1 <= len(changes) <= CHANGES_MAX:
        raise Usage(f"A transaction holds 1 to {CHANGES_MAX} changes, not {len(changes)}.")
    if len({change.key for change in changes}) < len(changes):
        raise Usage("A transaction changes a row only once.")
    for change in changes:
        if not isinstance(change, Delete):
            size = sum(2 * len(name) + _value_bytes(name, value) for name, value in change.values.items())
            if size > ROW_BYTES_MAX:
                raise Usage(f"The row {change.key} is larger than {ROW_BYTES_MAX} bytes.", remedy="Shorten its texts.")


def _value_bytes(name: str, value: Value) -> int:
    """What Azure counts of a value. Usage for one that no table can hold."""
    if not _NAME.match(name):
        raise Usage(f"{name[:80]!r} cannot be the name of a value.")
    if not isinstance(value, str | int | float):
        raise Usage(f"A row cannot hold a {type(value).__name__} ({name}).")
    if isinstance(value, int) and not -_INTEGER_MAX <= value < _INTEGER_MAX:
        raise Usage(f"The value {name} is too large a number.")
    return len(_utf16(name, value)) if isinstance(value, str) else 8


def _utf16(name: str, text: str) -> bytes:
    try:
        encoded = text.encode("utf-16-le")
    except UnicodeEncodeError:
        raise Usage(f"The value {name} is no text: it has half a character.") from None
    if len(encoded) > 2 * TEXT_UNITS_MAX:
        raise Usage(f"The value {name} is longer than {TEXT_UNITS_MAX} characters.", remedy="Shorten it.")
    return encoded
