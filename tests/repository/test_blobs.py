"""Reading blobs: few requests, every byte checked, another copy where one is bad."""

import hashlib
import random
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Damaged, NotFound, Temporary
from backup_core.repository import layout
from backup_core.repository.blobs import GAP_BYTES, RANGE_BYTES, BlobReader, LoadedIndex, Place
from backup_core.repository.crypto import Keys
from backup_core.repository.index import encode, save_index
from backup_core.repository.pack import Pack, PackedBlob
from backup_core.repository.packer import Packer
from backup_core.repository.repository import Repository
from backup_core.storage.memory import MemoryStore
from backup_core.storage.metered import MeteredStore
from backup_core.storage.store import Stored


def ident(plain: bytes) -> bytes:
    return hashlib.sha256(plain).digest()


def noise(number: int, length: int) -> bytes:
    """Bytes that do not shrink, so that a test knows how long they are as stored."""
    return random.Random(number).randbytes(length)


def put(repository: Repository, *packs: list[bytes], tree: bool = False) -> list[Pack]:
    """Store each list of blobs as one pack, and an index of them."""
    stored: list[Pack] = []
    for plains in packs:
        packing = Packer(repository, tree=tree, pack_bytes=1 << 30, in_flight=1)
        for plain in plains:
            packing.add(ident(plain), plain)
        stored += packing.finish()
    save_index(repository, stored)
    return stored


def reader(repository: Repository) -> BlobReader:
    loaded = LoadedIndex.load(repository)
    return BlobReader(repository, loaded.locate, loaded.copies)


def damage(repository: Repository, pack: Pack, change: Callable[[bytearray], object]) -> None:
    name = layout.pack_name(pack.id.hex())
    data = bytearray(repository.store.get(name))
    change(data)
    repository.store.delete(name)
    repository.store.put_new(name, data)


def flip(at: int) -> Callable[[bytearray], object]:
    def change(data: bytearray) -> None:
        data[at] ^= 1

    return change


@given(st.lists(st.lists(st.binary(max_size=200), max_size=6), max_size=4), st.booleans())
def test_whatever_was_stored_is_read(packs: list[list[bytes]], tree: bool) -> None:
    """Every blob of every pack is read by its id, alone or together with all others."""
    store = MemoryStore()
    repository = Repository(store, Keys.random(), "0" * 64, 2, store)
    put(repository, *packs, tree=tree)
    read, expected = reader(repository), {ident(plain): plain for plains in packs for plain in plains}
    assert dict(read.read_many([*expected, *expected], tree)) == expected
    assert {blob_id: read.read(blob_id, tree) for blob_id in expected} == expected
    for blob_id in expected:
        with pytest.raises(NotFound):
            read.read(blob_id, not tree)


