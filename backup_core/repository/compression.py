"""zstd frames, with compressors that are made once per thread. It does not decide what is worth compressing."""

import threading

import zstandard

from backup_core.errors import Damaged
from backup_core.storage.store import Buffer

_thread = threading.local()


def compress(data: Buffer, level: int) -> bytes:
    """One frame that names its content's length. Other threads run meanwhile."""
    compressors: dict[int, zstandard.ZstdCompressor] | None = getattr(_thread, "compressors", None)
    if compressors is None:
        compressors = _thread.compressors = {}
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressors[level].compress(data)


def decompress(frame: Buffer, limit: int) -> bytes:
    """The content of one frame, of at most `limit` bytes; Damaged where it is no frame, or a longer one.

    The length that a frame claims is looked at first: a frame of a few bytes may claim to hold gigabytes.
    """
    if not hasattr(_thread, "decompressor"):
        _thread.decompressor = zstandard.ZstdDecompressor()
    try:
        claimed = zstandard.frame_content_size(frame)
        if claimed > limit:
            raise Damaged(f"A compressed object claims to hold {claimed} bytes, more than the {limit} it may.")
        plain: bytes = _thread.decompressor.decompress(frame, max_output_size=max(limit, 1), allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damaged("A compressed object cannot be unpacked.", why=f"zstd says: {error}.") from None
    return plain
