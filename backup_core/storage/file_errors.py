"""What the operating system says about a file, told in drivekeep's errors. It opens and repairs nothing."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backup_core.errors import AccessDenied, DrivekeepError, NotFound, Temporary, Usage

_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT}
# A network drive that is away, or a disk that was pulled out and will be plugged in again.
_AWAY = {
    errno.ENOTCONN,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ECONNRESET,
    errno.ENODEV,
    errno.ENXIO,
    errno.EBUSY,
}


@contextmanager
def file_errors(verb: str, path: Path) -> Iterator[None]:
    """Turn any OSError of the block into what the store's contract names. `verb`: read, write, list or delete."""
    try:
        yield
    except OSError as error:
        raise _told(error, verb, path) from error


def _told(error: OSError, verb: str, path: Path) -> DrivekeepError:
    what = f"Cannot {verb} {path}."
    why = f"The system says: {os.strerror(error.errno) if error.errno else type(error).__name__}."
    if verb == "read" and error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}:
        return NotFound(f"There is no file {path}.")
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return Usage(
            what,
            why="A file lies where a folder should be.",
            remedy="Name another folder for the repository, or move that file away.",
        )
    if error.errno in _REFUSED:
        return AccessDenied(
            what,
            why=why,
            remedy="Run as the user who owns the repository, or give this one access; see that the disk is writable.",
        )
    if error.errno in _FULL:
        return Temporary(
            what,
            why=why,
            remedy="Make room there or raise the quota, then run the same command again: what is saved stays saved.",
            reason="storage-full",
        )
    if error.errno in _AWAY:
        return Temporary(what, why=why, remedy="See that the disk is connected, then run the same command again.")
    return DrivekeepError(what, why=why, remedy="Look at the disk's health before anything else is written to it.")
