"""The delta feed of a drive or of one of its folders: which items a reader is told of, in which order, in which pages.

It chooses items and renders nothing. An enumeration is fixed when it begins; each of its entries is shown in the state
of the moment in which its page is read, so the same page may be asked for again.
"""

import datetime
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from backup_core.clock import Clock
from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.graph_errors import GraphError, invalid_request
from backup_core.testing.m365.ids import made_up_bytes
from backup_core.testing.m365.items import SimulatedItem
from backup_core.testing.m365.positions import Position
from backup_core.testing.m365.switches import Switches

KEPT_ENUMERATIONS = 16  # of one drive, some MB each at 100,000 items; a reader of an older one must start again
REPEATED_SHARE = 0.1


class FeedEntry(NamedTuple):
    """`left`: out of the folder whose feed this is, for which it is as good as deleted."""

    item: SimulatedItem
    form: Literal["latest", "outdated", "left"] = "latest"


@dataclass(frozen=True)
class FeedPage:
    """`more`: whether `token` belongs into a next link; else into a delta link."""

    entries: list[FeedEntry]
    token: str
    more: bool


@dataclass
class _Enumeration:
    entries: list[FeedEntry]
    end: int  # the change up to which it is whole
    exclude_parents: bool


class Feed:
    """All feeds of one drive. Whoever calls holds the drive's lock."""

    def __init__(self, drive: Drive, switches: Switches, clock: Clock) -> None:
        self._drive = drive
        self._switches = switches
        self._clock = clock
        self._enumerations: dict[int, _Enumeration] = {}
        self._begun = 0

    def page(self, scope: SimulatedItem, token: str | None, size: int, exclude_parents: bool) -> FeedPage:
        """The page at `token` (None: the first of all), at most `size` entries.

        Raises GraphError: 400 for a token that is none of this feed's, 410 for one that has expired.
        """
        if token == "latest":  # noqa: S105
            return FeedPage([], self._position(scope, "change", self._drive.changes.last).token(), more=False)
        if token and _is_moment(token):
            return self._begin(scope, self._change_at(token), size, exclude_parents)
        position = self._checked(scope, token) if token else None
        if position is None or position.kind == "start":
            return self._begin(scope, None, size, exclude_parents)
        if position.kind == "change":
            return self._begin(scope, position.number, size, exclude_parents)
        return self._read(scope, position, size)

    def fresh_token(self, scope: SimulatedItem) -> str:
        """What the Location of a refusal carries: the beginning of a whole enumeration."""
        return self._position(scope, "start", 0).token()

    def _begin(self, scope: SimulatedItem, since: int | None, size: int, exclude_parents: bool) -> FeedPage:
        self._drive.refresh_mounts()
        entries = self._everything(scope) if since is None else self._changes(scope, since, exclude_parents)
        self._begun += 1
        self._enumerations[self._begun] = _Enumeration(entries, self._drive.changes.last, exclude_parents)
        for number in list(self._enumerations)[:-KEPT_ENUMERATIONS]:
            del self._enumerations[number]
        return self._read(scope, self._position(scope, "page", self._begun), size)

    def _read(self, scope: SimulatedItem, position: Position, size: int) -> FeedPage:
        enumeration = self._enumerations.get(position.number)
        if enumeration is None:
            raise self._expired()
        end = position.offset + self._page_length(position, size)
        last_change = self._drive.changes.last
        if end >= len(enumeration.entries) and self._switches.catch_up and enumeration.end < last_change:
            enumeration.entries += self._changes(scope, enumeration.end, enumeration.exclude_parents)
            enumeration.end = last_change
        entries = enumeration.entries[position.offset : end]
        if end < len(enumeration.entries):
            following = self._position(scope, "page", position.number, end, position.page + 1)
            return FeedPage(entries, following.token(), more=True)
        return FeedPage(entries, self._position(scope, "change", enumeration.end).token(), more=False)

    def _page_length(self, position: Position, size: int) -> int:
        if not self._switches.page_jitter:
            return size
        chance = random.Random(f"{self._switches.seed} {position.number} {position.page}")  # noqa: S311
        # Only every other page may be empty, so that paging always comes to an end.
        empty = position.page % 2 == 1 and chance.random() < 0.5
        return 0 if empty else chance.randint(1, size)

    # Which entries.

    def _everything(self, scope: SimulatedItem) -> list[FeedEntry]:
        return self._arranged([FeedEntry(item) for item in self._drive.walk(scope)])

    def _changes(self, scope: SimulatedItem, since: int, exclude_parents: bool) -> list[FeedEntry]:
        """What changed after `since`, each item after those of its ancestors that are told of."""
        told: dict[SimulatedItem, FeedEntry] = {}
        # Who was moved into a folder that was deleted then is told of, too: its reader knows it in another place.
        moved = {move.item for move in self._drive.changes.moves_after(since)}
        changed = {item for item in self._drive.changes.after(since) if self._is_told(item, item in moved)}
        for item in self._drive.changes.after(since):
            if item in changed and item.is_below(scope):
                for above in [] if item.deleted else _ancestors(item, scope):
                    if not exclude_parents or above in changed or above.parent is None:
                        told.setdefault(above, FeedEntry(above))
                told.setdefault(item, FeedEntry(item))
        if scope.parent is not None:
            told |= self._across_the_border(scope, since)
        return self._arranged(list(told.values()))

    def _across_the_border(self, scope: SimulatedItem, since: int) -> dict[SimulatedItem, FeedEntry]:
        """For the feed of one folder: what has left it, and all that lies below what has come into it."""
        crossed = {}
        for _, item, origin in self._drive.changes.moves_after(since):
            came_from_inside = origin.is_below(scope)
            if item.is_below(scope) and not came_from_inside and not item.deleted:
                crossed.update({below: FeedEntry(below) for below in self._drive.walk(item)})
            elif came_from_inside and not item.is_below(scope):
                crossed[item] = FeedEntry(item, "left")
        return crossed

    def _is_told(self, item: SimulatedItem, moved: bool) -> bool:
        switches = self._switches
        if item.deleted and item.with_folder and not moved and not switches.descendant_tombstones:
            return False
        lost_share = switches.drop_tombstones if item.deleted else switches.drop_changes
        return lost_share == 0 or _chance(switches.seed, "lost", item.id) >= lost_share

    def _arranged(self, entries: list[FeedEntry]) -> list[FeedEntry]:
        if self._switches.children_first:
            entries.reverse()
        if self._switches.repeats:
            entries = _with_repeats(entries, self._switches.seed)
        if self._switches.tombstones_first:
            entries.sort(key=lambda entry: not (entry.item.deleted or entry.form == "left"))
        return entries

    # Positions.

    def _position(
        self,
        scope: SimulatedItem,
        kind: Literal["start", "page", "change"],
        number: int,
        offset: int = 0,
        page: int = 0,
    ) -> Position:
        issued = self._clock.now().timestamp()
        return Position(kind, self._name(scope), self._switches.position_epoch, issued, number, offset, page)

    def _name(self, scope: SimulatedItem) -> str:
        return made_up_bytes(6, self._drive.id, scope.id).hex()

    def _checked(self, scope: SimulatedItem, token: str) -> Position:
        position = Position.of(token)
        if position.feed != self._name(scope):
            raise invalid_request("The delta token belongs to another resource.")
        lifetime = self._switches.position_seconds
        too_old = lifetime is not None and self._clock.now().timestamp() - position.issued > lifetime
        if position.epoch != self._switches.position_epoch or (too_old and position.kind != "start"):
            raise self._expired()
        return position

    def _change_at(self, token: str) -> int:
        if self._drive.type == "personal":
            raise invalid_request("A timestamp is no delta token of a personal drive.")
        return self._drive.changes.at(datetime.datetime.fromisoformat(token))

    def _expired(self) -> GraphError:
        return GraphError(
            410,
            self._switches.resync_code,
            "Resync required. Replace any local items with the server's version (including deletes) "
            "if you're sure that the service was up to date with your local changes when you last sync'd.",
        )


