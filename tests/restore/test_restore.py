"""Restoring: every byte, time and empty folder, as stock restic brings them back; all of it or a part."""

import os
import random
from pathlib import Path

import pytest
from support.snapshots import MODIFIED, File, Folder, Restic, Snapshots, found_in

from backup_core.repository.blobs import LoadedIndex
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import find_snapshot, load_snapshots
from backup_core.restore.plan import RestoreRequest, plan_restore
from backup_core.restore.run import restore
from backup_core.storage.local_folder import LocalFolderStore
from backup_core.storage.memory import MemoryStore
from backup_core.storage.metered import MeteredStore

NAMES = [
    "plain.txt",
    "ünï 漢字 😀.txt",
    'quote " and back\\slash',
    "line\nbreak\ttab\x1b\x7f",
    "a:b*c?<>|",
    "trailing. ",
    "../evil",
    "a/b",
    "a_b",
    ".",
    "..",
    "CON",
    "x" * 400,
    "漢" * 255 + ".docx",
    "{{7*7}} %s ' OR 1=1 --",
    "-rf",
    "\u202egpj.exe",
    "\ud83d half",
    ".drivekeep-0123456789abcdef.part",
]
TIMES = [MODIFIED, 0, 1, -1, 2_000_000_000_000_000_000, 1_000_000_000_000_000_000]


def noise(count: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(count)


def drive() -> dict:
    """Hostile names, deep folders, empty ones, shared chunks, files of every awkward size."""
    names = {name: File(name.encode("utf-8", "surrogatepass"), TIMES[at % 6]) for at, name in enumerate(NAMES)}
    deep: dict = {"bottom": File(b"deep", 5)}
    for level in range(70):
        deep = {f"level {level}": Folder(deep, MODIFIED + level)}
    return {
        "names": Folder(names, 12_345_678_900),
        "void": Folder({}, 1_000_000_000),
        "empty": File(b"", 7),
        "big": File(noise(3_000_000, 1), 8, chunk_bytes=200_000),
        "again": File(noise(3_000_000, 1)[400_000:1_400_000], 9, chunk_bytes=200_000),
        "zeros": File(bytes(1_000_000), 10, chunk_bytes=4096),
        "deep": deep,
        "many": {f"{number}": File(b"%d" % number, number) for number in range(300)},
    }


def test_restores_what_stock_restic_restores(tmp_path: Path, restic: Restic) -> None:
    """What we build passes `restic check`; our restore and restic's are equal in every byte, time and empty folder."""
    snapshots = Snapshots(LocalFolderStore(tmp_path / "repository", sync=False))
    snapshot = snapshots.add(drive())
    restic(tmp_path / "repository", "check", "--read-data")
    restic(tmp_path / "repository", "restore", "latest", "--target", str(tmp_path / "theirs"))
    index = snapshots.index()
    plan = plan_restore(snapshots.repository, index, snapshot, RestoreRequest(tmp_path / "ours", verify=True))
    summary = restore(plan, snapshots.repository, index, sync=False)
    ours = found_in(tmp_path / "ours")
    assert ours == found_in(tmp_path / "theirs" / "OneDrive")
    contents = [content for content, _ in ours.values() if content is not None]
    assert (summary.files_restored, summary.files_skipped, summary.files_failed) == (len(contents), 0, [])
    assert summary.bytes_restored == sum(map(len, contents))
    assert summary.exit_code == 0
    assert len(contents) == len(NAMES) + 305
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "repository", "theirs"]


def test_restores_what_stock_restic_backed_up(tmp_path: Path, restic: Restic) -> None:
    """A snapshot without a drivekeep top folder comes back as it is, odd bytes in names and all; links are named."""
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "big").write_bytes(noise(5_000_000, 2))
    (source / "hard").write_text("linked")
    (source / "hard2").hardlink_to(source / "hard")
    (source / os.fsdecode(b"not \xff utf-8")).write_text("x")
    (source / "void").mkdir()
    (source / "link").symlink_to("/etc/passwd")
    for folder in (source / "deep" / "er", source / "deep", source / "void"):
        os.utime(folder, ns=(MODIFIED, MODIFIED))
    restic(tmp_path / "repository", "init")
    restic(tmp_path / "repository", "backup", str(source))
    repository = Repository.open(LocalFolderStore(tmp_path / "repository"), "pw")
    index, snapshot = LoadedIndex.load(repository), find_snapshot(load_snapshots(repository), "latest")
    summary = restore(
        plan_restore(repository, index, snapshot, RestoreRequest(tmp_path / "out")), repository, index, sync=False
    )
    (source / "link").unlink()
    os.utime(source, ns=((tmp_path / "out" / source.relative_to("/")).stat().st_mtime_ns,) * 2)
    assert found_in(tmp_path / "out" / source.relative_to("/")) == found_in(source)
    assert [(each.path, each.reason) for each in summary.files_failed] == [
        (f"{source.relative_to('/')}/link", "invalid-item")
    ]
    assert summary.exit_code == 3


