"""Stock restic, which nobody here wrote, judges what we write."""

import hashlib
import json
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_core.clock import SystemClock
from backup_core.errors import WrongPassword
from backup_core.repository import layout
from backup_core.repository.blobs import LoadedIndex
from backup_core.repository.chunker import cut
from backup_core.repository.index import save_index
from backup_core.repository.lock import RepositoryLock, remove_stale
from backup_core.repository.pack import Pack
from backup_core.repository.packer import Packer
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, find_snapshot, load_snapshots, save_snapshot
from backup_core.storage.local_folder import LocalFolderStore

Restic = Callable[..., "subprocess.CompletedProcess[str]"]
TIME = "2023-11-14T22:13:20.123456789Z"
FILES = {
    "large.bin": random.Random(1).randbytes(3 << 20) + b"text " * 400_000,
    "small.txt": b"small",
    "empty": b"",
    "zeros": bytes(9 << 20),
}


@pytest.fixture
def ours(tmp_path: Path) -> Repository:
    return Repository.create(LocalFolderStore(tmp_path / "repo", sync=False), "pw", SystemClock())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "repo"


def packed(repository: Repository, plains: list[bytes], *, tree: bool) -> list[Pack]:
    packing = Packer(repository, tree=tree, pack_bytes=1 << 20, in_flight=2)
    for plain in plains:
        packing.add(hashlib.sha256(plain).digest(), plain)
    return packing.finish()


def tree_text(contents: dict[str, list[str]]) -> bytes:
    nodes = [
        {"name": name, "type": "file", "mode": 420, "mtime": TIME, "atime": TIME, "ctime": TIME, "uid": 0, "gid": 0}
        | {"size": len(FILES[name]), "content": content}
        for name, content in sorted(contents.items())
    ]
    return json.dumps({"nodes": nodes}).encode() + b"\n"


def save_files(repository: Repository, time: str = "2026-11-02T08:00:00Z") -> str:
    """A snapshot of FILES, in the order of writes that a backup keeps."""
    chunks = {name: [bytes(chunk) for chunk in cut(memoryview(data), at_end=True)] for name, data in FILES.items()}
    once = {hashlib.sha256(chunk).digest(): chunk for file in chunks.values() for chunk in file}
    save_index(repository, packed(repository, list(once.values()), tree=False))
    tree = tree_text({name: [hashlib.sha256(c).hexdigest() for c in file] for name, file in chunks.items()})
    save_index(repository, packed(repository, [tree], tree=True))
    fields = {"hostname": "contoso.com", "username": "ann@contoso.com", "tags": ["one"]}
    snapshot = Snapshot(time=time, tree=hashlib.sha256(tree).hexdigest(), paths=["/drive"], **fields)  # type: ignore[arg-type]
    return save_snapshot(repository, snapshot)


def clean(restic: Restic, folder: Path) -> None:
    """`check --read-data` has nothing to say, not even the notes that it prints with exit code 0."""
    done = restic(folder, "check", "--read-data")
    text = done.stdout + done.stderr
    assert "no errors were found" in text
    assert not any(
        word in text for word in ("additional files", "mixed", "duplicate", "not referenced", "Warning", "rror:")
    )


