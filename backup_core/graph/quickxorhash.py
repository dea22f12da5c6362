"""quickXorHash, the one content hash that Microsoft gives for files of every kind of OneDrive.

Byte i of the content is XORed into a ring of 160 bits, its lowest bit at position 11·i mod 160; at the end the length
is XORed into the last 64 bits. The pattern repeats every 160 bytes, so the content is first XORed together in rows of
160 bytes, and only one row is ever placed on the ring.

It finds truncation and corruption. It does not resist anybody who wants two contents with one hash: never an identity.
"""

import base64

from backup_core.storage.store import Buffer

_ROW_BYTES = 160
_ROW_BITS = 8 * _ROW_BYTES
_RING_BITS = 160
_RING = (1 << _RING_BITS) - 1
# Rows are XORed 64 at a time as one whole number: fewer make the interpreter's share larger, more leave the processor's
# first cache and gain nothing.
_FOLDS = tuple((rows * _ROW_BITS, (1 << rows * _ROW_BITS) - 1) for rows in (32, 16, 8, 4, 2, 1))
_STRIDE_BYTES = 64 * _ROW_BYTES


class QuickXorHash:
    """The hash of what has passed so far; bytes may come in pieces of any length."""

    def __init__(self) -> None:
        self._row = 0  # the content, XORed together in rows; byte i of the row is byte i of this number, lowest first
        self._length = 0

    def update(self, data: Buffer) -> None:
        view = memoryview(data)
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        to_number = int.from_bytes
        folded = 0
        for start in range(0, len(view), _STRIDE_BYTES):
            folded ^= to_number(view[start : start + _STRIDE_BYTES], "little")
        for width, mask in _FOLDS:
            folded = (folded >> width) ^ (folded & mask)
        self._row ^= _turned(folded, 8 * (self._length % _ROW_BYTES))
        self._length += len(view)

    @property
    def row(self) -> bytes:
        """What has passed, as `append` takes it: 160 bytes."""
        return self._row.to_bytes(_ROW_BYTES, "little")

    def append(self, row: bytes, length: int) -> None:
        """As if the `length` bytes that gave `row` in another hash had passed here: the hash is linear."""
        self._row ^= _turned(int.from_bytes(row, "little"), 8 * (self._length % _ROW_BYTES))
        self._length += length

    def digest(self) -> bytes:
        """20 bytes; more content may follow afterwards."""
        ring = 0
        for position, byte in enumerate(self._row.to_bytes(_ROW_BYTES, "little")):
            placed = byte << (11 * position % _RING_BITS)
            ring ^= (placed & _RING) ^ (placed >> _RING_BITS)
        return (ring ^ (self._length << (_RING_BITS - 64))).to_bytes(20, "little")

    def base64(self) -> str:
        """The digest as Graph writes it: 28 characters."""
        return base64.b64encode(self.digest()).decode("ascii")


def _turned(row: int, bits: int) -> int:
    """A row whose first byte belongs `bits` further on; what passes the end begins again at the front."""
    return ((row << bits) & ((1 << _ROW_BITS) - 1)) ^ (row >> (_ROW_BITS - bits))
