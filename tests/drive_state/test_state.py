"""Heads and the state: the newest that is whole and true counts, and of two runs only one makes the next."""

import hashlib
from typing import Any

import msgspec
import pytest

from backup_core.drive_state import state as state_module
from backup_core.drive_state.head import FORMAT, Head, Retry, Totals, choose_head, save_head
from backup_core.drive_state.paged_map import SavedMap
from backup_core.drive_state.segments import StateDamaged
from backup_core.drive_state.state import DriveState
from backup_core.errors import AlreadyExists, Temporary, Usage
from backup_core.repository import compression
from backup_core.repository.blobs import Place
from backup_core.repository.crypto import Keys
from backup_core.repository.layout import HEADS, SEGMENTS, head_name, snapshot_name
from backup_core.repository.pack import Pack, PackedBlob
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, load_snapshots, save_snapshot
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


def run(repository: Repository, tree: str, **changes: Any) -> Head:
    """A whole run: state, something put, snapshot, head."""
    state = DriveState.open(repository)
    state.items.put(digest(tree)[:16], digest("root")[:16])
    return commit(repository, state, tree, **changes)


def commit(repository: Repository, state: DriveState, tree: str, **changes: Any) -> Head:
    snapshot = snapshot_of(repository, tree, state.newest)
    return state.commit(tree=digest(tree).hex(), snapshot=snapshot, **changes)


def replace(store: Store, name: str, data: bytes | None) -> None:
    store.delete(name)
    if data is not None:
        store.put_new(name, data)


def sealed(head: Any) -> bytes:
    return KEYS.seal(compression.compress(msgspec.msgpack.encode(head), 3))


# -- heads -----------------------------------------------------------------------------------------------------------


def test_a_repository_without_a_head_has_an_empty_state(repository: Repository) -> None:
    """A first run starts from nothing, and its head is number 1."""
    state = DriveState.open(repository)
    assert state.is_empty
    assert state.newest == 0
    assert state.retry() == {}
    head = commit(repository, state, "t")
    assert (head.generation, head.format, head.repository) == (1, FORMAT, repository.id)


def test_what_was_committed_is_there_for_the_next_run(repository: Repository) -> None:
    """Every field, the maps and the retry list come back."""
    retry = {"01A": Retry("locked", 3)}
    fields = {"drive": "b!x", "root": "01R", "root_path": "A/B", "root_key": b"k" * 16, "source": "onedrive-changes"}
    fields |= {"mode": "full", "totals": Totals(1, 2, 3), "delta_link": SECRET, "rules": "r"}
    state = DriveState.open(repository)
    packs = [
        Pack(digest("p"), [PackedBlob(digest("a"), True, 0, 99, 300), PackedBlob(digest("b"), False, 99, 7, 0)], 0)
    ]
    state.cover(digest("index").hex(), packs)
    state.items.put(b"i" * 16, b"p" * 16)
    head = commit(repository, state, "t", retry=retry, **fields)
    again = DriveState.open(repository)
    assert again.head == head
    assert {name: getattr(again.head, name) for name in fields} == fields
    assert again.retry() == retry
    assert again.indexes == {digest("index").hex()}
    assert again.items.get_many([b"i" * 16]) == {b"i" * 16: b"p" * 16}
    assert again.tree_places([digest("a"), digest("b")]) == {digest("a"): Place(digest("p"), 0, 99, 300)}
    assert again.data.get_many([digest("a"), digest("b")]) == {digest("b"): b""}


def test_the_newest_head_with_an_existing_snapshot_is_chosen(repository: Repository) -> None:
    """Heads follow one another; choosing reads one head and no snapshot."""
    for number in range(1, 4):
        assert run(repository, f"t{number}").generation == number
    metered = MeteredStore(repository.store)
    assert choose_head(repository_in(metered)).head.generation == 3  # type: ignore[union-attr]
    assert metered.requests == 3  # two listings and the head


def test_a_forgotten_snapshot_takes_its_head_with_it(repository: Repository) -> None:
    """The state goes back to what still exists; the next head's number is a new one all the same."""
    run(repository, "t1")
    second = run(repository, "t2")
    repository.store.delete(snapshot_name(second.snapshot))
    state = DriveState.open(repository)
    assert (state.head.generation, state.newest) == (1, 2)
    assert commit(repository, state, "t3").generation == 3
    for each in load_snapshots(repository):
        repository.store.delete(snapshot_name(each.id))
    state = DriveState.open(repository)
    assert state.is_empty
    assert commit(repository, state, "t4").generation == 4


