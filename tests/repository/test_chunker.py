"""Where files are cut: the same place for ever, whatever pieces they come in."""

import hashlib
import importlib.util
import random
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import DrivekeepError
from backup_core.repository.chunker import MAX_BYTES, MIN_BYTES, WINDOW_BYTES, cut

STREAM = random.Random(11).randbytes(40 << 20)
PINNED = [
    772395, 3001763, 1158432, 667266, 1518695, 692459, 1737662, 867402, 801858, 2494989, 607692, 697659,
    1039383, 629591, 2847758, 1030109, 1388451, 579354, 1236669, 978273, 773912, 735667, 739631, 1087901,
    564951, 824978, 3201122, 1812277, 664032, 1189471, 1021082, 545008, 2385194, 885153, 764801,
]  # fmt: skip


def lengths(chunks: Iterable[memoryview]) -> list[int]:
    return [len(chunk) for chunk in chunks]


def cut_in_windows(data: bytes, sizes: Iterable[int]) -> list[int]:
    """The lengths of the chunks of `data`, cut in windows of these sizes; the last size counts for all further ones."""
    found: list[int] = []
    at, size, more = 0, WINDOW_BYTES, iter(sizes)
    while True:
        size = next(more, size)
        window = memoryview(data)[at : at + size]
        at_end = at + len(window) == len(data)
        found += lengths(cut(window, at_end))
        at = sum(found)
        if at_end:
            return found


def test_cuts_stay_for_ever() -> None:
    """The cuts of a fixed stream are the pinned ones: others would store every file again."""
    assert hashlib.sha256(STREAM).hexdigest()[:16] == "159a22358d39219c"
    assert lengths(cut(memoryview(STREAM), at_end=True)) == PINNED


@given(st.integers(0, len(STREAM)), st.lists(st.integers(MAX_BYTES + 1, 3 * WINDOW_BYTES), max_size=5))
def test_windows_do_not_matter(length: int, sizes: list[int]) -> None:
    """A file cut window by window, of any sizes above the longest chunk, is cut as the whole file would be."""
    data = STREAM[:length]
    assert cut_in_windows(data, sizes) == lengths(cut(memoryview(data), at_end=True))


def test_chunks_keep_their_bounds() -> None:
    """Chunks have at least 512 KiB (the last one aside) and at most 8 MiB, and cover everything, without cuts too."""
    for data in (STREAM, bytes(20 << 20)):
        found = lengths(cut(memoryview(data), at_end=True))
        assert sum(found) == len(data)
        assert min(found[:-1]) >= MIN_BYTES
        assert max(found) <= MAX_BYTES
    assert max(found) == MAX_BYTES


def test_chunks_are_views_of_the_window() -> None:
    """No byte is copied: the chunks are the window's own memory, in order."""
    window = memoryview(bytearray(STREAM[:WINDOW_BYTES]))
    chunks = cut(window, at_end=True)
    window[0] ^= 1
    assert chunks[0][0] == window[0]
    assert b"".join(chunks) == bytes(window)


@pytest.mark.parametrize("length", [1, 1000, MIN_BYTES])
def test_a_small_file_is_one_chunk(length: int) -> None:
    """A file up to the smallest chunk is one blob, an empty one none."""
    assert lengths(cut(memoryview(STREAM)[:length], at_end=True)) == [length]
    assert cut(memoryview(b""), at_end=True) == []


def test_a_window_always_brings_something() -> None:
    """A full window that is not the end holds at least one final chunk, also where nothing can be cut."""
    assert lengths(cut(memoryview(bytes(WINDOW_BYTES)), at_end=False)) == [MAX_BYTES]
    assert lengths(cut(memoryview(bytes(MAX_BYTES + 1)), at_end=False)) == [MAX_BYTES]


def test_an_insertion_moves_only_near_cuts() -> None:
    """Bytes put in at the front leave the later chunks as they are, so that they are not stored again."""

    def ids(data: bytes) -> set[bytes]:
        return {hashlib.sha256(chunk).digest() for chunk in cut(memoryview(data), at_end=True)}

    before, after = ids(STREAM), ids(b"a new line\n" + STREAM)
    assert len(after - before) <= 2


def test_without_its_compiled_half_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with the slow fastcdc is refused at once, not noticed after a day of backing up."""
    spec = importlib.util.find_spec("backup_core.repository.chunker")
    assert spec is not None
    assert spec.loader is not None
    monkeypatch.setitem(sys.modules, "fastcdc.fastcdc_cy", None)
    with pytest.raises(DrivekeepError, match="compiled half"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
