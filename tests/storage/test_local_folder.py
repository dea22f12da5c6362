"""What a local folder promises beyond the contract: power cuts, killed writers, poor file systems, clear errors."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_core.errors import AccessDenied, AlreadyExists, DrivekeepError, NotFound, Temporary, Usage
from backup_core.storage import local_folder
from backup_core.storage.local_folder import LocalFolderStore

PROJECT = Path(__file__).parents[2]


def failing(number: int) -> Callable[..., None]:
    """A system call that answers with this error number."""

    def call(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def files_below(folder: Path) -> list[str]:
    """Every file there is, temporary ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class DiskLog:
    """What a put asks of the disk, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self._fsync, self._link, self._mkdir, self._rename = os.fsync, os.link, os.mkdir, os.rename
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "link", self.link)
        monkeypatch.setattr(os, "mkdir", self.mkdir)
        monkeypatch.setattr(os, "rename", self.rename)

    def fsync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        self.steps.append(f"flush {'file' if '-tmp-' in path.name else path.name}")
        self._fsync(descriptor)

    def link(self, source: str, target: str, **options: bool) -> None:
        self.steps.append(f"link {Path(target).name}")
        self._link(source, target, **options)

    def rename(self, source: str, target: str) -> None:
        self.steps.append(f"rename {Path(target).name}")
        self._rename(source, target)

    def mkdir(self, path: str, mode: int) -> None:
        self.steps.append(f"make {Path(path).name}")
        self._mkdir(path, mode)


def test_a_put_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content is flushed before its name appears, the name before put_new returns, and new folders before both."""
    root = tmp_path / "repository"
    disk = DiskLog(monkeypatch)
    LocalFolderStore(root).put_new("data/ab/abcd", b"content")
    made, rest = disk.steps[:3], disk.steps[3:]
    assert made == ["make repository", "make data", "make ab"]
    assert set(rest[:3]) == {f"flush {tmp_path.name}", "flush repository", "flush data"}
    assert rest[3:] == ["flush file", "link abcd", "flush ab"]


def test_another_writers_new_folder_is_flushed_before_it_is_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that another process made a moment ago may not be durable yet, so its entry is flushed once more."""
    (tmp_path / "data" / "ab").mkdir(parents=True)
    disk = DiskLog(monkeypatch)
    store = LocalFolderStore(tmp_path)
    store.put_new("data/ab/1", b"")
    assert set(disk.steps[:2]) == {f"flush {tmp_path.name}", "flush data"}
    disk.steps.clear()
    store.put_new("data/ab/2", b"")
    assert disk.steps == ["flush file", "link 2", "flush ab"]


def test_a_deletion_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delete is flushed before it returns: a snapshot must not come back after its packs are gone."""
    store = LocalFolderStore(tmp_path)
    store.put_new("snapshots/a", b"")
    disk = DiskLog(monkeypatch)
    store.delete("snapshots/a")
    assert disk.steps == ["flush snapshots"]


