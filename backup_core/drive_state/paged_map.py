"""A persistent map in the shape of a two-level B-tree whose root also buffers changes.

Sorted fixed-width records lie in leaves, leaves in immutable segments (`segments.py`). The root, which is the table of
leaves and the changes not yet merged into them, lies in the drive state's head (`head.py`). Records are added and
overwritten, never removed: each is a hint, a tree decides; a rebuild purges.
"""

import struct
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from backup_core.drive_state.segments import NOWHERE, LeafPlace, Segments, StateDamaged
from backup_core.drive_state.sorted_parts import SortedParts

# A changed record costs one leaf read and one written, so leaves are small: with 16 KiB ten changes among a million
# items read 2.3 MiB where these read 1.6. The table in the head takes 20 bytes a leaf.
LEAF_BYTES = 8 << 10  # a leaf is split above this...
FRESH_LEAF_BYTES = 6 << 10  # ...into leaves of about this size, which then have room to grow
PENDING_RECORDS = 2048  # changes that may wait in the head, per map: 64 to 152 KiB
LEAVES_KEPT = 4096  # leaves kept in memory after reading, per map: 32 MiB at most
LEAVES_AT_ONCE = 512  # leaves rewritten together: 4 MiB in memory

_PREFIX_BYTES = 8  # the table knows the first 8 bytes of keys; keys alike in them share a leaf


class SavedMap(msgspec.Struct, frozen=True, array_like=True):
    """A map's root as it stands in the head."""

    starts: bytes = bytes(8)  # u64 LE per leaf: first 8 bytes of the lowest key that it may hold
    places: bytes = bytes(12)  # 3 x u32 LE per leaf: segment number, offset, length (0 = empty)
    pending: bytes = b""  # sorted records