@pytest.mark.parametrize("given", [True, False])
def test_a_snapshot_under_a_new_id_still_has_its_head(repository: Repository, given: bool) -> None:
    """`restic tag` stores a snapshot anew and deletes the old one: an equal tree is enough, and the new id is told."""
    run(repository, "t1")
    head = run(repository, "t2")
    repository.store.delete(snapshot_name(head.snapshot))
    new_id = snapshot_of(repository, "t2", minute=30)
    repository.store.put_new(snapshot_name("d" * 64), b"damaged")
    state = DriveState.open(repository, load_snapshots(repository, lambda *_: None) if given else None)
    assert (state.head.generation, state.head.snapshot) == (2, new_id)


@pytest.mark.parametrize("harm", ["flipped", "truncated", "empty", "moved", "other repository", "no head", "no zstd"])
def test_a_head_that_is_not_what_was_written_is_passed_over(repository: Repository, harm: str) -> None:
    """Damaged, or written for another number or repository: the one before it counts."""
    first = run(repository, "t1")
    second = run(repository, "t2")
    name = head_name(2)
    data = repository.store.get(name)
    bad = {
        "flipped": data[:50] + bytes([data[50] ^ 1]) + data[51:],
        "truncated": data[:-1],
        "empty": b"",
        "moved": repository.store.get(head_name(1)),
        "other repository": sealed(msgspec.structs.replace(second, repository="2" * 64)),
        "no head": sealed({"format": FORMAT, "generation": "2"}),
        "no zstd": KEYS.seal(b"nothing compressed"),
    }
    replace(repository.store, name, bad[harm])
    assert choose_head(repository) == (first, 2)


def test_an_older_head_under_a_newer_number_is_passed_over(repository: Repository) -> None:
    """Copying an old head to the front does not take the drive back in time."""
    run(repository, "t1")
    second = run(repository, "t2")
    repository.store.put_new(head_name(3), repository.store.get(head_name(1)))
    assert choose_head(repository) == (second, 3)


def test_a_newer_format_stops_the_run(repository: Repository) -> None:
    """A newer drivekeep has worked here: to fall back to an older head would be to go back in time, silently."""
    run(repository, "t1")
    repository.store.put_new(head_name(2), sealed({"format": "drivekeep-state/2", "generation": {"new": "shape"}}))
    with pytest.raises(Usage) as caught:
        choose_head(repository)
    assert caught.value.reason == "newer-format"
    assert "newer drivekeep" in caught.value.remedy
    run_after = choose_head(repository, before=2)
    assert run_after.newest == 2


def test_objects_beside_the_heads_are_passed_over(repository: Repository) -> None:
    """A stray name in the folder is no head."""
    head = run(repository, "t1")
    repository.store.put_new(HEADS + "readme", b"x")
    assert choose_head(repository) == (head, 1)


def test_nothing_that_is_printed_shows_the_delta_link(repository: Repository) -> None:
    """The link opens the drive's list of changes: it is in no repr and no error."""
    head = run(repository, "t1", delta_link=SECRET)
    assert "SECRET" not in repr(head) + str(head) + repr(choose_head(repository))
    with pytest.raises(AlreadyExists) as caught:
        save_head(repository, msgspec.structs.replace(head, delta_link=SECRET + "2"))
    assert "SECRET" not in repr(caught.value) + str(caught.value)


# -- two runs, and runs that die -------------------------------------------------------------------------------------


def test_of_two_runs_from_one_state_one_makes_the_next_head(repository: Repository) -> None:
    """The loser is told whose snapshot is first, and the winner's state stays as it is."""
    run(repository, "t0")
    one, two = DriveState.open(repository), DriveState.open(repository)
    winner = commit(repository, one, "t1")
    with pytest.raises(AlreadyExists) as caught:
        commit(repository, two, "t2")
    assert winner.snapshot[:8] in str(caught.value)
    assert choose_head(repository) == (winner, 2)


def test_two_runs_that_pass_over_a_damaged_head_exclude_each_other_too(repository: Repository) -> None:
    """The number after the newest object is taken once, whatever head a run starts from."""
    run(repository, "t0")
    run(repository, "t1")
    replace(repository.store, head_name(2), b"damaged")
    one, two = DriveState.open(repository), DriveState.open(repository)
    assert commit(repository, one, "t2").generation == 3
    with pytest.raises(AlreadyExists):
        commit(repository, two, "t3")


class Failing(MemoryStore):
    """Fails at puts below one folder, before or after they are done."""

    folder, after = "nowhere/", False

    def put_new(self, name: str, data) -> None:
        if not name.startswith(self.folder):
            return super().put_new(name, data)
        if self.after:
            super().put_new(name, data)
        raise Temporary("The store failed.")


def test_a_head_whose_reply_was_lost_is_our_own() -> None:
    """The commit is simply called again, and finds that it has succeeded."""
    store = Failing()
    repository = repository_in(store)
    state = DriveState.open(repository)
    store.folder, store.after = HEADS, True
    snapshot = snapshot_of(repository, "t")
    changes = {"tree": digest("t").hex(), "snapshot": snapshot}
    with pytest.raises(Temporary):
        state.commit(**changes)
    store.folder = "nowhere/"
    head = state.commit(**changes)
    assert choose_head(repository) == (head, 1)


