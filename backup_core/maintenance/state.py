"""Whether the drive state can be read. Nothing that is wrong with it is damage: the next backup does without it.

It opens the envelopes and reads no further; what is in them is the matter of `drive_state/`.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable

from backup_core.drive_state.head import Head, choose_head
from backup_core.errors import Damaged, NotFound, Usage
from backup_core.repository import layout
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot

_PLACE = struct.Struct("<III")  # segment, offset, length


def state_notes(repository: Repository, snapshots: Iterable[Snapshot]) -> list[str]:
    """What is wrong, in words. Reads the heads and every segment of the newest one: some 65 MiB for a million items."""
    damaged = [stored.name for stored in repository.store.list(layout.HEADS) if not _opens(repository, stored.name)]
    try:
        head = choose_head(repository, snapshots).head
    except Usage as error:
        return [str(error)]  # of a newer drivekeep; what it wrote into the repository itself is checked all the same
    if head is not None:
        damaged += [layout.segment_name(each.hex()) for each in _damaged_segments(repository, head)]
    return [
        f"{name} is damaged or missing. No content is lost: the next backup goes back to an earlier state, or lists the"
        " whole drive anew."
        for name in damaged
    ]


def _opens(repository: Repository, name: str) -> bool:
    try:
        repository.keys.open(repository.store.get(name))
    except (Damaged, NotFound):
        return False
    return True


def _damaged_segments(repository: Repository, head: Head) -> list[bytes]:
    leaves: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for saved in head.maps.values():
        for segment, offset, length in _PLACE.iter_unpack(saved.places):
            if length:
                leaves[segment].append((offset, length))
    if head.retry_place is not None:
        segment, offset, length = head.retry_place
        leaves[segment].append((offset, length))
    return [each for number, each in enumerate(head.segments) if not _leaves_open(repository, each, leaves[number])]


def _leaves_open(repository: Repository, segment: bytes, leaves: list[tuple[int, int]]) -> bool:
    try:
        data = memoryview(repository.store.get(layout.segment_name(segment.hex())))
        for offset, length in leaves:
            repository.keys.open(data[offset : offset + length])
    except (Damaged, NotFound):
        return False
    return True
