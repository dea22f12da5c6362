"""The log of a drive's changes: which items changed after a given one, and when. Of each item it keeps the last one."""

import datetime
from bisect import bisect_right
from typing import NamedTuple

from backup_core.testing.m365.items import SimulatedItem


class Move(NamedTuple):
    """From one folder into another; a rename in place is none."""

    change: int
    item: SimulatedItem
    origin: SimulatedItem


class ChangeLog:
    """Changes are numbered from 1. Whoever calls holds the drive's lock."""

    def __init__(self) -> None:
        self._items: dict[str, SimulatedItem] = {}  # by their last change, oldest first
        self._times: list[datetime.datetime] = []
        self._moves: list[Move] = []

    @property
    def last(self) -> int:
        return len(self._times)

    def add(self, item: SimulatedItem, now: datetime.datetime) -> None:
        self._times.append(now)
        self._items.pop(item.id, None)
        self._items[item.id] = item
        item.change = len(self._times)

    def add_move(self, item: SimulatedItem, origin: SimulatedItem) -> None:
        """After the change itself."""
        self._moves.append(Move(item.change, item, origin))

    def at(self, moment: datetime.datetime) -> int:
        """The number of the last change up to a moment."""
        return bisect_right(self._times, moment)

    def after(self, change: int) -> list[SimulatedItem]:
        """Items, deleted ones among them, whose last change came after `change`, oldest change first."""
        found = []
        for item in reversed(self._items.values()):
            if item.change <= change:
                break
            found.append(item)
        found.reverse()
        return found

    def moves_after(self, change: int) -> list[Move]:
        """Oldest first."""
        return self._moves[bisect_right(self._moves, change, key=lambda move: move.change) :]
