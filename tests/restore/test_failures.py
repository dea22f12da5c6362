"""Restoring when something goes wrong: one file's trouble is its own, a disk's or a store's ends the run cleanly."""

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.snapshots import File, Lost, Snapshots, found_in

from backup_core.errors import NotFound, Temporary
from backup_core.repository.node import Node
from backup_core.repository.readable_index import load_readable_index
from backup_core.restore import run
from backup_core.restore.plan import RestoreRequest, plan_restore
from backup_core.restore.run import restore
from backup_core.restore.target import Target
from backup_core.storage.memory import MemoryStore


def noise(count: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(count)


class Flaky(MemoryStore):
    """Of a pack that `broken` holds, a bit of each range is turned; with `away` nothing can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: set[str] = set()
        self.away = 0  # after so many ranges

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        if self.away:
            self.away -= 1
            if self.away == 0:
                self.away = 1
                raise Temporary("The store is away.")
        data = super().get_range(name, offset, length)
        return data[:-20] + bytes([data[-20] ^ 4]) + data[-19:] if name in self.broken else data


@pytest.fixture
def flaky() -> Flaky:
    return Flaky()


@pytest.fixture
def snapshots(flaky: Flaky) -> Snapshots:
    return Snapshots(flaky)


def pack_names(snapshots: Snapshots, data: bytes, chunk_bytes: int = 1 << 20) -> set[str]:
    """The packs in which the chunks of a content lie."""
    index = snapshots.index()
    found = set()
    for at in range(0, len(data), chunk_bytes):
        place = index.locate(hashlib.sha256(data[at : at + chunk_bytes]).digest(), False)
        assert place is not None
        found.add(f"data/{place.pack.hex()[:2]}/{place.pack.hex()}")
    return found


def damage(snapshots: Snapshots, data: bytes) -> None:
    """Turn one bit of the one chunk that this content is."""
    place = snapshots.index().locate(hashlib.sha256(data).digest(), False)
    assert place is not None
    (name,) = pack_names(snapshots, data)
    pack = bytearray(snapshots.store.get(name))
    pack[place.offset + 40] ^= 1
    snapshots.store.delete(name)
    snapshots.store.put_new(name, pack)


@pytest.mark.parametrize("how", ["flipped", "missing"])
def test_damage_costs_the_files_that_it_hits(snapshots: Snapshots, flaky: Flaky, bring_back, tmp_path, how) -> None:
    """X-05, X-06, R-03: one bad chunk of a big file, all others of a thousand restored, no half file left, exit 3."""
    good = {f"{number:04}": noise(5000, number) for number in range(998)}
    big, lonely = noise(4_000_000, -1), noise(1_200_000, -2)
    snapshots.add({"lonely": lonely})  # a pack of its own
    snapshot = snapshots.add({**good, "big": lonely[: 1 << 20] + big, "twin": lonely})
    (pack,) = pack_names(snapshots, lonely[: 1 << 20])
    if how == "flipped":
        flaky.broken.add(pack)
    else:
        flaky.delete(pack)
    summary = bring_back(snapshot)
    assert sorted((each.path, each.reason) for each in summary.files_failed) == [
        ("big", "damaged"),
        ("twin", "damaged"),
    ]
    assert summary.exit_code == 3
    assert {path: data for path, (data, _) in found_in(tmp_path / "out").items()} == good


def test_a_damaged_index_file_costs_what_it_alone_names(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """R-03: the files of the run that wrote it are listed as damaged, those of other runs are restored."""
    snapshots.add({"old": b"old"})
    before = {stored.name for stored in snapshots.store.list("index/")}
    snapshots.blob(b"new")
    (name,) = {stored.name for stored in snapshots.store.list("index/")} - before
    snapshot = snapshots.add({"old": b"old", "new": b"new"})
    snapshots.store.delete(name)
    snapshots.store.put_new(name, b"damaged" * 20)
    told: list[str] = []
    index = load_readable_index(snapshots.repository, lambda index_id, error: told.append(index_id))
    plan = plan_restore(snapshots.repository, index, snapshot, RestoreRequest(tmp_path / "out"))
    summary = restore(plan, snapshots.repository, index, sync=False)
    assert told == [name.removeprefix("index/")]
    assert [(each.path, each.reason) for each in summary.files_failed] == [("new", "damaged")]
    assert {path: data for path, (data, _) in found_in(tmp_path / "out").items()} == {"old": b"old"}


def test_two_runs_at_once_do_not_write_into_one_file(snapshots, bring_back, tmp_path: Path, monkeypatch) -> None:
    """What another run is writing is neither written into nor removed; the file is listed."""
    create = Target.create

    def second(target, place, name):
        if not (tmp_path / "out" / name).exists():
            (tmp_path / "out" / name).write_bytes(b"of another run")
        return create(target, place, name)

    monkeypatch.setattr(Target, "create", second)
    summary = bring_back(snapshots.add({"a": noise(5000, 1)}))
    assert [each.path for each in summary.files_failed] == ["a"]
    (left,) = (tmp_path / "out").iterdir()
    assert left.read_bytes() == b"of another run"


def test_a_damaged_folder_costs_what_is_in_it(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """Its list is nowhere: the folder is listed as failed and the others are restored."""
    summary = bring_back(snapshots.add({"a": {"lost": Lost(), "f": b"1"}, "b": {"g": b"2"}}))
    assert [(each.path, each.reason) for each in summary.files_failed] == [("a/lost", "damaged")]
    assert {path for path, (data, _) in found_in(tmp_path / "out").items() if data} == {"a/f", "b/g"}


def test_a_bad_chunk_among_good_ones_costs_its_own_file(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """One bit of a pack: the neighbours in the same range are restored."""
    wanted = {name: noise(300, at) for at, name in enumerate("abcde")}
    snapshot = snapshots.add(wanted)
    damage(snapshots, wanted["c"])
    assert [(each.path, each.reason) for each in bring_back(snapshot).files_failed] == [("c", "damaged")]
    del wanted["c"]
    assert {path: data for path, (data, _) in found_in(tmp_path / "out").items()} == wanted


def test_good_chunks_of_a_bad_range_still_count(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """A file of two chunks that lie beside other files' bad ones is restored."""
    one, two, bad, worse = (noise(300, seed) for seed in range(4))
    snapshots.add({"one": one, "bad": bad})
    snapshots.add({"two": two, "worse": worse})
    snapshot = snapshots.add({"bad": bad, "file": File(one + two, chunk_bytes=300), "worse": worse})
    damage(snapshots, bad)
    damage(snapshots, worse)
    assert sorted(each.path for each in bring_back(snapshot, threads=1).files_failed) == ["bad", "worse"]
    assert (tmp_path / "out" / "file").read_bytes() == one + two


def test_a_file_with_many_bad_chunks_is_listed_once(snapshots: Snapshots, flaky: Flaky, bring_back, tmp_path) -> None:
    """Its ranges fail one by one, and in several threads."""
    big = noise(20_000_000, 3)
    snapshot = snapshots.add({"big": big, "empty": b""})
    flaky.broken |= pack_names(snapshots, big)
    assert [(each.path, each.reason) for each in bring_back(snapshot).files_failed] == [("big", "damaged")]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["empty"]


def test_what_is_excluded_is_not_looked_into(snapshots: Snapshots, bring_back) -> None:
    """A damaged folder that nobody asked for is no failure."""
    assert bring_back(snapshots.add({"lost": Lost(), "f": b"1"}), exclude=("lost",)).files_failed == []


def test_content_that_is_no_whole_file_is_refused(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """Chunks that are shorter or longer than the node's size, or that no index knows, make no file."""
    chunk = snapshots.blob(b"12345")
    nodes = [
        Node(quoted="long", type="file", size=4, content=[chunk], mtime="2020-01-01T00:00:00Z"),
        Node(quoted="none", type="file", size=5, content=["00" * 32], mtime="2020-01-01T00:00:00Z"),
        Node(quoted="nonsense", type="file", size=5, content=["no id"], mtime="2020-01-01T00:00:00Z"),
        Node(quoted="right", type="file", size=5, content=[chunk], mtime="2020-01-01T00:00:00Z"),
        Node(quoted="short", type="file", size=6, content=[chunk], mtime="2020-01-01T00:00:00Z"),
    ]
    summary = bring_back(snapshots.raw(nodes))
    assert {each.path: each.reason for each in summary.files_failed} == {
        "long": "size-mismatch",
        "none": "damaged",
        "nonsense": "damaged",
        "short": "size-mismatch",
    }
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["right"]


def hostile(name: str, kind: str, **fields) -> Node:
    return Node(quoted=name, type=kind, mtime="2020-01-01T00:00:00Z", **fields)


def test_names_that_lead_elsewhere_are_refused(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """A tree that nobody honest wrote: absolute, `..`, slashes, NUL, empty, twice the same: nothing gets out."""
    chunk, inner = snapshots.blob(b"evil"), snapshots.blob(b'{"nodes":[]}\n', tree=True)
    names = ["../evil", "..", ".", "", "/tmp/evil", "a/b", r"nul\x00l", r"\xed\xa0\x80"]
    nodes = [hostile(name, "file", size=4, content=[chunk]) for name in [*names, "twice", "twice"]]
    nodes += [hostile(name, "dir", subtree=inner) for name in names[:-1]]
    nodes += [
        hostile("link", "symlink", linktarget="/etc"),
        hostile("pipe", "fifo"),
        hostile("odd", "file", content=[]),
    ]
    nodes[-1].mtime = "yesterday"
    summary = bring_back(snapshots.raw(nodes))
    assert {each.reason for each in summary.files_failed} == {"invalid-item"}
    assert len(summary.files_failed) == 2 * (len(names) - 1) + 1 + 2
    found = {path for path in found_in(tmp_path / "out") if "\udced" not in path}
    assert found == {"twice", "odd"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@given(st.lists(st.text(max_size=300), min_size=1, max_size=8))
def test_any_names_come_back(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """Whatever OneDrive calls its items, each is a file of the target with its bytes, and nothing else is there."""
    snapshots, folder = Snapshots(), tmp_path_factory.mktemp("names")
    wanted = {name: name.encode("utf-8", "surrogatepass") + b"!" for name in names}
    snapshot = snapshots.add(dict(wanted))
    plan = plan_restore(snapshots.repository, snapshots.index(), snapshot, RestoreRequest(folder / "out"))
    summary = restore(plan, snapshots.repository, snapshots.index(), threads=1, sync=False)
    assert summary.files_failed == []
    found = [(path.read_bytes(), path.parent) for path in folder.rglob("*") if path.is_file()]
    assert sorted(found) == sorted((data, folder / "out") for data in wanted.values())


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("when", ["pwrite", "mkdir", "link"])
def test_a_full_disk_ends_the_run_with_a_remedy(
    snapshots: Snapshots, bring_back, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, when: str
) -> None:
    """Temporary with what to do; whole files stay, unfinished ones do not; the next run goes on."""
    snapshot = snapshots.add({"a": {f"{n}": File(noise(9000, n), chunk_bytes=1000) for n in range(40)}, "b": {"c": {}}})
    real, calls = getattr(os, when), []

    def full(*arguments, **named):
        calls.append(arguments)
        if len(calls) > {"pwrite": 100, "mkdir": 1, "link": 10}[when]:
            raise OSError(error, os.strerror(error))
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, when, full)
        with pytest.raises(Temporary, match="no room left") as caught:
            bring_back(snapshot)
    assert caught.value.reason == "storage-full" and "again" in caught.value.remedy
    assert not [path for path in found_in(tmp_path / "out") if ".drivekeep-" in path]
    whole = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert all(path.read_bytes() == noise(9000, int(path.name)) for path in whole)
    second = bring_back(snapshot)
    assert (second.files_restored, second.files_skipped) == (40 - len(whole), len(whole))


def test_a_refusal_by_the_file_system_costs_one_file(snapshots, bring_back, tmp_path: Path, monkeypatch) -> None:
    """A file that is too large for the file system, say: listed with what the system says, no part of it left."""
    snapshot = snapshots.add({"big": File(noise(50_000, 1), chunk_bytes=1000), "ok": b"ok"})
    real = os.pwrite

    def refuse(file, data, offset):
        if offset >= 20_000:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return real(file, data, offset)

    monkeypatch.setattr(os, "pwrite", refuse)
    summary = bring_back(snapshot)
    assert [(each.path, each.reason) for each in summary.files_failed] == [("big", "write-failed")]
    assert "File too large" in summary.files_failed[0].message
    assert {path: data for path, (data, _) in found_in(tmp_path / "out").items()} == {"ok": b"ok"}


def test_a_huge_file_that_failed_is_not_fetched_to_its_end(snapshots, flaky: Flaky, bring_back, monkeypatch) -> None:
    """Its first write is refused: the rest of it costs no requests."""
    snapshot = snapshots.add({"big": File(noise(4_000_000, 1), chunk_bytes=100_000)})
    monkeypatch.setattr(run, "_BATCH_BYTES", 100_000)
    get_range, requests = flaky.get_range, []

    def refuse(file, data, offset):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    def counted(name: str, offset: int, length: int) -> bytes:
        requests.append(name)
        return get_range(name, offset, length)

    monkeypatch.setattr(os, "pwrite", refuse)
    flaky.get_range = counted
    assert [each.reason for each in bring_back(snapshot, threads=1).files_failed] == ["write-failed"]
    assert len(requests) < 20


def test_short_writes_are_completed(snapshots, bring_back, tmp_path: Path, monkeypatch) -> None:
    """The system may take a part of what it is given: the rest follows."""
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: real(file, data[:700], offset))
    assert bring_back(snapshots.add({"a": noise(5000, 1)}), verify=True).exit_code == 0
    assert (tmp_path / "out" / "a").read_bytes() == noise(5000, 1)


def test_a_file_that_came_out_short_gets_no_name(snapshots, bring_back, tmp_path: Path, monkeypatch) -> None:
    """A system that says it wrote and did not: the length is looked at before a file is taken for whole."""
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: len(data))
    summary = bring_back(snapshots.add({"a": b"12345"}))
    assert [(each.path, each.reason) for each in summary.files_failed] == [("a", "size-mismatch")]
    assert list((tmp_path / "out").iterdir()) == []


def test_without_hard_links_names_are_still_not_overwritten(snapshots, bring_back, tmp_path: Path, monkeypatch) -> None:
    """On FAT or SMB a file is renamed to its name, but not onto another one."""

    def refuse(*arguments, **named):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    snapshot = snapshots.add({"a": b"1", "b": b"2"})
    assert bring_back(snapshot).exit_code == 0
    assert {path: data for path, (data, _) in found_in(tmp_path / "out").items()} == {"a": b"1", "b": b"2"}
    with pytest.raises(FileExistsError):
        Target(tmp_path / "out").publish((), "a", "b", replace=False)


def test_a_store_that_goes_away_ends_the_run(snapshots: Snapshots, flaky: Flaky, bring_back, tmp_path: Path) -> None:
    """Temporary, nothing unfinished left; the same command later finishes what is missing."""
    snapshot = snapshots.add({f"{n}": File(noise(500_000, n), chunk_bytes=100_000) for n in range(12)})
    flaky.away = 4
    with pytest.raises(Temporary, match="away"):
        bring_back(snapshot)
    flaky.away = 0
    assert not [path for path in found_in(tmp_path / "out") if ".drivekeep-" in path]
    assert bring_back(snapshot).exit_code == 0
    assert {path: data for path, (data, _) in found_in(tmp_path / "out").items()} == {
        f"{n}": noise(500_000, n) for n in range(12)
    }


def test_the_plan_is_not_followed_to_its_end_without_a_store(snapshots, flaky: Flaky, bring_back, tmp_path) -> None:
    """The error of a thread ends the run soon, not after a million folders have been made."""
    snapshot = snapshots.add({f"{d}": {f"{f}": b"%d %d" % (d, f) for f in range(20)} for d in range(400)})
    get_range, fail = flaky.get_range, []

    def only_trees(name: str, offset: int, length: int) -> bytes:
        if fail and name in packs:
            raise Temporary("The store is away.")
        return get_range(name, offset, length)

    packs = pack_names(snapshots, b"0 0")
    fail.append(True)
    flaky.get_range = only_trees
    with pytest.raises(Temporary, match="away"):
        bring_back(snapshot, threads=1)
    assert 0 < len(list((tmp_path / "out").iterdir())) < 400


def test_verify_finds_what_a_disk_changed(snapshots, bring_back, tmp_path: Path, monkeypatch) -> None:
    """A byte that comes back wrong from the disk: the file is not given its name, and is listed."""
    real = os.pread

    def wrong(file, length, offset):
        data = real(file, length, offset)
        return data.replace(b"needle", b"noodle")

    monkeypatch.setattr(os, "pread", wrong)
    summary = bring_back(snapshots.add({"bad": b"hay needle hay", "good": b"hay"}), verify=True)
    assert [(each.path, each.reason) for each in summary.files_failed] == [("bad", "hash-mismatch")]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good"]


def test_verify_looks_into_what_was_there(snapshots, bring_back, tmp_path: Path) -> None:
    """A file of the right size and time but other content is found with --verify, and left as it is."""
    snapshot = snapshots.add({"a": File(b"right", 5_000_000_000), "b": File(b"right", 5_000_000_000)})
    (tmp_path / "out").mkdir()
    for name, data in (("a", b"wrong"), ("b", b"right")):
        (tmp_path / "out" / name).write_bytes(data)
        os.utime(tmp_path / "out" / name, ns=(5_000_000_000, 5_000_000_000))
    assert bring_back(snapshot).files_skipped == 2
    summary = bring_back(snapshot, verify=True)
    assert [(each.path, each.reason) for each in summary.files_failed] == [("a", "hash-mismatch")]
    assert summary.files_skipped == 1
    assert (tmp_path / "out" / "a").read_bytes() == b"wrong"


def test_a_path_that_is_nowhere_is_said_so(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """NotFound, and not even the target is made."""
    with pytest.raises(NotFound, match="There is no a/c in this snapshot"):
        bring_back(snapshots.add({"a": {"b": b"1"}, "a/d": b"2"}), path="a/c")
    assert not (tmp_path / "out").exists()
