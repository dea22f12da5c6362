"""`check`: what is whole passes, as for stock restic; whatever is not is found, and named with a remedy."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.snapshots import File, Lost, Restic, Snapshots

from backup_core.drive_state.head import Head
from backup_core.drive_state.state import DriveState
from backup_core.errors import Damaged, DrivekeepError, Locked
from backup_core.maintenance.check import check
from backup_core.maintenance.packs import Sample
from backup_core.maintenance.report import FILES_NAMED_MAX, CheckReport
from backup_core.repository.crypto import Keys
from backup_core.repository.index import save_index
from backup_core.repository.lock import RepositoryLock
from backup_core.repository.node import Node
from backup_core.repository.pack import Pack, PackedBlob, append_header
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, load_snapshots
from backup_core.storage.local_folder import LocalFolderStore
from backup_core.storage.memory import MemoryStore
from backup_core.storage.store import Store
from backup_core.testing.fake_clock import FakeClock


class Told:
    """Progress that remembers its stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.files = self.bytes = 0

    def stage(self, name: str, files: int = 0, bytes: int = 0) -> None:
        self.stages.append(name)

    def advance(self, files: int = 0, bytes: int = 0) -> None:
        self.files += files
        self.bytes += bytes


def noise(count: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(count)


def checked(repository: Repository, share: float = 0.0, run_id: str = "test") -> CheckReport:
    return check(repository, FakeClock(), run_id, Told(), read_share=share)


def with_state(snapshots: Snapshots, snapshot: Snapshot) -> None:
    """A drive state as a backup leaves it, big enough for leaves in a segment."""
    state = DriveState(snapshots.repository, Head(repository=snapshots.repository.id))
    for number in range(5000):
        state.items.put(hashlib.sha256(b"%d" % number).digest()[:16], bytes(16))
    state.commit(snapshot=snapshot.id, tree=snapshot.tree)


def two_snapshots(store: Store | None = None) -> Snapshots:
    snapshots = Snapshots(store, pack_bytes=1 << 16)
    first = {"a": {"one": noise(200_000, 1), "two": b"2"}, "b": b"b", "void": {}}
    snapshots.add(first)
    last = snapshots.add({**first, "c": {"new": noise(70_000, 2)}})
    with_state(snapshots, last)
    return snapshots


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_what_is_whole_passes(share: float) -> None:
    """No finding, no note, exit code 0; counts are of distinct folders and files, and progress adds up."""
    snapshots, told = two_snapshots(), Told()
    report = check(snapshots.repository, FakeClock(), "test", told, read_share=share)
    assert (report.findings, report.notes, report.exit_code) == ([], [], 0)
    packs = [stored.size for stored in snapshots.store.list("data/")]
    assert (report.snapshots, report.packs) == (2, len(packs))
    assert report.packs_read == -(-len(packs) * share // 1)
    assert (report.bytes_read == sum(packs)) == (share == 1.0)
    assert told.bytes == report.bytes_read
    assert (report.folders, report.files, told.files) == (6, 7, 7)  # void is one and the same tree in both
    assert report.to_json()["ok"] is True and list(report.lines())[-1] == "No damage was found."
    assert list(snapshots.store.list("locks/")) == []


def test_what_stock_restic_passes_passes(tmp_path: Path, restic: Restic) -> None:
    """restic's own repository, after a prune and with packs of all kinds, has no finding; nor has ours for restic."""
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    for number in range(30):
        (source / "deep" / f"{number}").write_bytes(noise(60_000, number))
    (source / "link").symlink_to("deep")
    folder = tmp_path / "repository"
    restic(folder, "init")
    restic(folder, "backup", str(source))
    for number in range(20):
        (source / "deep" / f"{number}").unlink()
    restic(folder, "backup", str(source))
    restic(folder, "forget", "--keep-last", "1", "--prune")
    report = checked(Repository.open(LocalFolderStore(folder), "pw"), 1.0)
    assert (report.findings, report.notes) == ([], [])
    assert report.packs_read == report.packs >= 2
    two_snapshots(LocalFolderStore(tmp_path / "ours", sync=False))
    restic(tmp_path / "ours", "check", "--read-data")


KINDS = ["config", "keys/", "index/", "snapshots/", "data/"]


def _repository_in_memory() -> tuple[MemoryStore, dict[str, bytes]]:
    store = MemoryStore(FakeClock())
    two_snapshots(store)
    return store, {stored.name: store.get(stored.name) for stored in store.list()}


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    """Every object of a good repository."""
    return _repository_in_memory()[1]


@pytest.fixture(scope="module")
def opened(whole: dict[str, bytes]) -> Callable[[dict[str, bytes]], Repository]:
    """Opens other objects with the same keys: a scrypt for each of a thousand repositories would take minutes."""
    good = Repository.open(_store_of(whole), "pw")

    def reopen(objects: dict[str, bytes]) -> Repository:
        store = _store_of(objects)
        if objects.get("config") != whole["config"]:
            return Repository.open(store, "pw")
        return Repository(store, good.keys, good.id, good.version, store)

    return reopen


def _store_of(objects: dict[str, bytes]) -> MemoryStore:
    store = MemoryStore(FakeClock())
    for name, data in objects.items():
        store.put_new(name, data)
    return store


def _findings(opened: Callable[..., Repository], objects: dict[str, bytes], share: float) -> CheckReport:
    """A repository that no longer opens says so itself: that is found, too."""
    try:
        return checked(opened(objects), share)
    except DrivekeepError as error:
        assert error.exit_code in (10, 14) and error.remedy
        report = CheckReport()
        report.add_affected(error.what, error.remedy, "", "config")
        return report


@pytest.mark.parametrize("kind", KINDS)
@given(random_=st.randoms(use_true_random=False))
def test_every_flipped_byte_is_found(kind: str, whole, opened, random_: random.Random) -> None:
    """R-01: one byte of one object changed; reading all data finds it, and says what to do."""
    name = random_.choice([name for name in whole if name.startswith(kind)])
    data = bytearray(whole[name])
    data[random_.randrange(len(data))] ^= random_.randrange(1, 256)
    report = _findings(opened, {**whole, name: bytes(data)}, 1.0)
    assert report.exit_code == Damaged.exit_code == 14
    assert all(finding.what and finding.remedy for finding in report.findings)
    assert name == "config" or name in {finding.name for finding in report.findings}


def _deleted(whole: dict[str, bytes], name: str, other: str) -> dict[str, bytes]:
    return {each: data for each, data in whole.items() if each != name}


def _truncated(whole: dict[str, bytes], name: str, other: str) -> dict[str, bytes]:
    return {**whole, name: whole[name][:-1]}


def _emptied(whole: dict[str, bytes], name: str, other: str) -> dict[str, bytes]:
    return {**whole, name: b""}


def _longer(whole: dict[str, bytes], name: str, other: str) -> dict[str, bytes]:
    return {**whole, name: whole[name] + b"\0"}


def _swapped(whole: dict[str, bytes], name: str, other: str) -> dict[str, bytes]:
    return {**whole, name: whole[other], other: whole[name]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("break_", [_deleted, _truncated, _emptied, _longer, _swapped])
def test_structural_damage_is_found_without_reading_data(kind: str, break_, whole, opened) -> None:
    """R-02: each object in turn deleted, cut, emptied, made longer, swapped with another one of its kind or not."""
    names = [name for name in whole if name.startswith(kind)]
    for number, name in enumerate(names):
        other = names[number - 1] if len(names) > 1 else next(each for each in whole if each.startswith("index/"))
        objects = break_(whole, name, other)
        if objects == whole or (break_ is _deleted and kind in ("snapshots/", "keys/")):
            continue  # a snapshot that was forgotten and a key that was removed look the same
        if break_ is _swapped and len(whole[name]) == len(whole[other]) and kind == "data/":
            continue  # packs of equal size: only reading tells
        assert _findings(opened, objects, 0.0).exit_code == 14, (break_.__name__, name)


def test_a_lost_pack_is_told_by_the_files_that_it_hits() -> None:
    """The finding names the newest snapshot and the path of each file, once, although two snapshots have it."""
    snapshots = two_snapshots()
    place = snapshots.index().locate(hashlib.sha256(noise(200_000, 1)).digest(), False)
    assert place is not None
    name = f"data/{place.pack.hex()[:2]}/{place.pack.hex()}"
    snapshots.store.delete(name)
    report = checked(snapshots.repository)
    newest = load_snapshots(snapshots.repository)[-1]
    hit = [(finding.path, finding.snapshot) for finding in report.findings if finding.path]
    assert hit == [("a/one", newest.id)] and report.items_affected == 1
    assert name in {finding.name for finding in report.findings}
    text = "\n".join(report.lines())
    assert "a/one in snapshot" in text and "What to do: " in text and text.endswith("Damage was found.")


def test_a_second_copy_of_a_chunk_saves_the_file() -> None:
    """A pack is gone, but its chunk is stored twice: the pack is a finding, the file is not."""
    snapshots = Snapshots()
    snapshots.add({"f": noise(1000, 1)})
    snapshots._seen.clear()
    snapshots.add({"f": noise(1000, 1), "g": b"2"})
    index = snapshots.index()
    first, second = index.copies(hashlib.sha256(noise(1000, 1)).digest(), False)
    for place, hit in ((first, []), (second, ["f"])):
        snapshots.store.delete(f"data/{place.pack.hex()[:2]}/{place.pack.hex()}")
        report = checked(snapshots.repository)
        assert [finding.path for finding in report.findings if finding.path.endswith("f")] == hit
        assert len([finding for finding in report.findings if finding.name]) >= 1


def test_snapshots_that_say_what_cannot_be_are_found() -> None:
    """A folder without a list, chunks that no index knows or that do not make up the size: each with its path."""
    snapshots = Snapshots()
    snapshots.add({"a": {"lost": Lost()}, "b": File(b"12345", size=6), "ok": b"1"})
    snapshots.raw(
        [
            Node(quoted="none", type="file", size=5, content=["00" * 32], mtime="2020-01-01T00:00:00Z"),
            Node(quoted="odd", type="file", size=5, content=["?"], mtime="2020-01-01T00:00:00Z"),
            Node(quoted="treeless", type="dir", mtime="2020-01-01T00:00:00Z"),
        ]
    )
    report = checked(snapshots.repository)
    assert sorted(finding.path for finding in report.findings) == ["a/lost", "b", "none", "odd", "treeless"]
    assert report.exit_code == 14


def test_many_affected_files_are_counted_and_some_named() -> None:
    """A lost pack that hits more files than anybody reads: all are counted, the report stays of bounded size."""
    snapshots = Snapshots()
    snapshots.add({f"{number}": b"the same" for number in range(FILES_NAMED_MAX + 50)})
    place = snapshots.index().locate(hashlib.sha256(b"the same").digest(), False)
    assert place is not None
    snapshots.store.delete(f"data/{place.pack.hex()[:2]}/{place.pack.hex()}")
    report = checked(snapshots.repository)
    assert report.items_affected == FILES_NAMED_MAX + 50
    assert len(report.findings) == FILES_NAMED_MAX + 1
    assert "and 50 more files and folders" in "\n".join(report.lines())


def test_packs_in_no_index_are_a_note() -> None:
    """What a killed run has stored is no damage."""
    snapshots = two_snapshots()
    snapshots.store.put_new("data/ab/" + "ab" * 32, b"x")
    report = checked(snapshots.repository, 1.0)
    assert report.exit_code == 0
    assert len(report.notes) == 1 and report.notes[0].startswith("1 packs are in no index")


@pytest.mark.parametrize("kind", ["state/heads/", "state/segments/"])
@pytest.mark.parametrize("how", ["flipped", "deleted"])
def test_damage_in_the_state_is_a_note(kind: str, how: str) -> None:
    """The state heals itself: a damaged head, or a segment that is damaged or gone, is named and is no damage."""
    snapshots = two_snapshots()
    (stored,) = snapshots.store.list(kind)
    data = bytearray(snapshots.store.get(stored.name))
    data[len(data) // 2] ^= 1
    snapshots.store.delete(stored.name)
    if how == "flipped":
        snapshots.store.put_new(stored.name, data)
    report = checked(snapshots.repository)
    assert report.exit_code == 0
    expected = 0 if (kind, how) == ("state/heads/", "deleted") else 1
    assert [stored.name in note for note in report.notes] == [True] * expected


def test_a_newer_state_is_a_note() -> None:
    """A state that a newer drivekeep wrote keeps nobody from checking the rest."""
    snapshots = Snapshots()
    snapshot = snapshots.add({"a": b"1"})
    state = DriveState(snapshots.repository, Head(repository=snapshots.repository.id))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backup_core.drive_state.state.FORMAT", "drivekeep-state/99")
        state.commit(snapshot=snapshot.id, tree=snapshot.tree)
    report = checked(snapshots.repository)
    assert report.exit_code == 0 and "another version" in report.notes[0]


def test_a_lock_that_excludes_it_is_respected() -> None:
    """Locked while somebody prunes; another backup's lock does not matter, and ours is gone afterwards."""
    snapshots = two_snapshots()
    with RepositoryLock(snapshots.repository, FakeClock(), "pruner", exclusive=True), pytest.raises(Locked):
        checked(snapshots.repository)
    with RepositoryLock(snapshots.repository, FakeClock(), "backup"):
        assert checked(snapshots.repository).exit_code == 0
    assert list(snapshots.store.list("locks/")) == []


def test_a_lock_that_was_lost_makes_the_check_void() -> None:
    """Half an hour without a refresh: a prune may have run, so nothing that looks missing can be called damage."""
    snapshots, clock = two_snapshots(), FakeClock()

    class Asleep(Told):
        def stage(self, name: str, files: int = 0, bytes: int = 0) -> None:
            if name == "Checking snapshots":
                clock.advance(1801)

    with pytest.raises(Locked, match="could not be kept up"):
        check(snapshots.repository, clock, "test", Asleep())


def _pack_by_hand(blobs: list[tuple[bytes, bytes]], keys: Keys) -> tuple[bytearray, list[PackedBlob]]:
    """Ids and contents, sealed one after another; nobody looks whether they fit."""
    room, packed, end = memoryview(bytearray(10_000)), [], 0
    for blob_id, content in blobs:
        start, end = end, keys.seal_into(content, room, end)
        packed.append(PackedBlob(blob_id, False, start, end - start, 0))
    return bytearray(room[: append_header(keys, packed, room, end)]), packed


@pytest.mark.parametrize("lie", ["", "resealed", "kind", "content", "offset"])
def test_a_pack_that_contradicts_its_index_or_its_name(lie: str) -> None:
    """All codes are right and only one thing is not: other bytes than the name says, another kind of blob, a blob that
    is not what its id says, an index that leaves gaps. Each is found, and the honest pack passes.
    """
    snapshots = Snapshots()
    keys, contents = snapshots.repository.keys, [b"one" * 20, b"two" * 20]
    ids = [hashlib.sha256(content).digest() for content in contents]
    if lie == "content":
        ids[1] = hashlib.sha256(b"other").digest()
    data, blobs = _pack_by_hand(list(zip(ids, contents, strict=True)), keys)
    pack_id = hashlib.sha256(data).digest()
    if lie == "resealed":
        data[: blobs[0].length] = keys.seal(contents[0])
    if lie == "kind":
        blobs[0] = msgspec.structs.replace(blobs[0], tree=True)
    if lie == "offset":
        blobs[1] = msgspec.structs.replace(blobs[1], offset=blobs[1].offset + 1)
    snapshots.store.put_new(f"data/{pack_id.hex()[:2]}/{pack_id.hex()}", data)
    save_index(snapshots.repository, [Pack(pack_id, blobs, len(data))])
    report = checked(snapshots.repository, 0.0 if lie == "offset" else 1.0)
    assert len(report.findings) == (1 if lie else 0)


def test_a_sample_is_of_its_size_and_differs_each_time() -> None:
    """5 % of 200 packs are 10, at least one of a few, none of none; another run draws others."""
    packs = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(200)]
    assert len(Sample(0.05, "a").of(packs)) == 10
    assert Sample(0.05, "a").of(packs) == Sample(0.05, "a").of(reversed(packs)) != Sample(0.05, "b").of(packs)
    assert len(Sample(0.01, "a").of(packs[:3])) == 1
    assert Sample(0.0, "a").of(packs) == Sample(1.0, "a").of([]) == set()
    assert Sample(1.0, "a").of(packs) == set(packs)
