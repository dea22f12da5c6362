"""The drive state of one run: the maps as the chosen head left them, what the run adds, and the next head.

The order is segments first, head last: whatever dies in between leaves the state before it whole.
"""

import struct
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

import msgspec

from backup_core.drive_state.head import FORMAT, Head, Retry, choose_head, save_head
from backup_core.drive_state.paged_map import PagedMap, SavedMap
from backup_core.drive_state.segments import LeafPlace, Segments, StateDamaged
from backup_core.drive_state.sorted_parts import SortedParts
from backup_core.errors import Damaged
from backup_core.repository import compression
from backup_core.repository.blobs import Place
from backup_core.repository.pack import Pack, PackedBlob
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot

RETRIES_IN_HEAD = 5000  # a longer list lies in a segment: a head is read and written by every run
_RETRY_LABEL = b"retr"
_RETRY_BYTES_MAX = 1 << 30
_LEVEL = 3
_TREE_PLACE = struct.Struct("<32sIII")  # pack, offset, length, raw length (0 = not compressed)

_RETRIES = msgspec.msgpack.Decoder(dict[str, Retry])


class DriveState:
    """`items`: item key -> key of its parent. `trees`: tree id -> where it lies (`tree_place`). `data`: chunk ids.

    `head` is what the state was before this run; with a generation of 0 there was none. `indexes`: ids of the index
    files that `trees` and `data` cover. `newest`: number of the newest head there is, of use or not; a run that starts
    when that one is the newest makes the head after it.
    """

    def __init__(
        self,
        repository: Repository,
        head: Head | None = None,
        *,
        newest: int | None = None,
        pool: Executor | None = None,
    ) -> None:
        """StateDamaged where the head does not fit together. `pool`: see `Segments`."""
        self._repository = repository
        self.head = head or Head()
        self.newest = self.head.generation if newest is None else newest
        self._segments = Segments(repository.store, repository.keys, self.head.segments, pool)
        self.items = self._map("items", 16, 16)
        self.trees = self._map("trees", 32, _TREE_PLACE.size)
        self.data = self._map("data", 32, 0)
        self.indexes = {each.hex() for each in self.head.indexes}

    @classmethod
    def open(
        cls,
        repository: Repository,
        snapshots: Iterable[Snapshot] | None = None,
        *,
        before: int | None = None,
        pool: Executor | None = None,
    ) -> "DriveState":
        """The state to start from; an empty one where no head fits (see `choose_head`)."""
        head, newest = choose_head(repository, snapshots, before=before)
        try:
            return cls(repository, head, newest=newest, pool=pool)
        except StateDamaged:
            assert head is not None, "an empty state fits together"
            return cls.open(repository, snapshots, before=head.generation, pool=pool)

    @property
    def is_empty(self) -> bool:
        """There was no head: the drive must be enumerated."""
        return self.head.generation == 0

    def retry(self) -> dict[str, Retry]:
        """The items that could not be had so far, by id. StateDamaged."""
        if self.head.retry_place is None:
            return dict(self.head.retry)
        place = LeafPlace(*self.head.retry_place)
        packed = self._segments.read(_RETRY_LABEL, {place: 0})[place]
        try:
            return _RETRIES.decode(compression.decompress(packed, _RETRY_BYTES_MAX))
        except (msgspec.MsgspecError, UnicodeError, Damaged) as error:
            raise StateDamaged("The list of items to be tried again cannot be read.") from error

    def tree_places(self, tree_ids: Iterable[bytes]) -> dict[bytes, Place]:
        """Where trees lie, of those that are stored. StateDamaged."""
        return {tree_id: tree_place(record) for tree_id, record in self.trees.get_many(tree_ids).items()}

    def cover(self, index_id: str, packs: Iterable[Pack]) -> None:
        """Learn what an index file says: one that this run wrote, or found."""
        for pack in packs:
            for blob in pack.blobs:
                if blob.tree:
                    self.trees.put(blob.id, tree_record(pack.id, blob))
                else:
                    self.data.put(blob.id, b"")
        self.indexes.add(index_id)

    def sorted_parts(self, name: str) -> SortedParts:
        """An empty collection of records for a rebuild of `items`, `trees` or `data`."""
        each: PagedMap = getattr(self, name)
        return SortedParts(*each.widths)

    def commit(self, *, retry: Mapping[str, Retry] | None = None, **changes: Any) -> Head:
        """Write segments, then the next head, with `changes` to its fields. What a snapshot needs is stored before.

        `retry`: the whole list from now on; None leaves it as it is. AlreadyExists where another run was first. The
        last call to a state, but for a repetition where the store failed.
        """
        maps = {"items": self.items, "trees": self.trees, "data": self.data}
        for each in maps.values():
            each.merge_pending()
        short, place = self._save_retry(retry)
        self._segments.close()
        used = sorted(
            {number for each in maps.values() for number in each.segments_used()} | ({place[0]} if place else set())
        )
        numbers = {old: new for new, old in enumerate(used)}
        head = msgspec.structs.replace(
            self.head,
            format=FORMAT,
            generation=self.newest + 1,
            repository=self._repository.id,
            indexes=[bytes.fromhex(each) for each in sorted(self.indexes)],
            retry=short,
            retry_place=(numbers[place[0]], *place[1:]) if place else None,
            segments=[self._segments.ids[number] for number in used],
            maps={name: each.saved(numbers) for name, each in maps.items()},
            **changes,
        )
        save_head(self._repository, head)
        return head

    def _map(self, name: str, key: int, value: int) -> PagedMap:
        return PagedMap(name[:4].encode(), key, value, self._segments, self.head.maps.get(name, SavedMap()))

    def _save_retry(self, retry: Mapping[str, Retry] | None) -> tuple[dict[str, Retry], tuple[int, int, int] | None]:
        """The list as the head holds it, or where it lies instead."""
        if retry is None:
            return self.head.retry, self.head.retry_place
        if len(retry) <= RETRIES_IN_HEAD:
            return dict(retry), None
        packed = compression.compress(msgspec.msgpack.encode(retry), _LEVEL)
        return {}, self._segments.write(_RETRY_LABEL, 0, packed)


def tree_record(pack_id: bytes, blob: PackedBlob) -> bytes:
    """The record of a tree in the map `trees`."""
    return _TREE_PLACE.pack(pack_id, blob.offset, blob.length, blob.raw_length)


def tree_place(record: bytes) -> Place:
    return Place(*_TREE_PLACE.unpack(record))
