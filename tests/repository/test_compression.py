"""zstd frames, which may come from an attacker's hands."""

import pytest
import zstandard

from backup_core.errors import Damaged
from backup_core.repository.compression import compress, decompress


@pytest.mark.parametrize("plain", [b"", b"a", b"text " * 10_000])
def test_a_frame_comes_back(plain: bytes) -> None:
    """Whatever is compressed comes back, at the exact limit of its length."""
    assert decompress(compress(plain, 1), len(plain)) == plain


def test_a_bomb_is_refused_before_it_unpacks() -> None:
    """A frame that holds more than it may is damage, whether it says so or keeps its length to itself."""
    honest = compress(bytes(1 << 24), 1)
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 24))
    for bomb in (honest, silent):
        assert len(bomb) < 10_000
        with pytest.raises(Damaged):
            decompress(bomb, 1 << 20)


def test_what_is_no_frame_is_damage() -> None:
    """Bytes that are no frame, half of one, or more than one are damage, not a crash."""
    frame = compress(b"text " * 1000, 1)
    for wrong in (b"", b"\x00", b"no frame at all", frame[:-1], frame + b"x", frame + frame):
        with pytest.raises(Damaged):
            decompress(wrong, 10_000)