def test_a_store_without_sync_flushes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sync=False` leaves all flushing to the system."""
    disk = DiskLog(monkeypatch)
    store = LocalFolderStore(tmp_path, sync=False)
    store.put_new("data/ab/1", b"content")
    store.delete("data/ab/1")
    assert not [step for step in disk.steps if step.startswith("flush")]


def test_a_folder_that_cannot_be_flushed_is_good_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network drives refuse to flush a folder; the put succeeds all the same."""

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    LocalFolderStore(tmp_path).put_new("data/ab/1", b"content")
    assert LocalFolderStore(tmp_path).get("data/ab/1") == b"content"


def test_without_hard_links_the_look_and_the_rename_are_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On FAT a rename would overwrite: it happens only while nobody else may look, and never onto a taken name."""
    store = LocalFolderStore(tmp_path)
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    disk_rename = os.rename
    held: list[bool] = []

    def rename(source: Path, target: Path) -> None:
        folder = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.append(False)
        except BlockingIOError:
            held.append(True)
        finally:
            os.close(folder)
        disk_rename(source, target)

    monkeypatch.setattr(os, "rename", rename)
    store.put_new("config", b"first")
    # Another writer is first between this one's quick look at the beginning and its rename.
    monkeypatch.setattr(Path, "exists", lambda _path: False)
    with pytest.raises(AlreadyExists):
        store.put_new("config", b"second")
    assert held == [True]
    assert files_below(tmp_path) == ["config"]
    assert store.get("config") == b"first"


def test_files_and_folders_are_only_for_their_owner(tmp_path: Path) -> None:
    """Objects are read-only and folders closed to others, as stock restic makes them, whatever the umask."""
    before = os.umask(0)
    try:
        LocalFolderStore(tmp_path / "repository").put_new("data/ab/1", b"")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"repository": 0o700, "data": 0o700, "ab": 0o700, "1": 0o400}


def test_leftovers_are_in_no_listing(tmp_path: Path) -> None:
    """Temporary files, ours and stock restic's, are not objects; any other file is shown as it is."""
    store = LocalFolderStore(tmp_path)
    store.put_new("data/ab/abcd", b"")
    for name in ("data/ab/abcd-tmp-0123456789abcdef", "data/ab/abcd-tmp-3141592653", "not ours.txt"):
        (tmp_path / name).write_bytes(b"...")
    assert [found.name for found in store.list()] == ["data/ab/abcd", "not ours.txt"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, Temporary),
        (errno.EDQUOT, Temporary),
        (errno.ESTALE, Temporary),
        (errno.EROFS, AccessDenied),
        (errno.EACCES, AccessDenied),
        (errno.EIO, DrivekeepError),
    ],
)
def test_a_failed_put_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[DrivekeepError]
) -> None:
    """A full, absent, refused or broken disk has its class and a remedy, and not even a temporary file stays."""
    store = LocalFolderStore(tmp_path)
    store.put_new("data/ab/first", b"")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", failing(number))
        with pytest.raises(expected) as caught:
            store.put_new("data/ab/second", b"content")
    assert type(caught.value) is expected
    assert os.strerror(number) in str(caught.value)
    assert caught.value.remedy
    assert files_below(tmp_path) == ["data/ab/first"]


def test_a_full_disk_is_told_from_an_unreachable_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC carries its own reason for programs."""
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(Temporary) as caught:
        LocalFolderStore(tmp_path).put_new("config", b"")
    assert caught.value.reason == "storage-full"


def test_an_unreadable_object_is_not_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that the system refuses is AccessDenied, for get, size and list."""
    store = LocalFolderStore(tmp_path)
    store.put_new("config", b"content")
    with monkeypatch.context() as refused:
        refused.setattr(Path, "open", failing(errno.EACCES))
        for read in (store.get, lambda name: store.get_range(name, 0, 1)):
            with pytest.raises(AccessDenied):
                read("config")
    with monkeypatch.context() as refused:
        refused.setattr(Path, "stat", failing(errno.EACCES))
        with pytest.raises(AccessDenied):
            store.size("config")


def test_a_refused_deletion_is_not_taken_for_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delete that the system refuses is AccessDenied; the object is still there and says so."""
    store = LocalFolderStore(tmp_path)
    store.put_new("locks/a", b"")
    with monkeypatch.context() as refused:
        refused.setattr(os, "unlink", failing(errno.EACCES))
        with pytest.raises(AccessDenied):
            store.delete("locks/a")
    assert store.size("locks/a") == 0


def test_a_listing_that_breaks_in_the_middle_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be read ends the listing with an error, never as a short list."""
    store = LocalFolderStore(tmp_path)
    for name in ("data/aa/1", "data/bb/2", "data/cc/3"):
        store.put_new(name, b"")
    scan = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "bb":
            raise OSError(errno.EIO, "Input/output error")
        return scan(path)

    monkeypatch.setattr(local_folder.os, "scandir", scandir)
    listing = store.list()
    assert next(listing).name == "data/aa/1"
    with pytest.raises(DrivekeepError, match="Input/output"):
        next(listing)


def test_what_is_deleted_during_a_listing_is_left_out(tmp_path: Path) -> None:
    """An object that is deleted under a listing is no error: it is not stored any more."""
    store = LocalFolderStore(tmp_path)
    for name in ("locks/1", "locks/2", "locks/3"):
        store.put_new(name, b"")
    listing = store.list()
    assert next(listing).name == "locks/1"
    store.delete("locks/2")
    assert [found.name for found in listing] == ["locks/3"]


@pytest.mark.parametrize("shown", [1, 2])
def test_a_disk_that_is_pulled_out_during_a_listing_is_no_short_list(tmp_path: Path, shown: int) -> None:
    """When the folder vanishes under a listing, between two files or two folders, it raises and does not just end."""
    store = LocalFolderStore(tmp_path / "repository")
    for name in ("data/aa/1", "data/aa/2", "data/bb/3"):
        store.put_new(name, b"")
    listing = store.list()
    for _ in range(shown):
        next(listing)
    (tmp_path / "repository").rename(tmp_path / "elsewhere")
    with pytest.raises(Temporary, match="vanished"):
        list(listing)


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    """A place that is not there is an empty store, and looking at it leaves it not there."""
    store = LocalFolderStore(tmp_path / "none")
    assert list(store.list()) == []
    store.delete("locks/a")
    with pytest.raises(NotFound):
        store.get("config")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("in_the_way", ["a file", "a dangling link"])
def test_a_file_in_the_place_of_the_folder_is_a_usage_error(tmp_path: Path, in_the_way: str) -> None:
    """Where a file, or a link to an absent disk, takes the folder's place, a put says so and changes nothing."""
    root = tmp_path / "repository"
    if in_the_way == "a file":
        root.write_bytes(b"precious")
    else:
        root.symlink_to(tmp_path / "disk")
    store = LocalFolderStore(root)
    for name in ("config", "data/ab/1"):
        with pytest.raises(Usage, match="where a folder should be"):
            store.put_new(name, b"")
        with pytest.raises(NotFound):
            store.get(name)
    assert os.path.lexists(root)
    assert not (tmp_path / "disk").exists()


def test_a_folder_in_the_place_of_an_object_is_no_object(tmp_path: Path) -> None:
    """A folder under an object's name is not found by reads and not removed by a delete."""
    (tmp_path / "config").mkdir()
    store = LocalFolderStore(tmp_path)
    for read in (store.get, store.size, lambda name: store.get_range(name, 0, 1)):
        with pytest.raises(NotFound):
            read("config")
    store.delete("config")
    assert (tmp_path / "config").is_dir()


def test_a_disk_that_is_pulled_out_is_temporary(tmp_path: Path) -> None:
    """When the folder vanishes between two puts, the second fails and asks for the disk."""
    store = LocalFolderStore(tmp_path / "repository")
    store.put_new("data/ab/1", b"")
    (tmp_path / "repository").rename(tmp_path / "elsewhere")
    with pytest.raises(Temporary, match="vanished"):
        store.put_new("data/ab/2", b"")


def test_short_reads_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that returns fewer bytes than it has, as network drives may, does not shorten a range."""
    store = LocalFolderStore(tmp_path)
    store.put_new("data/ab/1", bytes(range(100)))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: pread(descriptor, min(length, 7), offset))
    assert store.get_range("data/ab/1", 3, 90) == bytes(range(3, 93))


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store keeps its folder when the program changes its working folder."""
    monkeypatch.chdir(tmp_path)
    store = LocalFolderStore(Path("repository"))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    store.put_new("config", b"")
    assert files_below(tmp_path) == ["repository/config"]
