"""A run that dies at any write, at any read, or in the middle of a download leaves a sound repository, and is finished
by the next one.
"""

import random
from typing import Any

import pytest
from support.world import World

from backup_core.repository import layout
from backup_core.storage.memory import MemoryStore
from backup_core.storage.store import Buffer, Store


class Crash(BaseException):
    """The process is gone: nothing handles this."""


class CrashingStore(Store):
    """Dies at the n-th call that changes something, before or after its effect; then nothing works any more."""

    def __init__(self, inner: Store, at: int, after_effect: bool) -> None:
        self.inner, self.left, self.after_effect = inner, at, after_effect
        self.dead = False
        self.names: list[str] = []

    def put_new(self, name: str, data: Buffer) -> None:
        self._change(name, lambda: self.inner.put_new(name, data))

    def delete(self, name: str) -> None:
        if self.dead:
            return  # what `finally` blocks would do: a killed process does not
        self._change(name, lambda: self.inner.delete(name))

    def _change(self, name: str, effect: Any) -> None:
        if self.dead:
            raise Crash
        self.left -= 1
        if self.left == 0 and not self.after_effect:
            self.dead = True
            raise Crash
        effect()
        self.names.append(name)
        if self.left == 0:
            self.dead = True
            raise Crash

    def get(self, name: str) -> bytes:
        return self._alive().get(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        return self._alive().get_range(name, offset, length)

    def size(self, name: str) -> int:
        return self._alive().size(name)

    def list(self, prefix: str = "") -> Any:
        return self._alive().list(prefix)

    def _alive(self) -> Store:
        if self.dead:
            raise Crash
        return self.inner


def furnish(drive: Any, seed: int) -> None:
    content = random.Random(seed)
    for number in range(6):
        drive.put_file(f"/papers/{number}.txt", content.randbytes(2_000))
    drive.put_file("/big.bin", content.randbytes(6 << 20))
    drive.make_folder("/empty")


def change(drive: Any, seed: int) -> None:
    content = random.Random(seed)
    drive.put_file("/papers/1.txt", content.randbytes(3_000))
    drive.rename("/papers", "letters")
    drive.move("/letters/2.txt", "/empty")
    drive.delete("/letters/3.txt")
    drive.put_file("/new/deep/file.bin", content.randbytes(1 << 20))


def writes_of_a_run(fresh: World, inner: MemoryStore) -> int:
    """How many changes an undisturbed run makes to a copy of the store."""
    counting = CrashingStore(copy_of(inner), 1 << 30, False)
    fresh.store = counting
    fresh.back_up()
    return len(counting.names)


def copy_of(store: MemoryStore) -> MemoryStore:
    copy = MemoryStore(store.clock if hasattr(store, "clock") else None)
    for entry in store.list():
        copy.put_new(entry.name, store.get(entry.name))
    return copy


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("first", [True, False], ids=["first-backup", "delta"])
def test_killed_at_every_write(fresh: World, first: bool, after_effect: bool) -> None:
    """Whichever write a run dies at, every snapshot is whole, and the next run saves everything."""
    inner = MemoryStore(fresh.clock)
    fresh.store = inner
    furnish(fresh.drive, 1)
    old: dict[str, Any] = {}
    fresh.open_repository()
    if not first:
        old_summary = fresh.back_up()
        old = {str(old_summary.snapshot_id): fresh.expected()}
        change(fresh.drive, 2)
    total = writes_of_a_run(fresh, inner)
    assert total > 8
    for at in range(1, total + 1):
        crashed = copy_of(inner)
        fresh.store = CrashingStore(crashed, at, after_effect)
        with pytest.raises(Crash):
            fresh.back_up()
        fresh.store = crashed
        for entry in crashed.list(layout.SNAPSHOTS):
            snapshot = layout.last_part(entry.name)
            assert fresh.contents(snapshot) == old.get(snapshot, fresh.expected())
        fresh.m365.log.clear()
        summary = fresh.back_up()
        fresh.assert_same(summary)
        assert summary.complete


def test_killed_again_and_again(fresh: World) -> None:
    """Ten kills in a row cost time and no more: what was saved once is not fetched again, and the end is complete."""
    inner = MemoryStore(fresh.clock)
    fresh.store = inner
    furnish(fresh.drive, 3)
    fresh.open_repository()
    kills = 0
    for at in range(2, 60, 3):
        fresh.store = CrashingStore(inner, at, True)
        try:
            fresh.back_up()
        except Crash:
            kills += 1
            continue
        break
    assert kills >= 3
    fresh.store = inner
    fresh.m365.log.clear()
    fresh.assert_same(fresh.back_up())
    assert not fresh.downloads()
