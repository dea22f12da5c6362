"""A folder of the local file system as a store, laid out as stock restic lays it out. It removes no leftovers.

An object is written under `<name>-tmp-<random>` in its own folder, flushed to the disk, and only then linked to its
name: a link fails where the name is taken, so a reader sees a whole object or none, and two writers have one winner.
The folder is flushed after that, so that the name, too, outlives a power cut.

A killed writer leaves its temporary file. It is in no listing (stock restic ignores it as well) and in nobody's way,
and a backup deletes nothing, so it stays; a person may remove `*-tmp-*` files while no backup is running.
"""

import errno
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from backup_core.errors import AlreadyExists, Damaged, NotFound, Temporary
from backup_core.storage.file_errors import file_errors
from backup_core.storage.names import check_folder, check_name, check_range, is_temporary
from backup_core.storage.publish import publish
from backup_core.storage.store import Buffer, Store, Stored

# What restic gives them: nobody else reads the repository, and no slip of a hand changes an object.
_FILE_MODE, _FOLDER_MODE = 0o400, 0o700


class LocalFolderStore(Store):
    """`path` need not be there: it is then an empty store, and the first `put_new` makes the folder.

    `sync=False` leaves flushing to the system. That is for tests: after a power cut objects may be empty.
    """

    def __init__(self, path: Path, sync: bool = True) -> None:
        self._root = path.absolute()
        self._sync = sync
        self._durable_folders: set[Path] = set()
        self._making_folders = threading.Lock()

    def get(self, name: str) -> bytes:
        path = self._path(name)
        with file_errors("read", path):
            return path.read_bytes()

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        check_range(offset, length)
        path = self._path(name)
        with file_errors("read", path), path.open("rb", buffering=0) as file:
            data = _read(file.fileno(), offset, length)
            size = os.fstat(file.fileno()).st_size
        if len(data) < length or offset > size:
            raise Damaged(
                f"{path} ends after {size} bytes; {length} bytes from {offset} were asked for.",
                remedy="Run `drivekeep check`: it tells what is affected.",
            )
        return data

    def put_new(self, name: str, data: Buffer) -> None:
        path = self._path(name)
        with file_errors("write", path):
            # Spares a repeated run the writing of what it cannot keep; `publish` is what decides.
            if path.exists():
                raise _taken(path)
            self._make_folder(path.parent)
            temporary = path.with_name(f"{path.name}-tmp-{secrets.token_hex(8)}")
            try:
                self._write(temporary, data)
                publish(temporary, path)
            except FileExistsError:
                raise _taken(path) from None
            except FileNotFoundError:
                raise _vanished(path.parent) from None
            finally:
                _remove_leftover(temporary)
            self._flush_folder(path.parent)

    def size(self, name: str) -> int:
        path = self._path(name)
        with file_errors("read", path):
            status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise NotFound(f"There is no file {path}.")
        return status.st_size

    def list(self, prefix: str = "") -> Iterator[Stored]:
        check_folder(prefix)
        return self._walk(self._root / prefix, prefix, may_be_missing=True)

    def delete(self, name: str) -> None:
        path = self._path(name)
        with file_errors("delete", path):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return  # no such object
            # An order of deletions (a snapshot, then its packs) must outlive a power cut as it was.
            self._flush_folder(path.parent)

    def _path(self, name: str) -> Path:
        return self._root / check_name(name)

    def _walk(self, folder: Path, prefix: str, may_be_missing: bool = False) -> Iterator[Stored]:
        with file_errors("list", folder):
            try:
                with os.scandir(folder) as found:
                    entries = [(entry, entry.is_dir()) for entry in found]
            except FileNotFoundError:
                if may_be_missing:
                    return
                # Nobody removes folders of a repository: a disk that goes away must not look like a short list.
                raise _vanished(folder) from None
        # With its slash, a folder takes the place that its content has among whole names: "a-b" comes before "a/b".
        for entry, is_folder in sorted(entries, key=lambda pair: pair[0].name + "/" * pair[1]):
            if is_folder:
                yield from self._walk(folder / entry.name, f"{prefix}{entry.name}/")
            elif not is_temporary(entry.name):
                with file_errors("list", folder / entry.name):
                    try:
                        status = entry.stat()
                    except FileNotFoundError:
                        if not folder.is_dir():
                            raise _vanished(folder) from None
                        continue  # deleted since the folder was read
                yield Stored(prefix + entry.name, status.st_size, status.st_mtime)

    def _write(self, path: Path, data: Buffer) -> None:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE), "wb") as file:  # noqa: PTH123
            file.write(data)
            file.flush()
            if self._sync:
                os.fsync(file.fileno())

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, each entered durably in its parent, before anything is put into it.

        A folder that is there already may have been made by another writer a moment ago and not be flushed yet: so
        every process flushes each once, and its threads wait for the one that does.
        """
        if folder in self._durable_folders:
            return
        with self._making_folders:
            above = (folder, *folder.parents)
            missing = [path for path in above if not path.is_dir()]
            for path in reversed(missing):
                _make_one_folder(path)
            inside = {path for path in above if path != self._root and path.is_relative_to(self._root)}
            for path in {*missing, *inside} - self._durable_folders:
                self._flush_folder(path.parent)
            self._durable_folders |= inside

    def _flush_folder(self, folder: Path) -> None:
        if not self._sync:
            return
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems have no way to flush a folder; they do it by themselves or not at all.
            if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
                raise
        finally:
            os.close(descriptor)


def _make_one_folder(path: Path) -> None:
    try:
        path.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    except FileExistsError:
        # A file, or a link that leads nowhere: not to be mistaken for an object that is there already.
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def _read(descriptor: int, offset: int, length: int) -> bytes:
    """Up to `length` bytes: one call may bring fewer than there are (a network, or more than 2 GiB)."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _remove_leftover(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        pass  # what happened to the object matters, not this: a leftover is in nobody's way


def _vanished(folder: Path) -> Temporary:
    return Temporary(
        f"{folder} vanished while it was in use.",
        remedy="See whether the disk is still connected, then run the same command again.",
    )


def _taken(path: Path) -> AlreadyExists:
    return AlreadyExists(f"There is a file {path} already.")
