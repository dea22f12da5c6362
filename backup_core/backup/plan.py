"""What is to be done with an item, decided from what the feed says and what the last snapshot has. Pure.

This is the one place that knows what counts as changed.
"""

import re
from enum import IntEnum
from typing import NamedTuple

from backup_core.graph.items import DriveItem
from backup_core.repository.node import Node, is_storable

SKIPPED = frozenset({"package", "remote-item", "excluded", "gone"})  # left out by choice or by nature: no failure
MISMATCHES = frozenset({"hash-mismatch", "size-mismatch"})

# Microsoft's ids are letters, digits and a little punctuation. With other characters, or dots alone, no request can be
# made; an item without any id is among these.
_ID = re.compile(r"[!-~]*[0-9A-Za-z][!-~]*", re.ASCII)


class Action(IntEnum):
    GONE = 0  # no place in the new tree: deleted, or never a part of this drive
    FOLDER = 1
    KEEP = 2  # a file whose content the last snapshot has
    EMPTY = 3  # a file of no bytes: there is nothing to fetch
    FETCH = 4
    FAIL = 5  # cannot be had: the version of the last snapshot stays, under the name and in the place of now
    STAY = 6  # makes no sense: whatever the last snapshot has stays where it was


class Decision(NamedTuple):
    action: Action
    reason: str = ""  # of the contract's list, for the report


def decide(item: DriveItem, old: Node | None, retry: str = "") -> Decision:
    """`old` is the item's node in the last snapshot, `retry` the reason for which it waits in the retry list."""
    # A root is of a drive whose folder is taken as the root; the run's own root is not asked about.
    if item.kind == "deleted" or item.root:
        return Decision(Action.GONE)
    if item.kind == "remote":
        return Decision(Action.GONE, "remote-item")
    if not _makes_sense(item):
        return Decision(Action.STAY, "invalid-item")
    if item.kind == "package":
        return Decision(Action.FOLDER, "package")
    if item.kind == "folder":
        return Decision(Action.FOLDER)
    return _decide_file(item, old, retry)


def can_be_asked_for(item_id: str) -> bool:
    """Whether there can be a request for an item by its id."""
    return _ID.fullmatch(item_id) is not None


def _makes_sense(item: DriveItem) -> bool:
    known = item.kind != "unknown" and item.name and item.parent
    return bool(known) and can_be_asked_for(item.id) and is_storable(item)


def _decide_file(item: DriveItem, old: Node | None, retry: str) -> Decision:
    if item.malware:
        return Decision(Action.FAIL, "malware")
    if item.size == 0:
        return Decision(Action.EMPTY)
    # Bytes that differed from what Microsoft reports are fetched once more even though the report is the same:
    # a second delivery of the same bytes settles that the report is wrong.
    if old is not None and same_content(item, old) and not (retry and old.verdict == "mismatch"):
        return Decision(Action.KEEP)
    return Decision(Action.FETCH)


def same_content(item: DriveItem, old: Node) -> bool:
    """Reported hash and size agree; without a hash the eTag stands in, which a mere rename changes too."""
    if old.type != "file" or old.reported_size != item.size:
        return False
    if item.quickxor or old.quickxor:
        return item.quickxor == old.quickxor
    return bool(item.etag) and item.etag == old.etag
