"""Locks: who may work beside whom, and that a lock neither outlives its run nor is lost unnoticed."""

import os
import signal
import socket
import threading
from datetime import timedelta

import msgspec
import pytest

from backup_core.errors import Interrupted, Locked, Temporary
from backup_core.repository import layout, times
from backup_core.repository.crypto import Keys
from backup_core.repository.lock import HeldLock, RepositoryLock, remove_stale
from backup_core.repository.repository import Repository
from backup_core.storage.memory import MemoryStore
from backup_core.storage.store import Buffer
from backup_core.testing.fake_clock import FakeClock

MINUTE = 60.0


def put_lock(
    repository: Repository, held: HeldLock | None = None, *, hostname: str = "elsewhere", exclusive: bool = False
) -> str:
    held = held or HeldLock("2026-11-02T08:00:00Z", exclusive, hostname, "ann", 7)
    return repository.save_unpacked("locks", msgspec.json.encode(held))


def held_locks(repository: Repository) -> list[HeldLock]:
    return [
        msgspec.json.decode(repository.load_unpacked("locks", each), type=HeldLock) for each in repository.ids("locks")
    ]


def test_a_lock_says_who_works(memory_repository: Repository, clock: FakeClock) -> None:
    """While held there is one lock, under a host name that is no machine's; afterwards there is none."""
    with RepositoryLock(memory_repository, clock, "run-1", exclusive=True):
        (held,) = held_locks(memory_repository)
    assert held == HeldLock(
        times.to_text(clock.now() - timedelta(seconds=0.2)),
        True,
        "drivekeep-run-1",
        "drivekeep",
        os.getpid(),
        socket.gethostname(),
    )
    assert memory_repository.ids("locks") == []
    assert clock.sleeps == [0.2]


@pytest.mark.parametrize("hostname", ["elsewhere", "drivekeep-run-0"])
@pytest.mark.parametrize(("theirs", "ours"), [(False, False), (False, True), (True, False), (True, True)])
def test_who_may_work_beside_whom(
    memory_repository: Repository, clock: FakeClock, hostname: str, theirs: bool, ours: bool
) -> None:
    """Two non-exclusive locks bear each other; any other pair does not, and who is refused leaves nothing behind."""
    other = put_lock(memory_repository, hostname=hostname, exclusive=theirs)
    taking = RepositoryLock(memory_repository, clock, "run-1", exclusive=ours)
    if not theirs and not ours:
        with taking:
            assert len(memory_repository.ids("locks")) == 2
    else:
        with pytest.raises(Locked, match=hostname) as caught, taking:
            pass
        assert caught.value.exit_code == 11
        assert "drivekeep unlock" in str(caught.value)
    assert memory_repository.ids("locks") == [other]


def test_a_conflict_is_seen_before_anything_is_written(memory_repository: Repository, clock: FakeClock) -> None:
    """Where a foreign lock is in the way no lock is written, so nobody else is disturbed."""

    class NoWriting(MemoryStore):
        def put_new(self, name: str, data: Buffer) -> None:
            raise AssertionError("written")

    put_lock(memory_repository, exclusive=True)
    store = NoWriting(clock)
    store._objects = memory_repository.store._objects  # type: ignore[attr-defined]
    repository = Repository(store, memory_repository.keys, "0" * 64, 2, store)
    with pytest.raises(Locked), RepositoryLock(repository, clock, "run-1"):
        pass


def test_one_who_writes_at_the_same_time_is_seen(memory_repository: Repository) -> None:
    """A lock that appears between our writing and our second look makes us withdraw."""

    class Meanwhile(FakeClock):
        def sleep(self, seconds: float) -> None:
            put_lock(memory_repository, exclusive=True)

    with pytest.raises(Locked), RepositoryLock(memory_repository, Meanwhile(), "run-1"):
        pass
    assert [held.hostname for held in held_locks(memory_repository)] == ["elsewhere"]


def test_a_lock_taken_away_while_it_is_taken(memory_repository: Repository) -> None:
    """Whose lock is removed at once (`unlock --remove-all`) does not go on without one."""

    class Removing(FakeClock):
        def sleep(self, seconds: float) -> None:
            for lock_id in memory_repository.ids("locks"):
                memory_repository.store.delete(layout.lock_name(lock_id))

    with pytest.raises(Locked), RepositoryLock(memory_repository, Removing(), "run-1"):
        pass


def test_an_interrupted_wait_leaves_no_lock(memory_repository: Repository) -> None:
    """Who is stopped while taking a lock gives it back."""

    class Stopped(FakeClock):
        def sleep(self, seconds: float) -> None:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted), RepositoryLock(memory_repository, Stopped(), "run-1"):
        pass
    assert memory_repository.ids("locks") == []


def test_a_failed_run_gives_its_lock_back(memory_repository: Repository, clock: FakeClock) -> None:
    """However a run ends, its lock goes; and a store that fails then does not hide what the run had to say."""
    with pytest.raises(ZeroDivisionError), RepositoryLock(memory_repository, clock, "run-1"):
        raise ZeroDivisionError
    assert memory_repository.ids("locks") == []

    class NoDeleting(MemoryStore):
        def delete(self, name: str) -> None:
            raise Temporary("down")

    store = NoDeleting(clock)
    repository = Repository(store, Keys.random(), "0" * 64, 2, store)
    with pytest.raises(ZeroDivisionError), RepositoryLock(repository, clock, "run-1"):
        raise ZeroDivisionError


