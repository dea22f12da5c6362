"""Packs as bytes: what a header says is what is in the pack, or the pack is called damaged."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Damaged
from backup_core.repository import pack as pack_module
from backup_core.repository.compression import compress
from backup_core.repository.crypto import Keys
from backup_core.repository.pack import (
    HEADER_ROOM,
    PackedBlob,
    append_header,
    check_pack,
    header_length,
    open_blob,
    read_header,
)

KEYS = Keys(bytes(range(32)), bytes(range(32, 48)), bytes(range(48, 64)))
CONTENTS = st.lists(st.tuples(st.binary(max_size=400), st.booleans(), st.booleans()), max_size=8)


def packed(contents: list[tuple[bytes, bool, bool]]) -> tuple[memoryview, list[PackedBlob]]:
    """A pack of (plain bytes, tree?, compressed?)."""
    out, at, blobs = memoryview(bytearray(HEADER_ROOM + 1000 * len(contents))), 0, []
    for plain, tree, small in contents:
        raw = len(plain) if small else 0
        end = KEYS.seal_into(compress(plain, 1) if raw else plain, out, at)
        blobs.append(PackedBlob(hashlib.sha256(plain).digest(), tree, at, end - at, raw))
        at = end
    return out[: append_header(KEYS, blobs, out, at)], blobs


def checked(pack: memoryview, blobs: list[PackedBlob]) -> None:
    check_pack(KEYS, pack, blobs, memoryview(bytearray(1000)))


@given(CONTENTS)
def test_a_pack_comes_back(contents: list[tuple[bytes, bool, bool]]) -> None:
    """The header lists what was packed, of both kinds, compressed or not, and every blob opens to its bytes."""
    if not contents:
        return
    pack, blobs = packed(contents)
    assert read_header(KEYS, pack, len(pack)) == blobs
    assert read_header(KEYS, pack[-header_length(pack[-4:]) :], len(pack)) == blobs
    plains = [open_blob(KEYS, pack[b.offset : b.offset + b.length], b.raw_length) for b in blobs]
    assert plains == [plain for plain, _, _ in contents]
    checked(pack, blobs)


@given(st.data())
def test_any_changed_byte_of_a_pack_is_found(data: st.DataObject) -> None:
    """Checking a pack finds a change of any byte of it, and a cut at any place."""
    pack, blobs = packed([(b"first " * 30, False, True), (b"second", False, False)])
    at = data.draw(st.integers(0, len(pack) - 1))
    for wrong in (memoryview(bytes(pack[:at])), memoryview(bytes(pack[at:]))[1:], pack):
        if wrong is pack:
            pack[at] ^= data.draw(st.integers(1, 255))
        with pytest.raises(Damaged):
            checked(wrong, blobs)


def test_a_check_compares_with_what_should_be_there() -> None:
    """A pack that is sound in itself and holds something else than it should is found before it is stored."""
    contents = [(b"first", False, False), (b"second" * 9, False, True)]
    pack, blobs = packed(contents)
    other_pack, _ = packed([(b"other", False, False), contents[1]])
    with pytest.raises(Damaged):
        checked(other_pack, blobs)
    lying = [PackedBlob(hashlib.sha256(b"lie").digest(), b.tree, b.offset, b.length, b.raw_length) for b in blobs]
    out = memoryview(bytearray(HEADER_ROOM))
    start = blobs[-1].offset + blobs[-1].length
    out[:start] = pack[:start]
    with pytest.raises(Damaged, match="not what its id says"):
        checked(out[: append_header(KEYS, lying, out, start)], lying)


def test_a_wrong_length_of_the_plain_bytes_is_found() -> None:
    """The unpacked length that header and index tell is neither too small nor too large."""
    plain = b"text " * 50
    sealed = KEYS.seal(compress(plain, 1))
    assert open_blob(KEYS, sealed, len(plain)) == plain
    for wrong in (len(plain) - 1, len(plain) + 1):
        with pytest.raises(Damaged):
            open_blob(KEYS, sealed, wrong)


@pytest.mark.parametrize(
    ("entries", "length"),
    [
        (b"", 0),
        (b"", 1 << 31),
        (bytes(37), 500),
        (bytes(36), None),
        (bytes(38), None),
        (b"\x02" + bytes(39), None),
        (b"\x04" + bytes(40), None),
        (b"\x00\x01" + bytes(35), None),
    ],
)
def test_a_strange_header_is_damage(entries: bytes, length: int | None) -> None:
    """A header cut short, of an impossible length, with an unknown kind or with sums that do not fit is damage."""
    header = KEYS.seal(entries)
    tail = header + (len(header) if length is None else length).to_bytes(4, "little")
    for wrong in (tail, b"", b"\0\0"):
        with pytest.raises(Damaged):
            read_header(KEYS, wrong, len(wrong))


def test_the_largest_header_fits_its_room() -> None:
    """A pack with as many blobs as are allowed stays far below restic's limit, within the room kept for its header."""
    blobs = [PackedBlob(bytes(32), True, 0, 40, 9)] * pack_module.BLOBS_MAX
    out = memoryview(bytearray(HEADER_ROOM))
    assert append_header(KEYS, blobs, out, 0) == HEADER_ROOM
    assert header_length(out) == HEADER_ROOM < 16 << 20