def test_near_blobs_are_read_in_one_request(memory_repository: Repository) -> None:
    """Blobs nearer than the gap come in one request, others in their own, and no range grows without bound."""
    gap = noise(0, GAP_BYTES + 1)
    plains = [noise(1, 1000), noise(2, GAP_BYTES // 2), noise(3, 1000), gap, noise(4, 1000)]
    put(memory_repository, plains)
    metered = MeteredStore(memory_repository.store)
    repository = Repository(metered, memory_repository.keys, "0" * 64, 2, metered)
    loaded = LoadedIndex.load(repository)
    before = metered.requests, metered.bytes_read
    wanted = [ident(plain) for plain in plains if plain not in (plains[1], gap)]
    found = dict(BlobReader(repository, loaded.locate).read_many(wanted, False))
    assert sorted(found) == sorted(wanted)
    assert metered.requests - before[0] == 2
    assert metered.bytes_read - before[1] == 3 * 1032 + GAP_BYTES // 2 + 32


def test_ranges_are_bounded(memory_repository: Repository) -> None:
    """Merged ranges end at 4 MiB; only a blob that is longer by itself makes a longer one."""
    plains = [noise(number, 1 << 20) for number in range(9)] + [noise(9, RANGE_BYTES + 1)]
    put(memory_repository, plains)
    spans = reader(memory_repository).ranges([ident(plain) for plain in plains], False)
    assert [len(span.blobs) for span in spans] == [3, 3, 3, 1]
    assert [span.length <= RANGE_BYTES for span in spans] == [True, True, True, False]


def test_a_damaged_blob_is_never_returned(memory_repository: Repository) -> None:
    """One changed byte makes one blob damaged, with its pack's name; all others are still returned."""
    plains = [noise(number, 500) for number in range(5)]
    (pack,) = put(memory_repository, plains)
    damage(memory_repository, pack, flip(pack.blobs[1].offset + 20))
    read, found = reader(memory_repository), {}
    with pytest.raises(Damaged, match=pack.id.hex()):
        for blob_id, plain in read.read_many([ident(plain) for plain in plains], False):
            found[blob_id] = plain
    assert found == {ident(plain): plain for plain in plains if plain is not plains[1]}
    with pytest.raises(Damaged, match=ident(plains[1]).hex()):
        read.read(ident(plains[1]), False)


def test_a_sound_envelope_with_other_content_is_damage(memory_repository: Repository) -> None:
    """An index that leads to another blob's bytes is found by the hash, though every code is right."""
    (pack,) = put(memory_repository, [b"first", b"other"])
    first, other = pack.blobs
    place = Place(pack.id, other.offset, other.length, other.raw_length)
    with pytest.raises(Damaged, match="another hash"):
        BlobReader(memory_repository, lambda blob_id, tree: place).read(first.id, False)


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_another_copy_is_read_where_one_is_bad(memory_repository: Repository, how: str) -> None:
    """A blob stored twice is read from the second pack where the first is damaged, cut short or gone."""
    shared, alone = noise(1, 500), noise(2, 500)
    first, _second = put(memory_repository, [alone, shared], [shared, noise(3, 100)])
    loaded = LoadedIndex.load(memory_repository)
    place = loaded.locate(ident(shared), False)
    assert place is not None
    assert place.pack == first.id
    if how == "gone":
        memory_repository.store.delete(layout.pack_name(first.id.hex()))
    else:
        change = flip(place.offset + 100) if how == "flipped" else lambda data: data.__delitem__(slice(600, None))
        damage(memory_repository, first, change)
    read = BlobReader(memory_repository, loaded.locate, loaded.copies)
    assert read.read(ident(shared), False) == shared
    assert dict(read.read_many([ident(shared)], False)) == {ident(shared): shared}
    with pytest.raises((Damaged, NotFound)):
        BlobReader(memory_repository, loaded.locate).read(ident(shared), False)
    if how == "cut":
        assert read.read(ident(alone), False) == alone
        both = {ident(alone): alone, ident(shared): shared}
        assert dict(read.read_many(both, False)) == both


def test_an_unreachable_store_is_not_damage(memory_repository: Repository) -> None:
    """A store that cannot be reached is temporary: nobody is told that their backup is damaged."""

    class Down(MemoryStore):
        def get_range(self, name: str, offset: int, length: int) -> bytes:
            raise Temporary("down")

    (pack,) = put(memory_repository, [b"x"])
    place = Place(pack.id, 0, pack.blobs[0].length, 0)
    down = Down()
    repository = Repository(down, memory_repository.keys, "0" * 64, 2, down)
    with pytest.raises(Temporary):
        dict(BlobReader(repository, lambda blob_id, tree: place).read_many([ident(b"x")], False))


PACKS = st.lists(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=6, unique=True), max_size=6
)


def laid_out(contents: list[list[tuple[int, bool]]]) -> list[Pack]:
    """Packs of numbered blobs, without bytes; a number may be in several packs."""
    packs = []
    for number, blobs in enumerate(contents):
        packed = [PackedBlob(bytes([n]) * 32, tree, 100 * i, 100, n) for i, (n, tree) in enumerate(blobs)]
        packs.append(Pack(number.to_bytes(32, "big"), packed, 0))
    return packs


@given(PACKS, st.randoms(use_true_random=False))
def test_the_loaded_index_knows_what_the_files_say(
    contents: list[list[tuple[int, bool]]], source: random.Random
) -> None:
    """Every place of every blob is known once, however the packs are spread over files that overlap."""
    packs = laid_out(contents)
    store = MemoryStore()
    repository = Repository(store, Keys.random(), "0" * 64, 2, store)
    for _ in range(2):
        some = [pack for pack in packs if source.random() < 0.7]
        save_index(repository, some)
        packs_left = [pack for pack in packs if pack not in some]
        save_index(repository, packs_left)
    loaded = LoadedIndex.load(repository)
    assert sorted(loaded.packs(), key=lambda pack: pack.id) == packs
    places: dict[tuple[bytes, bool], set[Place]] = {}
    for pack in packs:
        for blob in pack.blobs:
            place = Place(pack.id, blob.offset, blob.length, blob.raw_length)
            places.setdefault((blob.id, blob.tree), set()).add(place)
    assert len(loaded) == sum(map(len, places.values()))
    for key, expected in places.items():
        copies = loaded.copies(*key)
        assert (set(copies), len(copies)) == (expected, len(expected))
        assert loaded.locate(*key) == copies[0]
        assert key in loaded
    assert (b"\xff" * 32, True) not in loaded
    assert loaded.locate(b"\xff" * 32, True) is None
    trees = LoadedIndex.load(repository, trees_only=True)
    assert len(trees) == sum(len(found) for (_, tree), found in places.items() if tree)
    assert all(((blob_id, tree) in trees) == tree for blob_id, tree in places)


def test_one_pack_listed_in_parts(memory_repository: Repository) -> None:
    """A pack of which two index files tell one half each is known whole."""
    (whole,) = laid_out([[(1, False), (2, False), (3, False)]])
    for part in (whole.blobs[:2], whole.blobs[1:]):
        memory_repository.save_unpacked("index", encode([Pack(whole.id, part, 0)]))
    assert list(LoadedIndex.load(memory_repository).packs()) == [whole]


def test_an_index_file_replaced_while_loading(memory_repository: Repository) -> None:
    """Where a prune replaces the index in the middle of loading, the new one is loaded, not half of each."""
    old, new = laid_out([[(1, False)], [(2, False)]])
    (old_id,) = save_index(memory_repository, [old])

    class Replaced(MemoryStore):
        turns = 0

        def list(self, prefix: str = "") -> Iterator[Stored]:
            found = [*super().list(prefix)]
            self.turns += 1
            if self.turns == 1:
                save_index(repository, [new])
                self.delete(layout.index_name(old_id))
            return iter(found)

    store = Replaced()
    repository = Repository(store, memory_repository.keys, "0" * 64, 2, store)
    store.put_new(layout.index_name(old_id), memory_repository.store.get(layout.index_name(old_id)))
    assert list(LoadedIndex.load(repository).packs()) == [new]


def test_an_index_that_never_settles(memory_repository: Repository) -> None:
    """A listing that goes on naming what is not there ends as temporary, not as an endless loop."""

    class Lying(MemoryStore):
        def list(self, prefix: str = "") -> Iterator[Stored]:
            return iter([Stored("index/" + "0" * 64, 100, 0.0)])

    store = Lying()
    with pytest.raises(Temporary):
        LoadedIndex.load(Repository(store, memory_repository.keys, "0" * 64, 2, store))


def test_a_blob_costs_little_memory() -> None:
    """The loaded index takes less than 200 bytes a blob: a million of them fit beside everything else."""
    count = 40_000
    tracemalloc.start()
    loaded = LoadedIndex()
    for number in range(count // 20):
        blobs = [PackedBlob(ident(b"%d %d" % (number, i)), False, 5000 * i, 5000, 9000) for i in range(20)]
        loaded.add(Pack(ident(b"%d" % number), blobs, 0))
    del blobs
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(loaded) == count
    assert used / count < 200
