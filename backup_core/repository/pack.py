"""A pack: sealed blobs one after another, then a sealed header that lists them, then its length (u32, little-endian).

Reading and checking; `packer.py` writes. Data and tree blobs have separate name spaces, and packs of their own.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence

import msgspec

from backup_core.errors import Damaged
from backup_core.repository import compression
from backup_core.repository.crypto import OVERHEAD, Keys
from backup_core.storage.store import Buffer

# type byte (0 data, 1 tree; 2 and 3 the same, compressed), sealed length, [length when unpacked,] id
_PLAIN = struct.Struct("<BI32s")
_COMPRESSED = struct.Struct("<BII32s")
_LENGTH_BYTES = 4
_HEADER_MAX = 16 << 20  # restic refuses longer ones

# A pack of tiny blobs is closed at this number, which keeps its header (41 bytes a blob) below HEADER_ROOM, and its
# index entries, which must lie in one index file, below restic's 50,000 a file.
BLOBS_MAX = 20_000
HEADER_ROOM = BLOBS_MAX * _COMPRESSED.size + OVERHEAD + _LENGTH_BYTES


class PackedBlob(msgspec.Struct, frozen=True, gc=False):
    """Where one blob lies in its pack."""

    id: bytes  # SHA-256 of the plain bytes
    tree: bool
    offset: int
    length: int  # as stored: sealed, perhaps compressed
    raw_length: int  # of the plain bytes where they are compressed, else 0


class Pack(msgspec.Struct, frozen=True, gc=False):
    id: bytes  # SHA-256 of the pack as stored
    blobs: list[PackedBlob]
    size: int  # bytes as stored, header included; 0 where the source does not tell (an index file)


def append_header(keys: Keys, blobs: Iterable[PackedBlob], out: memoryview, at: int) -> int:
    """Write header and length behind the blobs that end at `at`; the end of the pack is returned."""
    entries = b"".join(
        _COMPRESSED.pack(2 + blob.tree, blob.length, blob.raw_length, blob.id)
        if blob.raw_length
        else _PLAIN.pack(blob.tree, blob.length, blob.id)
        for blob in blobs
    )
    end = keys.seal_into(entries, out, at)
    out[end : end + _LENGTH_BYTES] = (end - at).to_bytes(_LENGTH_BYTES, "little")
    return end + _LENGTH_BYTES


def header_length(tail: Buffer) -> int:
    """How many bytes at the end of a pack are header and length, told by its last four bytes or more. Damaged."""
    length = int.from_bytes(memoryview(tail)[-_LENGTH_BYTES:], "little")
    if not OVERHEAD < length <= _HEADER_MAX:
        raise Damaged("A pack's header has an impossible length.", why=f"It would be {length} bytes.")
    return length + _LENGTH_BYTES


def read_header(keys: Keys, tail: Buffer, size: int) -> list[PackedBlob]:
    """The blobs of a pack of `size` bytes, from its last bytes (all of its header, or more). Damaged."""
    length = header_length(tail)
    if length > len(tail):
        raise Damaged("A pack is shorter than its header says.")
    entries = keys.open(memoryview(tail)[len(tail) - length : len(tail) - _LENGTH_BYTES])
    blobs, offset, at = [], 0, 0
    try:
        while at < len(entries):
            if entries[at] > 1:
                kind, stored, raw, blob_id = _COMPRESSED.unpack_from(entries, at)
                at += _COMPRESSED.size
            else:
                kind, stored, blob_id = _PLAIN.unpack_from(entries, at)
                raw = 0
                at += _PLAIN.size
            if kind > 3:
                raise Damaged("A pack's header has an entry of an unknown kind.", why=f"Its type is {kind}.")
            blobs.append(PackedBlob(blob_id, bool(kind & 1), offset, stored, raw))
            offset += stored
    except struct.error:
        raise Damaged("A pack's header ends in the middle of an entry.") from None
    if offset + length != size:
        raise Damaged("A pack's header does not fit its length.", why=f"It lists {offset} bytes of {size - length}.")
    return blobs


def open_blob(keys: Keys, sealed: Buffer, raw_length: int) -> bytes:
    """The plain bytes of a blob as it is stored. Damaged. The caller compares their hash with the id."""
    content = keys.open(sealed)
    return _unpacked(content, raw_length) if raw_length else content


def check_pack(keys: Keys, pack: memoryview, blobs: Sequence[PackedBlob], scratch: memoryview) -> None:
    """Read a whole pack as a reader would, and compare it with what should be in it. Damaged.

    `scratch` is overwritten; it must hold the longest blob. This finds what a flaw in memory or in a library does
    between hashing a file and sealing it, while the file can still be read again.
    """
    if read_header(keys, pack, len(pack)) != list(blobs):
        raise Damaged("A pack's header differs from what is in the pack.")
    for blob in blobs:
        content: Buffer = keys.open_into(pack[blob.offset : blob.offset + blob.length], scratch)
        if blob.raw_length:
            content = _unpacked(content, blob.raw_length)
        if hashlib.sha256(content).digest() != blob.id:
            raise Damaged(f"Blob {blob.id.hex()} is not what its id says.")


def _unpacked(content: Buffer, raw_length: int) -> bytes:
    plain = compression.decompress(content, raw_length)
    if len(plain) != raw_length:
        raise Damaged("A blob is shorter than its pack says.", why=f"It has {len(plain)} bytes of {raw_length}.")
    return plain
