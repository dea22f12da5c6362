"""Immutable objects in which sealed leaves lie side by side, read by ranges. What a leaf holds is its map's matter."""

import os
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from typing import NamedTuple

from backup_core.errors import AlreadyExists, Damaged, NotFound
from backup_core.repository.crypto import Keys
from backup_core.repository.layout import segment_name
from backup_core.storage.store import Store

SEGMENT_BYTES = 16 << 20  # an object is closed above this: bounds memory while a whole map is rewritten
# Leaves of one map often lie near each other: a gap of 32 KiB costs less time than a second request. With gaps of 4 KiB
# 1,000 scattered changes among a million items read half as much in twice as many requests.
GAP_BYTES = 32 << 10
RANGE_BYTES = 4 << 20
LABEL_BYTES, ID_BYTES = 4, 8


class StateDamaged(Damaged):
    """A part of the drive state is not what was written: use an earlier head, or enumerate the drive again."""

    reason = "state-damaged"


class LeafPlace(NamedTuple):
    """Where a leaf lies. `segment` counts in `Segments.ids`; a length of 0 is an empty leaf that lies nowhere."""

    segment: int
    offset: int
    length: int


NOWHERE = LeafPlace(0, 0, 0)


class _Range(NamedTuple):
    segment: bytes
    offset: int
    length: int
    places: list[LeafPlace]


class Segments:
    """Reading may be done by many threads at once. Numbers of segments stay what they are while this lives.

    `pool`: threads in which the ranges of one call are read at once, not those from which `read` is called; without one
    they are read one after another, which is best for a local folder.
    """

    def __init__(self, store: Store, keys: Keys, ids: Iterable[bytes] = (), pool: Executor | None = None) -> None:
        self.ids = list(ids)
        self._store, self._keys, self._pool = store, keys, pool
        self._open: bytearray | None = None  # the last of `ids`, not stored yet
        self._lock = threading.Lock()

    def read(self, label: bytes, wanted: Mapping[LeafPlace, int]) -> dict[LeafPlace, bytes]:
        """What the leaves hold. `wanted`: place -> lower bound, under which the leaf was written. StateDamaged."""
        found: dict[LeafPlace, bytes] = {}
        ranges = _joined(self.ids, wanted)
        chunks = self._pool.map(self._read_range, ranges) if self._pool else map(self._read_range, ranges)
        for span, data in zip(ranges, chunks, strict=True):
            for place in span.places:
                sealed = data[place.offset - span.offset :][: place.length]
                found[place] = self._opened(sealed, _proof(label, span.segment, wanted[place]))
        return found

    def write(self, label: bytes, start: int, plain: bytes) -> LeafPlace:
        """Put a leaf into the open segment. It can be read at once, and is stored when `close` has returned."""
        with self._lock:
            if self._open is None:
                # Random, not counted: a run that died may have used the next number already.
                self.ids.append(os.urandom(ID_BYTES))
                self._open = bytearray()
            sealed = self._keys.seal(_proof(label, self.ids[-1], start) + plain)
            place = LeafPlace(len(self.ids) - 1, len(self._open), len(sealed))
            self._open += sealed
            full = len(self._open) >= SEGMENT_BYTES
        if full:
            self.close()
        return place

    def close(self) -> None:
        """Store what is open, if anything is."""
        with self._lock:
            if self._open is not None:
                _put_own(self._store, segment_name(self.ids[-1].hex()), self._open)
                self._open = None

    def _read_range(self, span: _Range) -> memoryview:
        with self._lock:
            if self._open is not None and span.segment == self.ids[-1]:
                return memoryview(bytes(self._open[span.offset : span.offset + span.length]))
        try:
            return memoryview(self._store.get_range(segment_name(span.segment.hex()), span.offset, span.length))
        except (NotFound, Damaged) as error:
            raise _damaged(f"The object {segment_name(span.segment.hex())} is missing or too short.") from error

    def _opened(self, sealed: memoryview, proof: bytes) -> bytes:
        try:
            plain = self._keys.open(sealed)
        except Damaged as error:
            raise _damaged(error.why) from error
        if not plain.startswith(proof):
            raise _damaged("It was written for another place, or at another time.")
        return plain[len(proof) :]


def _proof(label: bytes, segment: bytes, start: int) -> bytes:
    """The first 20 bytes of a leaf: what tells it from any other that the same keys have sealed."""
    return label + segment + start.to_bytes(8, "big")


def _joined(ids: list[bytes], wanted: Iterable[LeafPlace]) -> list[_Range]:
    ranges: list[_Range] = []
    for place in sorted(wanted):
        if place.segment >= len(ids):
            raise _damaged("It names an object that its head does not know.")
        end = place.offset + place.length
        last = ranges[-1] if ranges else None
        if (
            last is not None
            and last.segment == ids[place.segment]
            and place.offset - (last.offset + last.length) <= GAP_BYTES
            and end - last.offset <= RANGE_BYTES
        ):
            last.places.append(place)
            ranges[-1] = last._replace(length=max(last.length, end - last.offset))
        else:
            ranges.append(_Range(ids[place.segment], place.offset, place.length, [place]))
    return ranges


def _put_own(store: Store, name: str, data: bytearray) -> None:
    """Store under a name that nobody else makes up: where it is there already, our own earlier try succeeded."""
    try:
        store.put_new(name, data)
    except AlreadyExists:
        if store.get(name) != data:
            raise


def _damaged(why: str) -> StateDamaged:
    return StateDamaged(
        "A part of the drive state cannot be used.",
        why=why,
        remedy="Run the backup again: it goes back to an earlier state, or lists the whole drive anew.",
    )
