"""One file while it is being restored: its pieces come in any order and from any thread. It fetches nothing.

It lies under an unfinished name beside its place until it is whole, checked and dated; only then does it get its name.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterable
from typing import NamedTuple

from backup_core.restore.conflicts import time_of
from backup_core.restore.plan import FileStep
from backup_core.restore.target import Names, Target, unfinished_name


class Piece(NamedTuple):
    """A chunk of a file: SHA-256 of its bytes, and which bytes of the file they are."""

    blob: bytes
    offset: int
    length: int


class Differs(Exception):
    """What lies in the file is not what was to be there. The text says how, `reason` is a failure's."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class PartFile:
    """Raises OSError wherever the file system refuses; the caller then discards it."""

    def __init__(self, target: Target, place: Names, step: FileStep, pieces: int) -> None:
        self.step = step
        self._target, self._place = target, place
        self._unfinished = unfinished_name(step.name)
        self._left = pieces
        self._fd: int | None = None
        self._is_mine = False  # the unfinished file; one that another restore is writing is left alone
        self.is_over = False  # finished or discarded
        self._lock = threading.Lock()  # a descriptor that is closed meanwhile may already be another file's

    def write(self, offset: int, plain: bytes) -> bool:
        """Put one piece in. Whether it was the last one; never true of a file that was discarded."""
        with self._lock:
            self._left -= 1
            if self.is_over:
                return False
            _write_all(self._opened(), plain, offset)
            return self._left == 0

    def finish(self, verify: Iterable[Piece] | None = None) -> bool:
        """Date it and give it its name; False where it was discarded meanwhile.

        Differs; FileExistsError where somebody has taken the name. `verify`: all its pieces, to be read back from the
        disk first.
        """
        with self._lock:
            if self.is_over:
                return False  # to open it now would make it again, and nobody would remove it
            file = self._opened()
            if (size := os.fstat(file).st_size) != self.step.node.size:
                raise Differs(f"It has {size} bytes of {self.step.node.size}.", "size-mismatch")
            if verify is not None:
                os.fsync(file)
                if hasattr(os, "posix_fadvise"):  # else memory would be compared with memory
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                compare(file, verify)
            modified = time_of(self.step.node)
            if modified is not None:
                os.utime(file, ns=(modified, modified))
            self._close()
            self._target.publish(self._place, self._unfinished, self.step.name, replace=self.step.action == "replace")
            self.is_over = True
            return True

    def discard(self) -> None:
        """Leave nothing behind, unless it is finished. Safe to call again, and never raises."""
        with self._lock:
            if self.is_over or not self._is_mine:
                self.is_over = True
                return
            self.is_over = True
            with contextlib.suppress(OSError):
                self._close()
            with contextlib.suppress(OSError):  # what stays is removed by the next run
                self._target.remove_file(self._place, self._unfinished)

    def _opened(self) -> int:
        if self._fd is None:
            self._fd = self._target.create(self._place, self._unfinished)
            self._is_mine = True
        return self._fd

    def _close(self) -> None:
        """OSError where the system could not write: some network file systems tell only now."""
        file, self._fd = self._fd, None
        if file is not None:
            os.close(file)


def compare(file: int, pieces: Iterable[Piece]) -> None:
    """Differs where a file holds something else than these pieces."""
    end = 0
    for piece in pieces:
        end = piece.offset + piece.length
        if hashlib.sha256(_read_all(file, piece.offset, piece.length)).digest() != piece.blob:
            raise Differs(f"Bytes {piece.offset} to {end} differ from the snapshot.", "hash-mismatch")
    if os.fstat(file).st_size != end:
        raise Differs(f"It does not end after {end} bytes.", "size-mismatch")


def _write_all(file: int, data: bytes, offset: int) -> None:
    """The system may take less than it is given, on a disk that is nearly full for one."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def _read_all(file: int, offset: int, length: int) -> bytes:
    """As much as there is, up to the length."""
    parts = []
    while length and (part := os.pread(file, length, offset)):
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)