def _ancestors(item: SimulatedItem, scope: SimulatedItem) -> Iterator[SimulatedItem]:
    """From the scope down to the item's parent."""
    above: list[SimulatedItem] = []
    while item is not scope and item.parent is not None:
        item = item.parent
        above.append(item)
    return reversed(above)


def _with_repeats(entries: list[FeedEntry], seed: int) -> list[FeedEntry]:
    """Some items are outdated at their place and come again, as they are, anywhere behind it."""
    placed: list[tuple[float, FeedEntry]] = []
    for place, entry in enumerate(entries):
        chance = _chance(seed, "repeated", entry.item.id)
        if chance >= REPEATED_SHARE or entry.item.parent is None or entry.item.deleted or entry.form == "left":
            placed.append((place, entry))
            continue
        placed.append((place, FeedEntry(entry.item, "outdated")))
        behind = place + 0.5 + (len(entries) - place) * chance / REPEATED_SHARE
        placed.append((behind, entry))
    return [entry for _, entry in sorted(placed, key=lambda pair: pair[0])]


def _chance(*words: object) -> float:
    """From 0 to below 1, always the same for the same words."""
    return int.from_bytes(made_up_bytes(6, *words), "big") / 2**48


def _is_moment(token: str) -> bool:
    return len(token) > 10 and token[:4].isdigit() and token[4] == "-" and token[10] == "T"
