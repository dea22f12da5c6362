"""The report of one drive's run: the items that were skipped and that failed, whole, as a sealed object in a store.

Paths of people's files lie here and nowhere else. What is shown of them is the head of each list.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from backup_core.errors import AlreadyExists, Damaged, DrivekeepError
from backup_core.registry.sealing import Sealer
from backup_core.storage.store import Store

FORMAT = "drivekeep-report/1"

LISTS = ("items_skipped", "items_failed")  # of a backup's summary; each item is `{"path", "id", "reason"}`

Lists = dict[str, list[Mapping[str, Any]]]


class Reports:
    """`sealer`: asked for when a report is read or written, since the runs themselves need no master key."""

    def __init__(self, store: Store, sealer: Callable[[], Sealer]) -> None:
        self._store, self._sealer = store, sealer

    def put(self, tenant: str, run: str, account: str, summary: Mapping[str, Any]) -> str:
        """Keep the lists of a summary: the report's name, "" where they are empty.

        A report of the same run that an earlier attempt has left is replaced.
        """
        report = {name: list(summary.get(name) or ()) for name in LISTS}
        if not any(report.values()):
            return ""
        name = f"{tenant}/reports/{run}/{account}".lower()
        plain = json.dumps({"format": FORMAT, **report}, separators=(",", ":")).encode()
        sealed = self._sealer().seal(zlib.compress(plain), name).encode()
        try:
            self._store.put_new(name, sealed)
        except AlreadyExists:
            if self._read_or_none(name) != report:
                self._store.delete(name)
                self._store.put_new(name, sealed)
        return name

    def head(self, name: str, count: int) -> Lists:
        """The first `count` items of each list, by its name in the summary; none for the name "". NotFound, Damaged."""
        report = self._read(name) if name else {}
        return {each: report.get(each, [])[:count] for each in LISTS}

    def _read(self, name: str) -> Lists:
        plain = self._sealer().open(self._store.get(name).decode("ascii", "replace"), name)
        try:
            document = json.loads(zlib.decompress(plain))
            if document["format"] != FORMAT:
                raise DrivekeepError(
                    "A run's report was written by a newer drivekeep.",
                    remedy="Deploy the version that wrote it, or a later one.",
                    reason="newer-format",
                )
            return {each: document[each] for each in LISTS}
        except (zlib.error, ValueError, KeyError, TypeError) as error:
            raise Damaged("A run's report is damaged.", why="It opens, and holds no report.") from error

    def _read_or_none(self, name: str) -> Lists | None:
        try:
            return self._read(name)
        except Damaged:
            return None