class PagedMap:
    """Keys are hashes of `key` bytes, values have `value` bytes. `get_many` and `put` may be called by many threads."""

    def __init__(self, label: bytes, key: int, value: int, segments: Segments, saved: SavedMap | None = None) -> None:
        self.widths = key, value
        self._label, self._key, self._width, self._segments = label, key, key + value, segments
        self._lock = threading.Lock()
        self._leaves: dict[LeafPlace, bytes] = {}  # read lately. A place never changes its content
        self._load(saved or SavedMap())

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Values of the keys that are there. One round of reads, whatever the number of keys. StateDamaged."""
        found: dict[bytes, bytes] = {}
        asked: dict[LeafPlace, list[bytes]] = defaultdict(list)
        wanted: dict[LeafPlace, int] = {}
        with self._lock:
            for key in keys:
                value = self._pending.get(key)
                if value is not None:
                    found[key] = value
                    continue
                leaf = self._leaf_of(key)
                place = self._place(leaf)
                asked[place].append(key)
                wanted[place] = self._starts[leaf]
        leaves = self._read(wanted)
        for place, some in asked.items():
            records = leaves[place]
            for key in some:
                at = self._search(records, key)
                if records.startswith(key, at):
                    found[key] = records[at + self._key : at + self._width]
        return found

    def waiting(self, key: bytes) -> bool:
        """Whether the key was put lately: by this run, or by one that left few changes. Reads nothing."""
        return key in self._pending

    def put(self, key: bytes, value: bytes) -> None:
        assert len(key) == self._key and len(key) + len(value) == self._width, "a record of another map"
        with self._lock:
            self._pending[key] = value

    def merge_pending(self) -> None:
        """Rewrite the leaves with most changes waiting, fullest first, until few enough wait. StateDamaged.

        Work is bounded by what this run put; no day comes on which everything is rewritten. Of maps that nobody else
        writes to at the moment.
        """
        chosen = self._leaves_to_rewrite()
        # From the end, so that a leaf that becomes several moves none that is still to come.
        numbers = sorted(chosen, reverse=True)
        for at in range(0, len(numbers), LEAVES_AT_ONCE):
            some = numbers[at : at + LEAVES_AT_ONCE]
            leaves = self._read({self._place(leaf): self._starts[leaf] for leaf in some})
            for leaf in some:
                place = self._place(leaf)
                merged = {record[: self._key]: record for record in self._cut(leaves[place])}
                merged |= {key: key + self._pending[key] for key in chosen[leaf]}
                starts, places = self._write([merged[key] for key in sorted(merged)], self._starts[leaf])
                with self._lock:
                    self._starts[leaf : leaf + 1] = starts
                    self._places[3 * leaf : 3 * leaf + 3] = places
                    self._leaves.pop(place, None)
                    for key in chosen[leaf]:
                        del self._pending[key]

    def rebuild(self, records: SortedParts) -> None:
        """Start afresh from all records, in memory of about their size."""
        starts, places = array("Q", [0]), array("I", NOWHERE)
        rows: list[bytes] = []
        for part in records.drain():
            rows += part
            if len(rows) * self._width >= FRESH_LEAF_BYTES:
                self._append(rows, starts, places)
                rows = []
        self._append(rows, starts, places)
        with self._lock:
            self._starts, self._places = starts, places
            self._pending.clear()
            self._leaves.clear()

    def segments_used(self) -> set[int]:
        """Numbers of the segments in which leaves of this map lie."""
        return {segment for segment, length in zip(self._places[::3], self._places[2::3], strict=True) if length}

    def saved(self, numbers: Mapping[int, int] | None = None) -> SavedMap:
        """The root as it is now. `numbers`: new numbers of the segments that are used."""
        places = self._places[:]
        if numbers is not None:
            places[::3] = array("I", [numbers.get(number, 0) for number in places[::3]])
        return SavedMap(
            starts=struct.pack(f"<{len(self._starts)}Q", *self._starts),
            places=struct.pack(f"<{len(places)}I", *places),
            pending=b"".join(key + self._pending[key] for key in sorted(self._pending)),
        )

    def _load(self, saved: SavedMap) -> None:
        count, rest = divmod(len(saved.starts), 8)
        if rest or not count or len(saved.places) != 12 * count or len(saved.pending) % self._width:
            raise StateDamaged("A map of the drive state has parts that do not fit together.")
        self._starts = array("Q", struct.unpack(f"<{count}Q", saved.starts))
        self._places = array("I", struct.unpack(f"<{3 * count}I", saved.places))  # three numbers a leaf
        self._pending = {record[: self._key]: record[self._key :] for record in self._cut(saved.pending)}
        if self._starts[0] or sorted(set(self._starts)) != self._starts.tolist():
            raise StateDamaged("A map of the drive state has leaves out of order.")

    def _leaves_to_rewrite(self) -> dict[int, list[bytes]]:
        """Leaf -> its waiting keys."""
        waiting: dict[int, list[bytes]] = defaultdict(list)
        for key in self._pending:
            waiting[self._leaf_of(key)].append(key)
        chosen: dict[int, list[bytes]] = {}
        excess = len(self._pending) - PENDING_RECORDS
        for leaf in sorted(waiting, key=lambda leaf: (-len(waiting[leaf]), leaf)):
            if excess <= 0:
                break
            chosen[leaf] = waiting[leaf]
            excess -= len(waiting[leaf])
        return chosen

    def _read(self, wanted: Mapping[LeafPlace, int]) -> dict[LeafPlace, bytes]:
        """Place -> records, from memory where they are there. The lock is not held while the store is waited for."""
        with self._lock:
            found = {place: self._leaves[place] for place in wanted if place in self._leaves}
        missing = {place: start for place, start in wanted.items() if place not in found and place.length}
        if NOWHERE in wanted:
            found[NOWHERE] = b""
        if missing:
            read = self._segments.read(self._label, missing)
            with self._lock:
                self._leaves |= read
                while len(self._leaves) > LEAVES_KEPT:
                    del self._leaves[next(iter(self._leaves))]
            found |= read
        return found

    def _append(self, rows: list[bytes], starts: "array[int]", places: "array[int]") -> None:
        """Write further leaves of a rebuild; the first of all begins at 0, and takes the place of the empty one."""
        if not rows:
            return
        if not places[2]:
            del starts[:], places[:]
        more_starts, more_places = self._write(rows, _start(rows[0]) if starts else 0)
        starts += more_starts
        places += more_places

    def _write(self, rows: list[bytes], start: int) -> "tuple[array[int], array[int]]":
        """Write sorted records as one leaf, or as several of equal size where they are too many for one."""
        size = len(rows) * self._width
        count = 1 if size <= LEAF_BYTES else -(-size // FRESH_LEAF_BYTES)
        per_leaf = -(-len(rows) // count)
        starts, places = array("Q"), array("I")
        at = 0
        while at < len(rows):
            end = min(at + per_leaf, len(rows))
            while end < len(rows) and _start(rows[end]) == _start(rows[end - 1]):
                end += 1
            starts.append(_start(rows[at]) if at else start)
            places.extend(self._segments.write(self._label, starts[-1], b"".join(rows[at:end])))
            at = end
        return starts, places

    def _place(self, leaf: int) -> LeafPlace:
        return LeafPlace(*self._places[3 * leaf : 3 * leaf + 3])

    def _leaf_of(self, key: bytes) -> int:
        return bisect_right(self._starts, _start(key)) - 1

    def _search(self, records: bytes, key: bytes) -> int:
        """Offset of the first record that is not below the key."""
        width, length = self._width, self._key
        rows = range(0, len(records), width)
        return bisect_left(rows, key, key=lambda at: records[at : at + length]) * width

    def _cut(self, records: bytes) -> Iterator[bytes]:
        return (records[at : at + self._width] for at in range(0, len(records), self._width))


def _start(key: bytes) -> int:
    return int.from_bytes(key[:_PREFIX_BYTES], "big")
