"""A table in memory, with the contract of `registry/table.py`, for tests. It forgets everything with the process."""

import threading
from collections.abc import Iterator, Mapping, Sequence

from backup_core.registry.table import (
    Change,
    Conflict,
    Delete,
    Insert,
    Put,
    Replace,
    Row,
    Value,
    check_changes,
    check_keys,
)

_PAGE_ROWS = 100  # small, so that tests meet what happens between two pages


class MemoryTable:
    """Safe for many threads. `requests` and `rows_read` count what a real table would be asked and would answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._partitions: dict[str, dict[str, Row]] = {}
        self._versions = 0
        self.requests = 0
        self.rows_read = 0

    def create(self) -> None:
        with self._lock:
            self.requests += 1

    def get(self, partition: str, key: str) -> Row | None:
        check_keys(partition, key)
        with self._lock:
            self.requests += 1
            row = self._partitions.get(partition, {}).get(key)
            self.rows_read += row is not None
            return row and row._replace(values=dict(row.values))

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
        check_keys(partition, first, before)
        return self._rows(partition, first, before, limit, columns, where or {})

    def _rows(
        self,
        partition: str,
        first: str,
        before: str,
        limit: int | None,
        columns: Sequence[str] | None,
        where: Mapping[str, Value],
    ) -> Iterator[Row]:
        while limit is None or limit > 0:
            wanted = _PAGE_ROWS if limit is None else min(limit, _PAGE_ROWS)
            page, rest = self._page(partition, first, before, wanted, where)
            for row in page:
                names = row.values if columns is None else [name for name in columns if name in row.values]
                yield row._replace(values={name: row.values[name] for name in names})
            if rest is None:
                return
            first = rest
            limit = None if limit is None else limit - len(page)

    def _page(
        self, partition: str, first: str, before: str, wanted: int, where: Mapping[str, Value]
    ) -> tuple[list[Row], str | None]:
        """Up to `wanted` rows, and the key with which the next page begins."""
        with self._lock:
            self.requests += 1
            rows = self._partitions.get(partition, {})
            found = [
                rows[key]
                for key in sorted(rows)
                if first <= key < before and all(rows[key].values.get(name) == value for name, value in where.items())
            ]
            page = found[:wanted]
            self.rows_read += len(page)
            return page, found[wanted].key if len(found) > wanted else None

    def transact(self, partition: str, changes: Sequence[Change]) -> None:
        check_changes(partition, changes)
        with self._lock:
            self.requests += 1
            rows = self._partitions.setdefault(partition, {})
            for change in changes:
                _check_version(change, rows.get(change.key))
            for change in changes:
                if isinstance(change, Delete):
                    del rows[change.key]
                else:
                    self._versions += 1
                    rows[change.key] = Row(partition, change.key, dict(change.values), f'W/"{self._versions}"')


def _check_version(change: Change, there: Row | None) -> None:
    match change:
        case Insert():
            fits = there is None
        case Put():
            fits = True
        case Replace(etag=etag) | Delete(etag=str(etag)):
            fits = there is not None and there.etag == etag
        case Delete():
            fits = there is not None
    if not fits:
        raise Conflict("The registry was changed by somebody else meanwhile.", remedy="Read it again, then decide.")
