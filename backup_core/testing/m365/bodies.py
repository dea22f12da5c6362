"""What a simulated file contains: bytes in memory, a real file, or a made-up body of any size. Knows no drive."""

import base64
import hashlib
import random
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from backup_core.graph.quickxorhash import QuickXorHash

PIECE_BYTES = 1 << 20
QUICKXOR_PERIOD = 160  # bytes after which quickXorHash repeats its bit positions


class Body(Protocol):
    """A BodySource of wire.py that also knows its quickXorHash. Never changes: new content is a new body."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset`, fewer than `length` only at the end."""

    def quickxor(self) -> str:
        """The quickXorHash, base64; worked out at the first call, then remembered."""


def pieces(body: Body) -> Iterator[bytes]:
    """The whole body, a MiB at a time."""
    for offset in range(0, body.size, PIECE_BYTES):
        yield body.read(offset, min(PIECE_BYTES, body.size - offset))


def sha256(body: Body) -> str:
    """The SHA-256 of the whole body, in hexadecimal."""
    digest = hashlib.sha256()
    for piece in pieces(body):
        digest.update(piece)
    return digest.hexdigest()


class BytesBody:
    __slots__ = ("_data", "_quickxor")

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = bytes(data)
        self._quickxor = ""

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def quickxor(self) -> str:
        if not self._quickxor:
            self._quickxor = _quickxor_of(self)
        return self._quickxor


class FileBody:
    """A file of this machine, `size` bytes when the body was made; read only when somebody asks for its bytes."""

    __slots__ = ("_lock", "_quickxor", "_size", "path")

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._size = size
        self._quickxor = ""
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(max(0, min(length, self._size - offset)))

    def quickxor(self) -> str:
        with self._lock:  # two listings at once would both read a file of many gigabytes
            if not self._quickxor and self.path.exists():  # deleted since: no hash, and its download breaks off
                self._quickxor = _quickxor_of(self)
            return self._quickxor


class SyntheticBody:
    """`size` incompressible bytes that depend on the seed alone, made up when they are read; needs no memory.

    Stretch number n of the body is one random block, each 160-byte row of it XORed with a mask made from (seed, n): no
    two stretches or bodies are alike. Since a block has an even number of rows, the mask cancels out in
    quickXorHash (which XORs the rows together), and two whole stretches cancel each other: the hash of a body of 250
    GB costs no more than two blocks.
    """

    BLOCK_ROWS = 6552  # even; almost a MiB
    BLOCK_BYTES = BLOCK_ROWS * QUICKXOR_PERIOD

    __slots__ = ("_quickxor", "_seed", "_size")

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._quickxor = ""

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self._size)
        parts = []
        while offset < end:
            stretch, start = divmod(offset, self.BLOCK_BYTES)
            stop = min(self.BLOCK_BYTES, start + end - offset)
            parts.append(self._stretch(stretch, start, stop))
            offset += stop - start
        return b"".join(parts)

    def quickxor(self) -> str:
        if not self._quickxor:
            whole, tail = divmod(self._size, self.BLOCK_BYTES)
            shown = BytesBody(self.read(self._size - tail, tail) if whole % 2 == 0 else self._folded(whole, tail))
            self._quickxor = _with_length(shown.quickxor(), shown.size, self._size)
        return self._quickxor

    def _folded(self, whole: int, tail: int) -> bytes:
        """One whole stretch and the tail: what an odd number of stretches leaves, since pairs cancel."""
        return self.read(0, self.BLOCK_BYTES) + self.read(whole * self.BLOCK_BYTES, tail)

    def _stretch(self, number: int, start: int, stop: int) -> bytes:
        first = start - start % QUICKXOR_PERIOD
        rows = -(-(stop - first) // QUICKXOR_PERIOD)
        mask = _mask(self._seed, number) * rows
        count = stop - start
        block = int.from_bytes(_random_block()[start:stop], "little")
        return (block ^ int.from_bytes(mask[start - first : start - first + count], "little")).to_bytes(count, "little")


@lru_cache(maxsize=1)
def _random_block() -> bytes:
    return random.Random("the block below every made-up body").randbytes(SyntheticBody.BLOCK_BYTES)  # noqa: S311


def _mask(seed: int, stretch: int) -> bytes:
    return hashlib.shake_128(f"{seed} {stretch}".encode()).digest(QUICKXOR_PERIOD)


def _quickxor_of(body: Body) -> str:
    digest = QuickXorHash()
    for piece in pieces(body):
        digest.update(piece)
    return digest.base64()


def _with_length(quickxor: str, hashed_bytes: int, size: int) -> str:
    """The hash as if the length had been `size`: the length is XORed into the last eight bytes."""
    ring = bytearray(base64.b64decode(quickxor))
    for position, byte in enumerate((hashed_bytes ^ size).to_bytes(8, "little"), start=12):
        ring[position] ^= byte
    return base64.b64encode(ring).decode()