@pytest.mark.parametrize("folder", [SEGMENTS, HEADS])
def test_a_run_that_dies_while_committing_leaves_the_state_before(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments come first, the head last: in between, the old state is whole, and the run can be done again."""
    monkeypatch.setattr("backup_core.drive_state.paged_map.PENDING_RECORDS", 0)
    store = Failing()
    repository = repository_in(store)
    first = run(repository, "t1")
    store.folder = folder
    with pytest.raises(Temporary):
        run(repository, "t2")
    assert choose_head(repository) == (first, 1)
    store.folder = "nowhere/"
    run(repository, "t2")
    state = DriveState.open(repository)
    keys = [digest(each)[:16] for each in ("t1", "t2")]
    assert state.items.get_many(keys).keys() == set(keys)


def test_a_head_never_names_a_segment_that_is_not_stored(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment a head is put, all its segments are there; those that no leaf uses any more are not named."""
    monkeypatch.setattr("backup_core.drive_state.paged_map.PENDING_RECORDS", 0)
    for number in range(6):
        head = run(repository, f"t{number}")
        stored = {each.name for each in repository.store.list(SEGMENTS)}
        assert {SEGMENTS + each.hex() for each in head.segments} <= stored
        assert len(stored) == number + 1
        assert len(head.segments) == 1
    assert len(DriveState.open(repository).items.get_many(digest(f"t{n}")[:16] for n in range(6))) == 6


def test_an_earlier_head_can_be_asked_for(repository: Repository) -> None:
    """Where a leaf turns out to be damaged, the run goes back one head, and its own head still gets a new number."""
    run(repository, "t1")
    run(repository, "t2")
    state = DriveState.open(repository, before=2)
    assert (state.head.generation, state.newest) == (1, 2)
    assert commit(repository, state, "t3").generation == 3


def test_a_head_whose_maps_do_not_fit_together_is_passed_over(repository: Repository) -> None:
    """A head that opens and yet makes no sense is no better than a damaged one."""
    run(repository, "t1")
    second = run(repository, "t2")
    broken = msgspec.structs.replace(second, maps={"items": SavedMap(starts=b"")})
    replace(repository.store, head_name(2), sealed(broken))
    state = DriveState.open(repository)
    assert (state.head.generation, state.newest) == (1, 2)


# -- the retry list --------------------------------------------------------------------------------------------------


def test_a_long_retry_list_lies_beside_the_head(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit it is an object of its own, kept by runs that do not change it, and gone once it is short."""
    monkeypatch.setattr(state_module, "RETRIES_IN_HEAD", 10)
    monkeypatch.setattr("backup_core.drive_state.paged_map.PENDING_RECORDS", 0)
    long = {f"01{n}": Retry("malware", n) for n in range(11)}
    head = run(repository, "t1", retry=long)
    assert head.retry == {}
    assert len(head.segments) == 1
    for number in range(3):
        head = run(repository, f"again{number}")
        assert DriveState.open(repository).retry() == long
        assert len(head.segments) == 2
    head = run(repository, "t2", retry=dict(list(long.items())[:10]))
    assert len(head.retry) == 10
    assert head.retry_place is None
    assert len(head.segments) == 1
    assert run(repository, "t3").retry == head.retry
    assert run(repository, "t4", retry={}).retry == {}


def test_a_long_retry_list_is_found_when_segments_before_it_fall_out_of_use(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments are numbered anew in every head, and the list's place with them."""
    monkeypatch.setattr(state_module, "RETRIES_IN_HEAD", 0)
    monkeypatch.setattr("backup_core.drive_state.paged_map.PENDING_RECORDS", 0)
    run(repository, "t1")
    monkeypatch.setattr("backup_core.drive_state.paged_map.PENDING_RECORDS", 100)
    second = run(repository, "t2", retry={"01": Retry("locked")})
    monkeypatch.setattr("backup_core.drive_state.paged_map.PENDING_RECORDS", 0)
    third = run(repository, "t3")
    assert second.retry_place is not None
    assert third.retry_place is not None
    assert (second.retry_place[0], third.retry_place[0]) == (1, 0)
    assert DriveState.open(repository).retry() == {"01": Retry("locked")}


def test_a_damaged_retry_list_is_an_error(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items that wait for another try are not silently forgotten."""
    monkeypatch.setattr(state_module, "RETRIES_IN_HEAD", 0)
    head = run(repository, "t1", retry={"01": Retry("malware")})
    name = SEGMENTS + head.segments[0].hex()
    replace(repository.store, name, repository.store.get(name)[:-1])
    with pytest.raises(StateDamaged):
        DriveState.open(repository).retry()