@pytest.mark.parametrize("exclusive", [False, True])
def test_locks_of_dead_runs_go_without_a_person(
    memory_repository: Repository, clock: FakeClock, exclusive: bool
) -> None:
    """A drivekeep lock that is older than 30 minutes by the store's clock is removed; one of restic never."""
    put_lock(memory_repository, hostname="drivekeep-dead", exclusive=True)
    clock.advance(30 * MINUTE)
    with pytest.raises(Locked), RepositoryLock(memory_repository, clock, "run-1", exclusive):
        pass
    clock.advance(1)
    with RepositoryLock(memory_repository, clock, "run-1", exclusive):
        assert [held.hostname for held in held_locks(memory_repository)] == ["drivekeep-run-1"]
    foreign = put_lock(memory_repository, exclusive=True)
    clock.advance(24 * 60 * MINUTE)
    with pytest.raises(Locked), RepositoryLock(memory_repository, clock, "run-1", exclusive):
        pass
    assert memory_repository.ids("locks") == [foreign]


def test_an_old_lock_of_restic_that_bears_ours_stays(memory_repository: Repository, clock: FakeClock) -> None:
    """Taking a lock removes no lock of restic, however old, also where it is in nobody's way."""
    foreign = put_lock(memory_repository)
    clock.advance(24 * 60 * MINUTE)
    with RepositoryLock(memory_repository, clock, "run-1"):
        assert foreign in memory_repository.ids("locks")
    assert memory_repository.ids("locks") == [foreign]


def test_this_machines_clock_does_not_make_a_lock_stale(clock: FakeClock) -> None:
    """Age is reckoned by the store's clock: one of ours that is hours ahead removes no lock of a living run."""
    store_clock = clock
    store = MemoryStore(store_clock)
    repository = Repository(store, Keys.random(), "0" * 64, 2, store)
    living = put_lock(repository, hostname="drivekeep-living")
    ahead = FakeClock(clock.now() + timedelta(hours=5))
    with RepositoryLock(repository, ahead, "run-1"):
        assert living in repository.ids("locks")
    assert remove_stale(repository, ahead) == []
    store_clock.advance(31 * MINUTE)
    behind = FakeClock(clock.now() - timedelta(hours=5))
    assert remove_stale(repository, behind) == [living]


def _put_raw(repository: Repository, content: bytes) -> str:
    name = layout.lock_name("e" * 64)
    repository.store.put_new(name, content)
    return name


def test_an_empty_lock_is_passed_over(memory_repository: Repository, clock: FakeClock) -> None:
    """An empty object, which a careless store leaves of a put that was cut short, locks nobody out."""
    _put_raw(memory_repository, b"")
    memory_repository.store.put_new("locks/README", b"about locks")
    with RepositoryLock(memory_repository, clock, "run-1", exclusive=True):
        pass


def test_a_lock_that_cannot_be_read_locks(memory_repository: Repository, clock: FakeClock) -> None:
    """A lock that cannot be read may be anybody's, so it is respected until `unlock` is asked."""
    name = _put_raw(memory_repository, b"torn")
    with pytest.raises(Locked, match="cannot be read"), RepositoryLock(memory_repository, clock, "run-1"):
        pass
    assert remove_stale(memory_repository, clock) == []
    clock.advance(31 * MINUTE)
    with pytest.raises(Locked), RepositoryLock(memory_repository, clock, "run-1"):
        pass
    assert remove_stale(memory_repository, clock) == [layout.last_part(name)]


def test_a_lock_that_is_no_lock_locks(memory_repository: Repository, clock: FakeClock) -> None:
    """Sealed JSON that is not a lock's is treated as one that cannot be read."""
    memory_repository.save_unpacked("locks", b"[1, 2]")
    with pytest.raises(Locked), RepositoryLock(memory_repository, clock, "run-1"):
        pass


def test_a_lock_given_back_while_we_look(memory_repository: Repository, clock: FakeClock) -> None:
    """A lock that is gone between listing and reading is no conflict."""

    class Vanishing(MemoryStore):
        def get(self, name: str) -> bytes:
            if name == gone:
                self.delete(name)
            return super().get(name)

    store = Vanishing(clock)
    repository = Repository(store, memory_repository.keys, "0" * 64, 2, store)
    gone = layout.lock_name(put_lock(repository, exclusive=True))
    with RepositoryLock(repository, clock, "run-1"):
        pass


def test_a_hangup_does_not_end_the_run(memory_repository: Repository, clock: FakeClock) -> None:
    """SIGHUP is ignored while a lock is held, and means again what it meant before."""
    got: list[int] = []
    former = signal.signal(signal.SIGHUP, lambda number, frame: got.append(number))
    try:
        with RepositoryLock(memory_repository, clock, "run-1"):
            os.kill(os.getpid(), signal.SIGHUP)
        assert got == []
        os.kill(os.getpid(), signal.SIGHUP)
        assert got == [signal.SIGHUP]
        put_lock(memory_repository, exclusive=True)
        with pytest.raises(Locked), RepositoryLock(memory_repository, clock, "run-1"):
            pass
        os.kill(os.getpid(), signal.SIGHUP)
        assert len(got) == 2
    finally:
        signal.signal(signal.SIGHUP, former)


def test_other_threads_may_lock(memory_repository: Repository, clock: FakeClock) -> None:
    """Where signals cannot be changed (any thread but the main one) the lock works all the same."""
    held: list[list[str]] = []

    def work() -> None:
        with RepositoryLock(memory_repository, clock, "run-1"):
            held.append(memory_repository.ids("locks"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [len(ids) for ids in held] == [1]
    assert memory_repository.ids("locks") == []
