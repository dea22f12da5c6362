"""Reading blobs by their ids: where they lie, and what lies there. It does not know what a blob means."""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from backup_core.errors import Damaged, NotFound, Temporary
from backup_core.repository import index, layout
from backup_core.repository.pack import Pack, PackedBlob, open_blob
from backup_core.repository.repository import Repository

# A request costs as much time as some 100 KiB of transfer, and money: near blobs are worth the gap between them.
GAP_BYTES = 32 << 10
RANGE_BYTES = 4 << 20  # blobs are gathered up to here; one longer blob is still one range
_LOADS = 5  # a prune replaces index files once, at its end


class Place(NamedTuple):
    """Where a blob lies. `raw_length`: of the plain bytes where they are compressed, else 0."""

    pack: bytes
    offset: int
    length: int
    raw_length: int


Locate = Callable[[bytes, bool], Place | None]
Copies = Callable[[bytes, bool], Sequence[Place]]


class Range(NamedTuple):
    """A piece of one pack to be read in one request, and the blobs wanted from it."""

    pack: bytes
    offset: int
    length: int
    tree: bool
    blobs: list[tuple[bytes, Place]]


class BlobReader:
    """May be used by many threads.

    `locate` tells where a blob lies, None where it knows none. `copies` tells every place of a blob that is stored more
    than once; they are tried where the first one is damaged or gone.
    """

    def __init__(self, repository: Repository, locate: Locate, copies: Copies | None = None) -> None:
        self._repository, self._locate, self._copies = repository, locate, copies

    def read(self, blob_id: bytes, tree: bool) -> bytes:
        """The plain bytes, which have the hash that the id says. NotFound; Damaged."""
        place = self._place(blob_id, tree)
        try:
            return self._read_at(blob_id, place)
        except (Damaged, NotFound) as error:
            return self._read_copy(blob_id, tree, error)

    def read_many(self, blob_ids: Iterable[bytes], tree: bool) -> Iterator[tuple[bytes, bytes]]:
        """Each id once, with its plain bytes, in the order of storage: few requests, one range in memory. As `read`."""
        for span in self.ranges(blob_ids, tree):
            yield from self.read_range(span)

    def ranges(self, blob_ids: Iterable[bytes], tree: bool) -> list[Range]:
        """What to read for these blobs, for a caller that reads ranges in threads of its own. NotFound."""
        placed = sorted((self._place(blob_id, tree), blob_id) for blob_id in set(blob_ids))
        spans: list[Range] = []
        for place, blob_id in placed:
            end = place.offset + place.length
            if spans and _joins(spans[-1], place):
                last = spans[-1]
                last.blobs.append((blob_id, place))
                spans[-1] = last._replace(length=end - last.offset)
            else:
                spans.append(Range(place.pack, place.offset, place.length, tree, [(blob_id, place)]))
        return spans

    def read_range(self, span: Range) -> Iterator[tuple[bytes, bytes]]:
        """The blobs of one range. What is damaged is left to the end, so that the others are had before it raises."""
        try:
            data = memoryview(self._repository.store.get_range(_name(span.pack), span.offset, span.length))
        except (Damaged, NotFound):
            data = memoryview(b"")  # the pack is cut short or gone: each blob may still be had alone, or elsewhere
        failed = []
        for blob_id, place in span.blobs:
            start = place.offset - span.offset
            try:
                plain = self._open(blob_id, data[start : start + place.length], place)
            except Damaged:
                failed.append(blob_id)
            else:
                yield blob_id, plain
        error: Damaged | NotFound | None = None
        for blob_id in failed:
            try:
                plain = self.read(blob_id, span.tree)
            except (Damaged, NotFound) as found:
                error = error or found
            else:
                yield blob_id, plain
        if error:
            raise error

    def _place(self, blob_id: bytes, tree: bool) -> Place:
        place = self._locate(blob_id, tree)
        if place is None:
            raise NotFound(
                f"The {'tree' if tree else 'data'} blob {blob_id.hex()} is in no index.",
                remedy="Run `drivekeep check`; `restic rebuild-index` finds packs that no index names.",
            )
        return place

    def _read_at(self, blob_id: bytes, place: Place) -> bytes:
        data = self._repository.store.get_range(_name(place.pack), place.offset, place.length)
        return self._open(blob_id, memoryview(data), place)

    def _open(self, blob_id: bytes, sealed: memoryview, place: Place) -> bytes:
        try:
            plain = open_blob(self._repository.keys, sealed, place.raw_length)
        except Damaged as error:
            raise _damaged(blob_id, place, error.what) from error
        if hashlib.sha256(plain).digest() != blob_id:
            raise _damaged(blob_id, place, "Its content has another hash.")
        return plain

    def _read_copy(self, blob_id: bytes, tree: bool, error: Damaged | NotFound) -> bytes:
        for place in self._copies(blob_id, tree) if self._copies else ():
            try:
                return self._read_at(blob_id, place)
            except (Damaged, NotFound):
                continue
        raise error