def test_second_run_writes_nothing(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """What is there with its size and time counts as restored, and no object is read for it."""
    snapshot = snapshots.add(drive())
    first = bring_back(snapshot)
    before = found_in(tmp_path / "out")
    inodes = {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*")}
    second = bring_back(snapshot)
    assert (second.files_restored, second.files_skipped) == (0, first.files_restored)
    assert second.files_failed == []
    assert found_in(tmp_path / "out") == before
    assert {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*")} == inodes


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"path": "A/sub"}, {"A", "A/sub", "A/sub/two.txt", "A/sub/inner", "A/sub/inner/three.TXT"}),
        ({"path": "/a/SUB/two.TXT"}, {"A", "A/sub", "A/sub/two.txt"}),
        ({"path": "A", "exclude": ("inner/",)}, {"A", "A/one.md", "A/sub", "A/sub/two.txt"}),
        ({"include": ("*.txt",)}, {"A", "A/sub", "A/sub/two.txt", "A/sub/inner", "A/sub/inner/three.TXT"}),
        ({"include": ("void",)}, {"void"}),
        ({"include": ("*.txt",), "exclude": ("three*",)}, {"A", "A/sub", "A/sub/two.txt"}),
        ({"path": "A/sub", "include": ("*.md",)}, set()),
    ],
)
def test_only_what_was_asked_for(snapshots: Snapshots, bring_back, tmp_path: Path, request_, expected) -> None:
    """A file, a subtree or what patterns choose comes to its place below the target, with the folders above it."""
    tree = {
        "A": Folder({"one.md": b"1", "sub": {"two.txt": b"2", "inner": {"three.TXT": b"3"}}}, 77_000_000_000),
        "void": {},
        "b.md": b"b",
    }
    summary = bring_back(snapshots.add(tree), **request_)
    found = found_in(tmp_path / "out") if expected else {}
    assert set(found) == expected
    assert summary.files_restored == len([content for content, _ in found.values() if content is not None])
    assert all(time in (MODIFIED, 77_000_000_000) for _, time in found.values())
    assert expected or not (tmp_path / "out").exists()


def test_true_names_are_what_a_person_asks_for(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """A path and a pattern speak of OneDrive's names, although the file gets one that can be stored."""
    tree = {"q/a": {"x" * 300 + ".txt": b"1", "other": b"2"}}
    assert bring_back(snapshots.add(tree), path="q/a/" + "x" * 300 + ".txt").files_restored == 1
    (found,) = [path for path, (content, _) in found_in(tmp_path / "out").items() if content]
    assert found.startswith("q_a/xxx") and found.endswith(".txt") and len(found) == 4 + 255


def test_requests_do_not_grow_with_the_number_of_small_files(tmp_path: Path) -> None:
    """A thousand small files that lie together cost some requests, not a thousand."""
    store = MeteredStore(MemoryStore())
    snapshots = Snapshots(store, pack_bytes=1 << 20)
    snapshot = snapshots.add(
        {f"folder {n}": {f"{n}.{m}": noise(700, n * 50 + m) for m in range(50)} for n in range(20)}
    )
    index = snapshots.index()
    before = store.requests
    plan = plan_restore(snapshots.repository, index, snapshot, RestoreRequest(tmp_path / "out"))
    assert restore(plan, snapshots.repository, index, sync=False).files_restored == 1000
    assert store.requests - before <= 8


def test_more_ranges_than_may_wait(bring_back, snapshots: Snapshots, tmp_path: Path) -> None:
    """Packs without number, one thread: the plan waits for it and goes on."""
    snapshots.pack_bytes = 1
    tree = {f"{number}": noise(100, number) for number in range(60)}
    assert bring_back(snapshots.add(tree), threads=1).files_restored == 60
    assert {path: data for path, (data, _) in found_in(tmp_path / "out").items()} == tree


def test_progress_and_dry_run_tell_the_same(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """A dry run writes nothing and counts what the run then does; progress adds up to it."""
    snapshot = snapshots.add(drive())
    index = snapshots.index()
    plan = plan_restore(snapshots.repository, index, snapshot, RestoreRequest(tmp_path / "out"))
    steps: list[str] = []
    planned = plan.summary(lambda step: steps.append(step.path))
    assert not (tmp_path / "out").exists()
    told: list[tuple[int, int]] = []
    summary = restore(plan, snapshots.repository, index, lambda *done: told.append(done), sync=False)
    assert planned == summary
    assert len(steps) == len(set(steps)) == summary.files_restored
    assert (sum(files for files, _ in told), sum(size for _, size in told)) == (len(steps), summary.bytes_restored)
    assert summary.to_json() == {
        "message_type": "summary",
        "files_restored": len(steps),
        "bytes_restored": summary.bytes_restored,
        "files_skipped": 0,
        "files_failed": [],
    }


def test_folders_get_their_times_although_files_come_later(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """A folder's time is the snapshot's, also where a second run adds to a folder that was there."""
    snapshot = snapshots.add({"a": Folder({"b": Folder({"f": b"1", "g": b"2"}, 2_000_000_000)}, 3_000_000_000)})
    bring_back(snapshot, path="a/b/f")
    os.utime(tmp_path / "out" / "a" / "b")
    bring_back(snapshot)
    times = {path: time for path, (content, time) in found_in(tmp_path / "out").items() if content is None}
    assert times == {"a": 3_000_000_000, "a/b": 2_000_000_000}
