"""Turns blobs into stored packs: compress, seal, check, put. It does not decide which blobs are new.

Many threads call `add`. Each compresses its own blob, the long part, beside the others; then it seals the blob into the
one open pack under a lock, which takes a fraction of that. A full pack goes to a store thread, which adds the header,
reads everything back, hashes and puts it. There is a fixed number of pack buffers, one open and one per store thread:
when all are taken, `add` waits for a store thread. So a slow store slows the callers down, and memory is bounded.
"""

import hashlib
import mmap
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

from backup_core.errors import Damaged, DrivekeepError
from backup_core.repository import compression, layout
from backup_core.repository.chunker import MAX_BYTES
from backup_core.repository.crypto import OVERHEAD, Keys
from backup_core.repository.pack import BLOBS_MAX, HEADER_ROOM, Pack, PackedBlob, append_header, check_pack
from backup_core.repository.repository import Repository, put_by_content
from backup_core.storage.store import Buffer


class Packer:
    """Packs of one kind. `add` from any thread, then `finish` from one; `abort` where there is nothing to finish.

    `pack_bytes`: a pack is closed once it has this many bytes, as restic does it, so it may be longer by one blob.
    `in_flight`: how many packs are checked and stored at the same time.
    """

    def __init__(self, repository: Repository, *, tree: bool, pack_bytes: int, in_flight: int, level: int = 1) -> None:
        self._keys, self._tree, self._level = repository.keys, tree, level
        self._compress = repository.version > 1
        self._store = repository.store if tree else repository.content_store
        self._pack_bytes = pack_bytes
        self._room = pack_bytes + MAX_BYTES + OVERHEAD  # for blobs; the last one may begin just below pack_bytes
        self._threads = ThreadPoolExecutor(in_flight, thread_name_prefix="packer")
        self._free: queue.LifoQueue[memoryview | None] = queue.LifoQueue()  # the last one used is warm
        for _ in range(in_flight + 1):
            self._free.put(None)  # a permit: the buffer is made when it is first needed
        self._lock = threading.Lock()  # guards the open pack
        self._open: _OpenPack | None = None
        self._thread = threading.local()
        self._stored: list[Pack] = []
        self._error: BaseException | None = None

    def add(self, blob_id: bytes, plain: Buffer) -> None:
        """Take a blob in; `plain` may be reused as soon as this returns. Raises what a store thread ran into.

        It is stored once `finish` has returned.
        """
        content, raw_length = self._smaller(plain)
        with self._lock:
            self._raise_error()
            if self._open and not self._open.has_room(content):
                self._close_pack()
            if self._open is None:
                self._open = self._new_pack(len(content))
            self._open.seal(self._keys, blob_id, self._tree, content, raw_length)
            if self._open.end >= self._pack_bytes or len(self._open.blobs) >= BLOBS_MAX:
                self._close_pack()

    def finish(self) -> list[Pack]:
        """Store what is open, wait for all packs, end the threads. The packs, or the first error of a store thread."""
        with self._lock:
            if self._open and self._error is None:
                self._close_pack()
        self._threads.shutdown(wait=True)
        self._raise_error()
        return self._stored

    def abort(self) -> None:
        """End the threads: a pack that is being put is put, the others are dropped. `add` and `finish` raise then."""
        with self._lock:  # whoever is in `add` gets through; whoever comes later raises
            self._error = self._error or DrivekeepError("The packer was stopped.")
        self._threads.shutdown(wait=True)

    def _smaller(self, plain: Buffer) -> tuple[Buffer, int]:
        """The frame and the plain length; or the plain bytes and 0 where a frame would not be smaller."""
        if self._compress:
            frame = compression.compress(plain, self._level)
            if len(frame) < len(plain):
                return frame, len(plain)
        return plain, 0

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _new_pack(self, least: int) -> "_OpenPack":
        """Waits for a free buffer. A blob that no buffer can hold (the tree of a giant folder) gets one of its own."""
        buffer = self._free.get()
        if least > self._room - OVERHEAD:
            return _OpenPack(_memory(least + OVERHEAD + HEADER_ROOM), buffer)
        if buffer is None:
            buffer = _memory(self._room + HEADER_ROOM)
        return _OpenPack(buffer, buffer)

    def _close_pack(self) -> None:
        assert self._open is not None
        self._threads.submit(self._store_pack, self._open)
        self._open = None

    def _store_pack(self, pack: "_OpenPack") -> None:
        try:
            if self._error is None:
                self._stored.append(self._put(pack))
        except BaseException as error:  # of any kind: whoever calls `add` or `finish` must learn of it
            self._error = self._error or error
        finally:
            self._free.put(pack.permit)

    def _put(self, pack: "_OpenPack") -> Pack:
        end = append_header(self._keys, pack.blobs, pack.buffer, pack.end)
        whole = pack.buffer[:end]
        try:
            check_pack(self._keys, whole, pack.blobs, self._scratch_of(max(blob.length for blob in pack.blobs)))
        except Damaged as error:
            raise Damaged(
                "A pack came out wrong and was not stored.",
                why=f"Read back before it was stored, it was not what had gone in: {error}",
                remedy="Run the same command again. If this repeats, test the memory of this machine.",
            ) from error
        pack_id = hashlib.sha256(whole).digest()
        put_by_content(self._store, layout.pack_name(pack_id.hex()), whole)
        return Pack(pack_id, pack.blobs, end)

    def _scratch_of(self, length: int) -> memoryview:
        """This thread's own buffer for reading back, of at least that length."""
        scratch: memoryview | None = getattr(self._thread, "scratch", None)
        if scratch is None or len(scratch) < length:
            scratch = self._thread.scratch = _memory(max(length, MAX_BYTES))
        return scratch


class _OpenPack:
    """A buffer that blobs are sealed into. `permit` goes back to the packer when the pack is done with."""

    def __init__(self, buffer: memoryview, permit: memoryview | None) -> None:
        self.buffer, self.permit = buffer, permit
        self.blobs: list[PackedBlob] = []
        self.end = 0

    def has_room(self, content: Buffer) -> bool:
        return self.end + len(content) + OVERHEAD + HEADER_ROOM <= len(self.buffer)

    def seal(self, keys: Keys, blob_id: bytes, tree: bool, content: Buffer, raw_length: int) -> None:
        end = keys.seal_into(content, self.buffer, self.end)
        self.blobs.append(PackedBlob(blob_id, tree, self.end, end - self.end, raw_length))
        self.end = end


def _memory(length: int) -> memoryview:
    """Takes memory only where it is written to, page by page; a bytearray would fill all of it with zeros first."""
    return memoryview(mmap.mmap(-1, length))
