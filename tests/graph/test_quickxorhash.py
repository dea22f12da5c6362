"""quickXorHash against published values and against a second reading of its description."""

import base64
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.graph.quickxorhash import QuickXorHash

PUBLISHED = [
    (b"", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    (b"a", "YQAAAAAAAAAAAAAAAQAAAAAAAAA="),
    (b"abc", "YRDDGAAAAAAAAAAAAwAAAAAAAAA="),
    (b"Hello, World!", "SCgDG9jwBhaA4ApvnQMbyBACAAA="),
    (b"The quick brown fox jumps over the lazy dog", "bMSlbysmxJL6S75XwfMcQZOpcr4="),
    (bytes(1024), "AAAAAAAAAAAAAAAAAAQAAAAAAAA="),
    (b"\xff" * 160, "AAAAAAAAAAAAAAAAoAAAAAAAAAA="),
    (bytes(range(256)) * 8, "rxAOGe1RimTF/e+k/mYO5nnSZT8="),
    (base64.b64decode("Sg=="), "SgAAAAAAAAAAAAAAAQAAAAAAAAA="),
    (base64.b64decode("tbQ="), "taAFAAAAAAAAAAAAAgAAAAAAAAA="),
    (base64.b64decode("2fuxhBJXtpWFe8dOfdGeHw=="), "O9tHLAghgSvYohKFyMMxnNCHaHg="),
]


def bit_by_bit(data: bytes) -> bytes:
    """The description read literally, one bit at a time: slow, and shares nothing with the product's way."""
    ring = [0] * 160
    for position, byte in enumerate(data):
        for bit in range(8):
            ring[(11 * position + bit) % 160] ^= byte >> bit & 1
    digest = bytearray(sum(ring[8 * at + bit] << bit for bit in range(8)) for at in range(20))
    for at, byte in enumerate(len(data).to_bytes(8, "little")):
        digest[12 + at] ^= byte
    return bytes(digest)


def hash_of(*pieces: bytes) -> QuickXorHash:
    running = QuickXorHash()
    for piece in pieces:
        running.update(piece)
    return running


@pytest.mark.parametrize(("content", "expected"), PUBLISHED)
def test_published_values(content: bytes, expected: str) -> None:
    """Every published value comes out, in Graph's spelling."""
    assert expected == hash_of(content).base64()


def test_every_length_around_a_row() -> None:
    """Lengths 0 to 600 agree with the description read bit by bit."""
    content = random.Random(1).randbytes(600)
    for length in range(601):
        assert bit_by_bit(content[:length]) == hash_of(content[:length]).digest(), length


@pytest.mark.parametrize("length", [160 * 64 - 1, 160 * 64, 160 * 64 + 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1])
def test_lengths_around_the_stride(length: int) -> None:
    """The wide steps neither lose nor repeat a byte at their borders."""
    content = random.Random(length).randbytes(length)
    assert bit_by_bit(content) == hash_of(content).digest()


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000)))
def test_pieces_do_not_matter(content: bytes, cuts: list[int]) -> None:
    """However the content is cut into pieces, empty ones too, the hash is the same."""
    borders = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    pieces = [content[first:end] for first, end in itertools.pairwise(borders)]
    assert bit_by_bit(content) == hash_of(*pieces).digest()


def test_large_pieces_after_an_odd_start() -> None:
    """A stream that does not begin on a row's border is turned into place, for pieces of many strides too."""
    content = random.Random(2).randbytes(200_003)
    expected = hash_of(content).digest()
    for first in (1, 7, 159, 160, 161, 10_241, 100_001):
        assert expected == hash_of(content[:first], content[first:]).digest(), first


def test_digest_may_be_asked_for_in_between() -> None:
    """Asking for the digest changes nothing: the stream goes on."""
    running = hash_of(b"abc")
    assert running.base64() == running.base64()
    running.update(b"def")
    assert hash_of(b"abcdef").digest() == running.digest()


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda data: memoryview(data).cast("I")])
def test_any_buffer_is_taken(wrap) -> None:  # type: ignore[no-untyped-def]
    """bytes, bytearray and memoryviews of any item size are read as the bytes they hold."""
    content = random.Random(3).randbytes(4 * 5000)
    assert bit_by_bit(content) == hash_of(wrap(content)).digest()


def test_length_counts_beyond_four_gigabytes() -> None:
    """The length is a 64-bit figure: the hash of 5 GiB of zeros is its length alone."""
    running = QuickXorHash()
    running._length = 5 << 30  # hashing real ones takes four seconds and proves no more
    running.update(b"")
    assert bytes(12) + (5 << 30).to_bytes(8, "little") == running.digest()


@given(st.binary(max_size=700), st.lists(st.integers(0, 700), max_size=4))
def test_rows_of_parts_give_the_hash_of_the_whole(data: bytes, borders: list[int]) -> None:
    """Parts that were hashed apart combine into the hash of what they are parts of, wherever they were cut."""
    whole, joined = QuickXorHash(), QuickXorHash()
    whole.update(data)
    places = [0, *sorted(min(each, len(data)) for each in borders), len(data)]
    for start, stop in itertools.pairwise(places):
        part = QuickXorHash()
        part.update(data[start:stop])
        joined.append(part.row, stop - start)
    assert joined.base64() == whole.base64()