def test_restic_reads_what_we_wrote(ours: Repository, folder: Path, tmp_path: Path, restic: Restic) -> None:
    """A repository that we made passes `check --read-data`, is listed, and is restored byte for byte."""
    snapshot_id = save_files(ours)
    clean(restic, folder)
    (listed,) = json.loads(restic(folder, "snapshots", "--json").stdout)
    assert (listed["id"], listed["hostname"], listed["username"], listed["paths"], listed["tags"]) == (
        snapshot_id,
        "contoso.com",
        "ann@contoso.com",
        ["/drive"],
        ["one"],
    )
    restic(folder, "restore", snapshot_id, "--verify", "--target", str(tmp_path / "out"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == FILES
    assert json.loads(restic(folder, "cat", "config").stdout)["id"] == ours.id
    assert json.loads(restic(folder, "cat", "index", ours.ids("index")[0]).stdout)["packs"]
    assert len(restic(folder, "list", "blobs").stdout.splitlines()) > 4


def test_restic_maintains_what_we_wrote(ours: Repository, folder: Path, tmp_path: Path, restic: Restic) -> None:
    """forget, prune with repacking, rebuild-index and tag work, and we read what they leave."""
    save_files(ours, "2026-11-01T08:00:00Z")
    save_files(ours)
    restic(folder, "tag", "--add", "two")
    restic(folder, "forget", "--keep-last", "1")
    restic(folder, "prune", "--max-unused", "0", "--repack-small")
    restic(folder, "rebuild-index", "--read-all-packs")
    clean(restic, folder)
    (left,) = load_snapshots(ours)
    assert left.tags == ["one", "two"]
    assert layout.is_id(left.original)
    restic(folder, "restore", left.id, "--target", str(tmp_path / "out"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == FILES


def test_restic_adds_to_what_we_made(ours: Repository, folder: Path, tmp_path: Path, restic: Restic) -> None:
    """`restic backup` into our repository works, and the two kinds of snapshots live together."""
    save_files(ours)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "file").write_bytes(FILES["large.bin"])
    restic(folder, "backup", str(tmp_path / "more"))
    clean(restic, folder)
    snapshots = load_snapshots(ours)
    assert len(snapshots) == 2
    assert find_snapshot(snapshots, "latest").paths == [str(tmp_path / "more")]


def test_restic_changes_our_keys(ours: Repository, folder: Path, tmp_path: Path, restic: Restic) -> None:
    """key add, passwd and remove work on our key, and we open with what they leave."""
    (first,) = [layout.last_part(stored.name) for stored in ours.store.list(layout.KEYS)]
    for name in ("second", "third"):
        (tmp_path / name).write_text(name)
    restic(folder, "key", "add", "--new-password-file", str(tmp_path / "second"))
    assert Repository.open(ours.store, "second").id == Repository.open(ours.store, "pw").id == ours.id
    restic(folder, "key", "passwd", "--new-password-file", str(tmp_path / "third"), password="second")
    restic(folder, "key", "remove", first, password="third")
    assert Repository.open(ours.store, "third").id == ours.id
    for gone in ("pw", "second"):
        with pytest.raises(WrongPassword):
            Repository.open(ours.store, gone)


def test_a_pack_in_no_index_is_harmless(ours: Repository, folder: Path, restic: Restic) -> None:
    """A run that died after its packs left nothing that check complains of, and prune frees the space."""
    save_files(ours)
    packed(ours, [b"left behind"], tree=False)
    assert "additional files" in restic(folder, "check").stdout
    restic(folder, "prune")
    clean(restic, folder)


def test_a_run_that_died_after_its_index_is_harmless(ours: Repository, folder: Path, restic: Restic) -> None:
    """Packs and index without a snapshot pass check; prune frees them."""
    save_index(ours, packed(ours, [b"left behind"], tree=False))
    restic(folder, "check", "--read-data")
    restic(folder, "prune")
    assert list(ours.store.list(layout.DATA)) == []
    assert len(LoadedIndex.load(ours)) == 0


def test_restic_finds_a_flipped_byte(ours: Repository, folder: Path, restic: Restic) -> None:
    """The judge is awake: a changed byte in a pack of ours fails `check --read-data`."""
    save_files(ours)
    pack = next(path for path in (folder / "data").rglob("*") if path.is_file())
    data = bytearray(pack.read_bytes())
    data[100] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    restic(folder, "check", "--read-data", fails=True)


@pytest.mark.parametrize("exclusive", [False, True])
def test_restic_respects_our_lock(ours: Repository, folder: Path, restic: Restic, exclusive: bool) -> None:
    """Beside our non-exclusive lock restic backs up and lists but does not prune; beside our exclusive one neither."""
    with RepositoryLock(ours, SystemClock(), "run-1", exclusive):
        restic(folder, "snapshots", fails=exclusive)
        assert "drivekeep-run-1" in restic(folder, "prune", fails=True).stderr
    restic(folder, "prune")


def test_restic_unlock_leaves_a_living_run_alone(ours: Repository, folder: Path, restic: Restic) -> None:
    """`restic unlock` neither kills our process by its SIGHUP nor removes the lock; `--remove-all` removes it."""
    former = signal.getsignal(signal.SIGHUP)
    with RepositoryLock(ours, SystemClock(), "run-1") as held:
        restic(folder, "unlock")
        assert len(ours.ids("locks")) == 1
        restic(folder, "unlock", "--remove-all")
        assert ours.ids("locks") == []
        held.refresh()
        assert len(ours.ids("locks")) == 1
    assert ours.ids("locks") == []
    assert signal.getsignal(signal.SIGHUP) == former


def test_we_free_a_repository_from_a_killed_restic(ours: Repository, folder: Path, restic: Restic) -> None:
    """The lock of a restic that was killed on this machine goes by `unlock`, at once, and then both can work."""
    (folder / "data").mkdir(exist_ok=True)
    process = subprocess.Popen(
        ["restic", "--repo", str(folder), "--no-cache", "backup", "--stdin"],
        env={"RESTIC_PASSWORD": "pw", "HOME": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not ours.ids("locks") and process.poll() is None:
        pass
    assert remove_stale(ours, SystemClock()) == []
    process.kill()
    process.communicate()
    restic(folder, "prune", fails=True)
    assert len(remove_stale(ours, SystemClock())) == 1
    restic(folder, "prune")
