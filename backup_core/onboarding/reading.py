"""One reading of a tenant's list of users, kept in the registry: where it stands, and whom it has met.

The list is longer than one activity, so it is read in several; a leaver is known only once all of it was read. It does
not decide what becomes of anybody.
"""

import base64
import datetime
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from backup_core.clock import Clock
from backup_core.registry import keys
from backup_core.registry.sealing import Sealer
from backup_core.registry.table import CHANGES_MAX, Delete, Put, Replace, Table
from backup_core.registry.values import Reader, to_values

FORMAT = 1
READING = "reading"  # the row of the one reading that a tenant has; the rows of its pages follow it
_PAGES = "reading:"
# Of the hash of an id: a page of 999 users is 16 KiB of text, and no two of a billion users are taken for one.
_MARK_BYTES = 12


@dataclass(frozen=True)
class Reading:
    """`link`: where the list goes on, "" at its beginning and at its end. `whole`: every page was read."""

    tenant: str
    id: str
    started_at: datetime.datetime
    link: str = field(default="", repr=False)
    pages: int = 0
    whole: bool = False
    finished: bool = False
    etag: str = field(default="", compare=False)


def mark(user_id: str) -> bytes:
    """What is kept of a user who was met."""
    return hashlib.sha256(user_id.lower().encode(errors="replace")).digest()[:_MARK_BYTES]


class Readings:
    """Those of every tenant in one table. Links are sealed: they carry tokens."""

    def __init__(self, table: Table, sealer: Sealer, clock: Clock) -> None:
        self._table, self._sealer, self._clock = table, sealer, clock

    def start(self, tenant: str) -> Reading:
        """A new one in the place of any other, which comes to nothing by it."""
        self._forget_pages(tenant)
        reading = Reading(tenant, secrets.token_hex(8), self._clock.now())
        self._table.transact(keys.part(tenant), [Put(READING, self._values(reading))])
        return self.get(tenant, reading.id) or replace(reading, finished=True)

    def get(self, tenant: str, reading_id: str) -> Reading | None:
        """The reading of that id, or None where another one has taken its place."""
        row = self._table.get(keys.part(tenant), READING)
        if row is None:
            return None
        read = Reader(row, FORMAT)
        if read.text("id") != reading_id:
            return None
        sealed, started_at = read.text("link"), read.time("started_at")
        assert started_at is not None, "every reading has begun"
        return Reading(
            tenant,
            reading_id,
            started_at,
            self._sealer.open(sealed, f"{tenant}/{reading_id}").decode() if sealed else "",
            int(row.values["pages"]),
            read.flag("whole"),
            read.flag("finished"),
            row.etag,
        )

    def turn_page(self, reading: Reading, user_ids: Iterable[str], next_link: str) -> Reading | None:
        """After a page: whom it held, and where the list goes on. None where another reading has taken its place."""
        marks = base64.b64encode(b"".join(map(mark, user_ids))).decode()
        turned = replace(reading, link=next_link, pages=reading.pages + 1, whole=not next_link)
        page = Put(f"{_PAGES}{reading.id}:{turned.pages:06d}", to_values(FORMAT, marks=marks))
        self._table.transact(keys.part(reading.tenant), [page, Replace(READING, self._values(turned), reading.etag)])
        return self.get(reading.tenant, reading.id)

    def met(self, reading: Reading) -> set[bytes]:
        """The marks of everybody on its pages."""
        prefix = f"{_PAGES}{reading.id}:"
        found: set[bytes] = set()
        for row in self._table.rows(keys.part(reading.tenant), prefix, keys.end(prefix)):
            marks = base64.b64decode(str(row.values["marks"]))
            found.update(marks[at : at + _MARK_BYTES] for at in range(0, len(marks), _MARK_BYTES))
        return found

    def finish(self, reading: Reading) -> None:
        """What it knew is no longer needed; that it is finished stays, for an activity that runs twice."""
        done = replace(reading, link="", finished=True)
        self._table.transact(keys.part(reading.tenant), [Replace(READING, self._values(done), reading.etag)])
        self._forget_pages(reading.tenant)

    def _values(self, reading: Reading) -> dict[str, str | int | float | bool]:
        sealed = self._sealer.seal(reading.link.encode(), f"{reading.tenant}/{reading.id}") if reading.link else ""
        return to_values(
            FORMAT,
            id=reading.id,
            started_at=reading.started_at,
            link=sealed,
            pages=reading.pages,
            whole=reading.whole,
            finished=reading.finished,
        )

    def _forget_pages(self, tenant: str) -> None:
        partition = keys.part(tenant)
        rows = [row.key for row in self._table.rows(partition, _PAGES, keys.end(_PAGES), columns=["format"])]
        for start in range(0, len(rows), CHANGES_MAX):
            self._table.transact(partition, [Delete(key) for key in rows[start : start + CHANGES_MAX]])
