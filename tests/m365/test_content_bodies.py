"""Bodies of simulated files: in memory, on disk, made up."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.graph.quickxorhash import QuickXorHash
from backup_core.testing.m365.bodies import BytesBody, FileBody, SyntheticBody, pieces, sha256

BLOCK = SyntheticBody.BLOCK_BYTES


def hash_of(data: bytes) -> str:
    digest = QuickXorHash()
    digest.update(data)
    return digest.base64()


@pytest.mark.parametrize(
    "size", [0, 1, 159, 160, 161, 4096, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 7, 3 * BLOCK + 12345]
)
def test_the_hash_of_a_made_up_body_is_that_of_its_bytes(size: int) -> None:
    """The shortcut through the hash's linearity agrees with hashing every byte."""
    body = SyntheticBody(size, seed=9)
    data = body.read(0, size)
    assert len(data) == size == body.size
    assert body.quickxor() == hash_of(data)


@given(st.integers(0, 3 * BLOCK), st.integers(0, 3 * BLOCK), st.integers(0, 100))
def test_any_part_of_a_made_up_body_is_the_same_bytes(start: int, length: int, seed: int) -> None:
    """A range read by itself equals that range of the whole."""
    body = SyntheticBody(3 * BLOCK - 5, seed)
    assert body.read(start, length) == body.read(0, body.size)[start : start + length]


def test_a_body_of_250_gigabytes_costs_nothing_until_it_is_read() -> None:
    """Size, hash and any range of a huge body come at once."""
    body = SyntheticBody(250 * 10**9, seed=1)
    assert body.size == 250 * 10**9 and len(body.quickxor()) == 28
    assert len(body.read(200 * 10**9, 1000)) == 1000
    assert body.read(250 * 10**9 - 3, 10) == body.read(250 * 10**9 - 3, 3)
    assert body.read(250 * 10**9, 10) == b""


def test_made_up_bodies_share_no_content() -> None:
    """Two seeds, and two stretches of one body, have no KiB in common; the bytes do not repeat."""
    bodies = [SyntheticBody(2 * BLOCK, seed) for seed in range(3)]
    parts = [body.read(at, 1024) for body in bodies for at in range(0, 2 * BLOCK, 1024)]
    digests = {hashlib.sha256(part).digest() for part in parts}
    assert len(digests) == len(parts)


def test_a_file_of_the_machine_is_served_as_it_is(tmp_path: Path) -> None:
    """Bytes and hash are the file's; what was appended later is not part of the body."""
    path = tmp_path / "file"
    data = bytes(range(256)) * 8000
    path.write_bytes(data)
    body = FileBody(path, len(data))
    with path.open("ab") as file:
        file.write(b"more")
    assert b"".join(pieces(body)) == data
    assert body.read(1_000_000, 5000) == data[1_000_000:1_005_000]
    assert body.read(len(data) - 2, 10) == data[-2:] and body.read(len(data) + 1, 10) == b""
    assert body.quickxor() == hash_of(data) == BytesBody(data).quickxor()
    assert sha256(body) == hashlib.sha256(data).hexdigest()
