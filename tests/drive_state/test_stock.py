"""Taking stock: what is stored is known, and what is gone is never taken for stored."""

import hashlib
from typing import Any

import pytest

from backup_core.drive_state.head import Head
from backup_core.drive_state.state import DriveState, tree_place, tree_record
from backup_core.drive_state.stock import take_stock
from backup_core.errors import Damaged
from backup_core.repository.blobs import Place
from backup_core.repository.crypto import Keys
from backup_core.repository.index import save_index
from backup_core.repository.layout import index_name
from backup_core.repository.pack import Pack, PackedBlob
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, save_snapshot
from backup_core.storage.memory import MemoryStore
from backup_core.storage.metered import MeteredStore
from backup_core.storage.store import Store

KEYS = Keys(b"e" * 32, b"k" * 16, b"r" * 16)
SECRET = "https://graph.example/delta?token=SECRET"


def repository_in(store: Store, repository_id: str = "1" * 64) -> Repository:
    return Repository(store, KEYS, repository_id, 2, store)


@pytest.fixture
def repository() -> Repository:
    return repository_in(MemoryStore())


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def snapshot_of(repository: Repository, tree: str, minute: int = 0) -> str:
    text = f"2026-11-02T08:{minute:02d}:00Z"
    return save_snapshot(repository, Snapshot(time=text, tree=digest(tree).hex(), paths=["/OneDrive"]))


def commit(repository: Repository, state: DriveState, tree: str, **changes: Any) -> Head:
    snapshot = snapshot_of(repository, tree, state.newest)
    return state.commit(tree=digest(tree).hex(), snapshot=snapshot, **changes)


def replace(store: Store, name: str, data: bytes | None) -> None:
    store.delete(name)
    if data is not None:
        store.put_new(name, data)


def pack_of(name: str, *blobs: str) -> Pack:
    """A pack of tree blobs (names in capitals) and data blobs."""
    packed = [PackedBlob(digest(each), each.isupper(), 10 * n, 10, 0) for n, each in enumerate(blobs)]
    return Pack(digest(name), packed, 0)


def known(state: DriveState) -> set[str]:
    names = "abcdefABCDEF"
    found = state.tree_places(digest(each) for each in names).keys()
    found |= state.data.get_many(digest(each) for each in names).keys()
    return {each for each in names if digest(each) in found}


def test_index_files_of_others_are_read_once(repository: Repository) -> None:
    """What a run that died, or stock restic, has stored is known; what is known is not read again."""
    commit(repository, DriveState.open(repository), "t1")
    ids = save_index(repository, [pack_of("p1", "A", "a"), pack_of("p2", "b")])
    state = DriveState.open(repository)
    take_stock(repository, state)
    assert known(state) == set("Aab")
    commit(repository, state, "t2")
    ids += save_index(repository, [pack_of("p3", "B")])
    metered = MeteredStore(repository.store)
    state = DriveState.open(repository_in(metered))
    before = metered.requests
    take_stock(repository_in(metered), state)
    assert metered.requests == before + 2  # the listing and the one new file
    assert known(state) == set("AabB")
    assert state.indexes == set(ids)
    assert state.tree_places([digest("B")]) == {digest("B"): Place(digest("p3"), 0, 10, 0)}


def test_after_a_prune_only_what_is_still_there_is_known(repository: Repository) -> None:
    """A covered index file that is gone leads to maps made anew; a chunk that was pruned is never taken for stored."""
    old = save_index(repository, [pack_of("p1", "A", "a", "B", "b")])
    state = DriveState.open(repository)
    take_stock(repository, state)
    state.items.put(b"i" * 16, b"p" * 16)
    commit(repository, state, "t1")
    repository.store.delete(index_name(old[0]))
    new = save_index(repository, [pack_of("p9", "B", "b"), pack_of("p8", "c")])
    state = DriveState.open(repository)
    take_stock(repository, state)
    assert known(state) == set("Bbc")
    assert state.indexes == set(new)
    assert state.tree_places([digest("B")])[digest("B")].pack == digest("p9")
    assert state.items.get_many([b"i" * 16]) == {b"i" * 16: b"p" * 16}
    commit(repository, state, "t2")
    again = DriveState.open(repository)
    take_stock(repository, again)
    assert known(again) == set("Bbc")


def test_a_repository_whose_index_is_gone_holds_nothing(repository: Repository) -> None:
    """All index files removed: nothing is taken for stored."""
    ids = save_index(repository, [pack_of("p1", "A", "a")])
    state = DriveState.open(repository)
    take_stock(repository, state)
    commit(repository, state, "t1")
    repository.store.delete(index_name(ids[0]))
    state = DriveState.open(repository)
    take_stock(repository, state)
    assert known(state) == set()
    assert state.indexes == set()


def test_a_damaged_index_file_stops_the_run(repository: Repository) -> None:
    """Nobody guesses what a damaged index said."""
    ids = save_index(repository, [pack_of("p1", "A")])
    replace(repository.store, index_name(ids[0]), b"damaged")
    with pytest.raises(Damaged):
        take_stock(repository, DriveState.open(repository))


def test_a_tree_record_is_76_bytes() -> None:
    """Pack id, offset, length and raw length, little-endian, beside the key of 32 bytes."""
    blob = PackedBlob(digest("A"), True, 1, 2, 3)
    record = tree_record(digest("p"), blob)
    assert record == digest("p") + b"\1\0\0\0\2\0\0\0\3\0\0\0"
    assert len(blob.id) + len(record) == 76
    assert tree_place(record) == Place(digest("p"), 1, 2, 3)
