"""Segments: leaves are stored once, under a name of our own."""

import pytest

from backup_core.drive_state import segments
from backup_core.drive_state.segments import Segments
from backup_core.errors import AlreadyExists, Temporary
from backup_core.repository.crypto import Keys
from backup_core.repository.layout import SEGMENTS
from backup_core.storage.memory import MemoryStore

KEYS = Keys(b"e" * 32, b"k" * 16, b"r" * 16)


def test_a_segment_whose_reply_was_lost_is_our_own() -> None:
    """A second put of the same bytes is success; other bytes under our name are not."""

    class Lossy(MemoryStore):
        failures = 1

        def put_new(self, name: str, data) -> None:
            super().put_new(name, data)
            if self.failures:
                self.failures -= 1
                raise Temporary("The reply was lost.")

    store = Lossy()
    some = Segments(store, KEYS)
    place = some.write(b"item", 0, b"records")
    with pytest.raises(Temporary):
        some.close()
    some.close()
    assert Segments(store, KEYS, some.ids).read(b"item", {place: 0}) == {place: b"records"}

    store.put_new(SEGMENTS + (b"\7" * 8).hex(), b"somebody else's")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments.os, "urandom", lambda count: b"\7" * count)
        some.write(b"item", 0, b"records")
    with pytest.raises(AlreadyExists):
        some.close()
