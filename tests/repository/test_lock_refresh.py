"""A lock that is held for long: refreshed without a gap, and never lost unnoticed."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
import pytest

from backup_core.errors import Locked, Temporary
from backup_core.repository import layout, lock, times
from backup_core.repository.lock import HeldLock, RepositoryLock
from backup_core.repository.repository import Repository
from backup_core.storage.memory import MemoryStore
from backup_core.storage.store import Buffer
from backup_core.testing.fake_clock import FakeClock

MINUTE = 60.0


def test_a_refresh_stores_the_new_before_it_deletes_the_old(memory_repository: Repository, clock: FakeClock) -> None:
    """There is a lock at every moment; after a refresh there is one, with the new time."""
    fewest: list[int] = []

    class Watching(MemoryStore):
        def delete(self, name: str) -> None:
            super().delete(name)
            fewest.append(len(list(self.list(layout.LOCKS))))

    store = Watching(clock)
    repository = Repository(store, memory_repository.keys, "0" * 64, 2, store)
    with RepositoryLock(repository, clock, "run-1") as held:
        before = repository.ids("locks")
        clock.advance(5 * MINUTE)
        held.refresh()
        after = repository.ids("locks")
        assert len(after) == 1
        assert after != before
        renewed = msgspec.json.decode(repository.load_unpacked("locks", after[0]), type=HeldLock)
        assert renewed.time == times.to_text(clock.now())
        assert fewest == [1]


def test_a_refresh_that_fails_loses_nothing(memory_repository: Repository, clock: FakeClock) -> None:
    """Whatever fails in a refresh, the former lock stays, the next refresh makes up for it, and the end removes all."""
    fail: set[str] = set()

    class Failing(MemoryStore):
        def put_new(self, name: str, data: Buffer) -> None:
            if "put" in fail:
                raise Temporary("down")
            super().put_new(name, data)

        def delete(self, name: str) -> None:
            if "delete" in fail:
                raise Temporary("down")
            super().delete(name)

    store = Failing(clock)
    repository = Repository(store, memory_repository.keys, "0" * 64, 2, store)
    with RepositoryLock(repository, clock, "run-1") as held:
        for what, count in (("put", 1), ("delete", 2), ("delete", 3)):
            fail.add(what)
            with pytest.raises(Temporary):
                held.refresh()
            fail.clear()
            assert len(repository.ids("locks")) == count
        held.refresh()
        assert len(repository.ids("locks")) == 1
        fail.add("delete")
        with pytest.raises(Temporary):
            held.refresh()
        fail.clear()
    assert repository.ids("locks") == []


@pytest.mark.parametrize("asleep", [False, True])
def test_a_lock_that_could_not_be_kept_up_is_noticed(memory_repository: Repository, asleep: bool) -> None:
    """After 22.5 minutes without a refresh the run learns it, also where the machine slept, and for good."""

    class Machine(FakeClock):
        def monotonic(self) -> float:
            return 0.0 if asleep else super().monotonic()

    clock = Machine()
    with RepositoryLock(memory_repository, clock, "run-1") as held:
        for _ in range(10):
            clock.advance(22 * MINUTE)
            held.ensure()
            held.refresh()
        clock.advance(23 * MINUTE)
        with pytest.raises(Locked) as caught:
            held.ensure()
        assert caught.value.reason == "lock-lost"
        held.refresh()
        with pytest.raises(Locked):
            held.ensure()


def test_a_refresh_that_comes_too_late_does_not_heal(memory_repository: Repository, clock: FakeClock) -> None:
    """A refresh after the gap does not hide it: others may have taken the lock for dead in between."""
    with RepositoryLock(memory_repository, clock, "run-1") as held:
        clock.advance(23 * MINUTE)
        held.refresh()
        with pytest.raises(Locked):
            held.ensure()


def test_a_clock_that_is_set_back_hides_nothing(memory_repository: Repository) -> None:
    """Time that runs back on the wall is still time: the other clock counts it."""

    class SetBack(FakeClock):
        back = timedelta(0)

        def now(self) -> datetime:
            return super().now() - self.back

    clock = SetBack()
    with RepositoryLock(memory_repository, clock, "run-1") as held:
        clock.back = timedelta(hours=3)
        clock.advance(23 * MINUTE)
        with pytest.raises(Locked):
            held.ensure()


def _wait_until(true: Callable[[], bool]) -> bool:
    return any(true() or threading.Event().wait(0.005) for _ in range(2000))


def test_a_thread_keeps_the_lock_fresh(
    memory_repository: Repository, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the lock is held a thread renews it, goes on after a failure, and ends with it."""
    monkeypatch.setattr(lock, "REFRESH_SECONDS", 0.01)
    monkeypatch.setattr(lock, "RETRY_SECONDS", 0.001)
    before = set(threading.enumerate())
    seen: set[str] = set()
    with RepositoryLock(memory_repository, clock, "run-1"):
        assert _wait_until(lambda: bool(seen.update(memory_repository.ids("locks")) or len(seen) > 2))
        with monkeypatch.context() as failing:
            failed = threading.Event()

            def fail(*_: object) -> str:
                failed.set()
                raise Temporary("down")

            failing.setattr(memory_repository, "save_unpacked", fail)
            assert failed.wait(10)
        seen.clear()
        assert _wait_until(lambda: bool(seen.update(memory_repository.ids("locks")) or len(seen) > 2))
    assert memory_repository.ids("locks") == []
    assert set(threading.enumerate()) <= before
