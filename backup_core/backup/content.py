"""Bytes of a file into chunks, and chunks that are not stored yet into packs."""

import hashlib
import mmap
import threading
from collections.abc import Callable, Iterable

from backup_core.drive_state.paged_map import PagedMap
from backup_core.repository import chunker
from backup_core.repository.packer import Packer

Reader = Callable[[memoryview], int]  # fills the front of a buffer; 0 = the end of a whole body


class Claims:
    """Which chunks somebody has stored or is storing, so that each is stored once. Shared by all threads of a run.

    A chunk that is claimed lies in some pack at the end of the run, or the run fails as a whole: whoever names a chunk
    that another batch has claimed names it safely only once both batches are stored, and commit looks again.
    """

    def __init__(self, stored: PagedMap | None) -> None:
        self._stored = stored
        self._lock = threading.Lock()
        self._claimed: set[bytes] = set()

    def claim(self, ids: Iterable[bytes]) -> set[bytes]:
        """Those that the caller, and nobody else, must store."""
        with self._lock:
            new = [each for each in ids if each not in self._claimed]
        known = self._stored.get_many(new).keys() if new and self._stored is not None else ()
        with self._lock:
            mine = {each for each in new if each not in known and each not in self._claimed}
            self._claimed.update(new)
        return mine


def window() -> memoryview:
    """A buffer for `save_content`. Small files never touch most of it, and untouched pages cost no memory."""
    return memoryview(mmap.mmap(-1, chunker.WINDOW_BYTES))


def save_content(read: Reader, buffer: memoryview, claims: Claims, packer: Packer) -> tuple[list[bytes], int]:
    """Read a body to its end and store what is new of it: chunk ids in order, and the number of bytes."""
    ids: list[bytes] = []
    size = held = 0
    at_end = False
    while not at_end:
        while held < len(buffer) and not at_end:
            count = read(buffer[held:])
            held += count
            at_end = count == 0
        chunks = chunker.cut(buffer[:held], at_end)
        cut_ids = [hashlib.sha256(chunk).digest() for chunk in chunks]
        new = claims.claim(cut_ids)
        for chunk_id, chunk in zip(cut_ids, chunks, strict=True):
            if chunk_id in new:
                new.discard(chunk_id)  # the same chunk twice in one window is stored once
                packer.add(chunk_id, chunk)
        ids += cut_ids
        done = sum(len(chunk) for chunk in chunks)
        size += done
        buffer[: held - done] = buffer[done:held]
        held -= done
    return ids, size
