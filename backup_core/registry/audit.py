"""The audit trail: who changed what, when. An entry is written in the transaction of the change that it tells of."""

import datetime
import json
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from backup_core.clock import Clock
from backup_core.registry import keys
from backup_core.registry.table import Change, Insert, Row, Table
from backup_core.registry.values import Reader, to_values

FORMAT = 1

_TEXT_MAX = 1000  # characters of who, what and target: names, not documents
_DETAILS_MAX = 8000  # an entry too long must not stop the change itself


class AuditEntry(NamedTuple):
    """`id`: what `page` goes on after. `details`: what the writer gave, {} where there was nothing or too much."""

    id: str
    at: datetime.datetime
    who: str
    what: str
    target: str
    details: dict[str, Any]


def entry(clock: Clock, who: str, what: str, target: str, details: Mapping[str, Any] | None = None) -> Change:
    """The row that notes a change, for the transaction of the change. `details`: what JSON can hold, no secrets."""
    now = clock.now()
    short = details if len(json.dumps(details or {})) <= _DETAILS_MAX else {"shortened": True}
    values = to_values(
        FORMAT, at=now, who=who[:_TEXT_MAX], what=what[:_TEXT_MAX], target=target[:_TEXT_MAX], details=short
    )
    return Insert(f"{keys.AUDIT}{keys.inverted(now)}-{secrets.token_hex(4)}", values)


class Audit:
    """The entries of every tenant in one table."""

    entry = staticmethod(entry)

    def __init__(self, table: Table) -> None:
        self._table = table

    def page(self, tenant: str, after: str | None, limit: int) -> list[AuditEntry]:
        """Up to `limit` entries, the newest first; those that follow the one whose id is `after`."""
        first = keys.after(keys.AUDIT + keys.part(after)) if after else keys.AUDIT
        rows = self._table.rows(keys.part(tenant), first, keys.end(keys.AUDIT), limit=limit)
        return [_entry(row) for row in rows]


def _entry(row: Row) -> AuditEntry:
    read = Reader(row, FORMAT)
    return AuditEntry(
        id=row.key.removeprefix(keys.AUDIT),
        at=keys.moment(read.text("at")),
        who=read.text("who"),
        what=read.text("what"),
        target=read.text("target"),
        details=read.mapping("details"),
    )