class LoadedIndex:
    """All index files of a repository in memory: some 170 bytes a blob, so 170 MiB for a million.

    A blob is one entry of a dict, id -> row, and one row of four columns; a tuple per blob would take twice as much.
    A blob that is stored twice has two rows; the second is remembered for the day the first is damaged.
    """

    def __init__(self) -> None:
        self._pack_ids: list[bytes] = []
        self._pack_numbers: dict[bytes, int] = {}
        self._rows: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})  # of data blobs, of trees
        self._more: dict[tuple[bool, bytes], list[int]] = {}
        self._packs, self._offsets = array("I"), array("I")
        self._lengths, self._raw_lengths = array("I"), array("I")

    @classmethod
    def load(cls, repository: Repository, trees_only: bool = False) -> "LoadedIndex":
        """Read every index file. `trees_only`: what `ls` needs, a small part of it. Damaged.

        An index file that is gone when its turn comes was replaced by another one: then all are read again. Temporary
        where that does not come to an end.
        """
        for _ in range(_LOADS):
            loaded = cls()
            try:
                for index_id in repository.ids("index"):
                    for pack in index.load_index(repository, index_id):
                        loaded.add(pack, trees_only)
            except NotFound:
                continue
            return loaded
        raise Temporary(
            "The index changes all the time while it is read.",
            why="Somebody prunes the repository, or the store lists objects that it does not have.",
            remedy="Try again when nobody else works on the repository.",
        )

    def add(self, pack: Pack, trees_only: bool = False) -> None:
        """Learn what one pack holds. What is known of it already (two index files may name one pack) is passed over."""
        number = self._pack_numbers.get(pack.id)
        known = number is not None
        if number is None:
            number = self._pack_numbers[pack.id] = len(self._pack_ids)
            self._pack_ids.append(pack.id)
        for blob in pack.blobs:
            if trees_only and not blob.tree:
                continue
            if known and Place(pack.id, blob.offset, blob.length, blob.raw_length) in self.copies(blob.id, blob.tree):
                continue
            self._add_row(number, blob)

    def __len__(self) -> int:
        """Blobs, copies counted."""
        return len(self._packs)

    def __contains__(self, key: tuple[bytes, bool]) -> bool:
        blob_id, tree = key
        return blob_id in self._rows[tree]

    def locate(self, blob_id: bytes, tree: bool) -> Place | None:
        row = self._rows[tree].get(blob_id)
        return None if row is None else self._place(row)

    def copies(self, blob_id: bytes, tree: bool) -> list[Place]:
        """Every place of a blob; the first one is what `locate` says."""
        row = self._rows[tree].get(blob_id)
        if row is None:
            return []
        return [self._place(each) for each in (row, *self._more.get((tree, blob_id), ()))]

    def packs(self) -> Iterator[Pack]:
        """Every pack with its blobs by offset, as the index files tell it (its trees, where only they are loaded)."""
        blobs: list[list[PackedBlob]] = [[] for _ in self._pack_ids]
        for tree in (False, True):
            for blob_id, row in self._rows[tree].items():
                for each in (row, *self._more.get((tree, blob_id), ())):
                    place = self._place(each)
                    packed = PackedBlob(blob_id, tree, place.offset, place.length, place.raw_length)
                    blobs[self._packs[each]].append(packed)
        for number, pack_id in enumerate(self._pack_ids):
            yield Pack(pack_id, sorted(blobs[number], key=lambda blob: blob.offset), 0)
            blobs[number] = []

    def _add_row(self, number: int, blob: PackedBlob) -> None:
        row = len(self._packs)
        self._packs.append(number)
        self._offsets.append(blob.offset)
        self._lengths.append(blob.length)
        self._raw_lengths.append(blob.raw_length)
        if self._rows[blob.tree].setdefault(blob.id, row) != row:
            self._more.setdefault((blob.tree, blob.id), []).append(row)

    def _place(self, row: int) -> Place:
        pack_id = self._pack_ids[self._packs[row]]
        return Place(pack_id, self._offsets[row], self._lengths[row], self._raw_lengths[row])


def _joins(span: Range, place: Place) -> bool:
    """Whether a place, which begins no earlier, is near enough to the range to be read with it."""
    end = span.offset + span.length
    return (
        place.pack == span.pack
        and place.offset <= end + GAP_BYTES
        and place.offset + place.length - span.offset <= RANGE_BYTES
    )


def _name(pack: bytes) -> str:
    return layout.pack_name(pack.hex())


def _damaged(blob_id: bytes, place: Place, why: str) -> Damaged:
    return Damaged(
        f"Blob {blob_id.hex()} in {_name(place.pack)} is damaged.",
        why=why,
        remedy="Run `drivekeep check --read-data` to see what else is.",
    )
