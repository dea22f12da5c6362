"""A plan as it is written down: in parts, each closed after so many items or seconds with what tells how to go on.

What Microsoft says of the drive is read by `feed.py` and `full_scan.py`.
"""

from collections.abc import Iterable

from backup_core.backup.run import Run
from backup_core.backup.run_log import FORMAT, PlanPart
from backup_core.errors import Locked
from backup_core.graph.items import DriveItem

PART_ITEMS = 10_000  # about 1 MiB sealed
PART_SECONDS = 10.0  # at most this much reading is lost with a killed process


class PlanWriter:
    """Gathers items into parts. `number`: of the part that is written next."""

    def __init__(self, run: Run, number: int) -> None:
        self._run, self._number = run, number
        self._items: list[DriveItem] = []
        self._opened = run.clock.monotonic()

    def add(self, items: list[DriveItem]) -> None:
        self._items += items

    def is_full(self) -> bool:
        return len(self._items) >= PART_ITEMS or self._run.clock.monotonic() - self._opened >= PART_SECONDS

    def close(
        self, next_link: str = "", delta_link: str = "", gone: Iterable[str] = (), pending: Iterable[str] = ()
    ) -> PlanPart:
        """Write a part; what is given is what is stored, by this run or by another that took it over."""
        run, items = self._run, self._items
        part = PlanPart(FORMAT, run.basis, run.mode, items, next_link, delta_link, list(gone), list(pending))
        stored = run.log.put_plan(self._number, part)
        if (stored.basis, stored.mode) != (part.basis, part.mode):
            raise another_run()
        self._number += 1
        self._items, self._opened = [], run.clock.monotonic()
        return stored


def another_run() -> Locked:
    return Locked(
        "Another run of this drive began at the same moment.",
        why="What it reads of the drive and what this one reads do not make one list.",
        remedy="Wait until it has ended, then run the same command again.",
        reason="another-run",
    )
