"""Giving a finished file its name, unless the name is taken: the one step of a local put that must be atomic.

It knows nothing of stores, and leaves it to the caller to remove the temporary name.
"""

import errno
import fcntl
import os
from pathlib import Path

# What file systems without hard links say (FAT and exFAT: EPERM; SMB: EOPNOTSUPP; some FUSE: ENOSYS, EACCES), and those
# with a limit of links or with rules about whose files may be linked.
_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def publish(temporary: Path, path: Path) -> None:
    """After it `path` is the whole file. FileExistsError where the name is taken, and then nothing has changed.

    Both names are in one folder. `temporary` may or may not be left.
    """
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _rename_under_lock(temporary, path)


def _rename_under_lock(temporary: Path, path: Path) -> None:
    """Without hard links: rename, which overwrites, but only after a look, and under a lock of the folder.

    Creating the final name with O_EXCL instead would show readers an object before it is whole, and leave half of it
    behind where the writer is killed. The kernel lets the lock go when its holder dies, however it dies. On a network
    drive that does not share such locks between machines the promise holds for the writers of one machine.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        temporary.rename(path)
    finally:
        os.close(folder)
