"""The folder that files are restored into, and the only door to it. It does not know what a snapshot is.

A place below the target is a tuple of names. Every step of the way is opened by itself and never through a link, so
that nothing planted in the target (or made there while a restore runs) leads a write out of it. The target itself may
be a link: whoever names it means where it leads.

Names are the stored ones, which may hold bytes that are no UTF-8 (as surrogate escapes); the locale does not matter.
Permissions are those that the umask gives: OneDrive has none that a folder could hold.
"""

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backup_core.errors import DrivekeepError, Usage

Names = tuple[str, ...]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FOLDER = {errno.ENOTDIR, errno.ELOOP}
# What file systems without hard links say: FAT and exFAT, SMB, some FUSE.
_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_UNFINISHED = re.compile(r"\.drivekeep-[0-9a-f]{16}\.part\Z")


def is_usable(name: str) -> bool:
    """Whether a name can be given to a file: one name, and not one that leads elsewhere."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return False
    try:
        _raw(name)
    except UnicodeEncodeError:
        return False
    return True


def unfinished_name(name: str) -> str:
    """Under what a file is written until it is whole. The same in every run: a killed one leaves nothing unknown."""
    return f".drivekeep-{hashlib.sha256(_raw(name)).hexdigest()[:16]}.part"


def is_unfinished(name: str) -> bool:
    return _UNFINISHED.match(name) is not None


class Target:
    """May be used by many threads. Everything raises OSError but where another error is named."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self) -> None:
        """Make the target itself, with the folders above it. Usage; DrivekeepError."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise _no_folder(self._path) from None
        except OSError as error:
            raise DrivekeepError(
                f"The folder {self._path} cannot be made.",
                why=f"The system says: {os.strerror(error.errno or 0)}.",
                remedy="Name a place with --target that you may write to.",
            ) from error

    def names(self, place: Names) -> set[str] | None:
        """What is in a folder; None where it is not there. NotADirectoryError where a file or a link is in its way."""
        try:
            with self.folder(place) as folder:
                found = os.listdir(folder)  # noqa: PTH208 a descriptor, not a path
        except FileNotFoundError:
            return None
        return {os.fsencode(name).decode("utf-8", "surrogateescape") for name in found}

    def look(self, place: Names, name: str) -> os.stat_result | None:
        """What is at a name, itself and not what it leads to; None where nothing is."""
        try:
            with self.folder(place) as folder:
                return os.stat(_raw(name), dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def make_folder(self, place: Names) -> None:
        """With those above it, the target too; one that is there is no error. Also what `make` raises."""
        self.make()
        with self.folder(place, make=True):
            pass

    def set_folder_time(self, place: Names, nanoseconds: int) -> None:
        with self.folder(place) as folder:
            os.utime(folder, ns=(nanoseconds, nanoseconds))

    def create(self, place: Names, name: str) -> int:
        """A new empty file, open for writing and reading; its descriptor is the caller's to close."""
        with self.folder(place) as folder:
            return os.open(_raw(name), _NEW_FILE, 0o666, dir_fd=folder)

    def open_file(self, place: Names, name: str) -> int:
        """For reading; never through a link."""
        with self.folder(place) as folder:
            return os.open(_raw(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)

    def publish(self, place: Names, unfinished: str, name: str, *, replace: bool) -> None:
        """Give a file its final name. FileExistsError where that is taken, unless what is there is to be replaced."""
        source, final = _raw(unfinished), _raw(name)
        with self.folder(place) as folder:
            if replace:
                os.rename(source, final, src_dir_fd=folder, dst_dir_fd=folder)
                return
            try:
                os.link(source, final, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                _rename_to_free(folder, source, final)
            else:
                os.unlink(source, dir_fd=folder)

    def remove_file(self, place: Names, name: str) -> None:
        """One that is gone already is no error."""
        try:
            with self.folder(place) as folder:
                os.unlink(_raw(name), dir_fd=folder)
        except FileNotFoundError:
            pass

    @contextmanager
    def folder(self, place: Names, make: bool = False) -> Iterator[int]:
        """A descriptor of a folder below the target. FileNotFoundError; NotADirectoryError; Usage where the target
        itself is no folder.
        """
        try:
            folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except NotADirectoryError:
            raise _no_folder(self._path) from None
        try:
            for name in place:
                inner = _step(folder, _raw(name), make)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)


def _step(folder: int, name: bytes, make: bool) -> int:
    if make:
        try:
            os.mkdir(name, dir_fd=folder)
        except FileExistsError:
            pass
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        if error.errno in _NO_FOLDER:
            raise NotADirectoryError(errno.ENOTDIR, "A file or a link is where a folder should be") from None
        raise


def _rename_to_free(folder: int, source: bytes, final: bytes) -> None:
    """Between the look and the rename somebody might still take the name; without hard links there is no better way."""
    try:
        os.stat(final, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(source, final, src_dir_fd=folder, dst_dir_fd=folder)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def _no_folder(path: Path) -> Usage:
    return Usage(f"{path} is no folder.", remedy="Name a folder with --target.")


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
