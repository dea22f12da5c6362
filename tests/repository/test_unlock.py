"""`unlock`: what nobody holds any more goes, what somebody may hold stays."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import msgspec

from backup_core.repository import layout
from backup_core.repository.lock import HeldLock, remove_stale
from backup_core.repository.repository import Repository
from backup_core.testing.fake_clock import FakeClock

MINUTE = 60.0


def stored_lock(repository: Repository, held: HeldLock) -> str:
    return repository.save_unpacked("locks", msgspec.json.encode(held))


def dead_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def _locks_of_all_kinds(here: str) -> Iterator[tuple[HeldLock, bool]]:
    """Locks, and whether `unlock` may remove each at once."""
    time = "2026-11-02T08:00:00Z"
    yield HeldLock(time, False, here, "ann", dead_process()), True
    yield HeldLock(time, True, "drivekeep-run-0", "drivekeep", dead_process(), here), True
    yield HeldLock(time, True, "drivekeep-run-0", "drivekeep", os.getpid(), here), False
    yield HeldLock(time, True, here, "root", 1), False
    yield HeldLock(time, True, "elsewhere", "ann", dead_process()), False
    yield HeldLock(time, True, here, "ann", 0), False


def test_unlock_removes_what_nobody_holds(memory_repository: Repository, clock: FakeClock) -> None:
    """At once: locks of dead processes of this machine. After 30 minutes without a refresh: all others."""
    locks = list(_locks_of_all_kinds(socket.gethostname()))
    dead = {stored_lock(memory_repository, held) for held, is_dead in locks if is_dead}
    alive = {stored_lock(memory_repository, held) for held, is_dead in locks if not is_dead}
    assert set(remove_stale(memory_repository, clock)) == dead
    clock.advance(29 * MINUTE)
    assert remove_stale(memory_repository, clock) == []
    assert set(memory_repository.ids("locks")) == alive
    clock.advance(2 * MINUTE)
    assert set(remove_stale(memory_repository, clock)) == alive
    assert memory_repository.ids("locks") == []


def test_unlock_of_all_removes_all(memory_repository: Repository, clock: FakeClock) -> None:
    """Asked for all, `unlock` removes every lock, an empty one too, and leaves none of its own."""
    stored_lock(memory_repository, HeldLock(exclusive=True, hostname="elsewhere", pid=1))
    stored_lock(memory_repository, HeldLock(hostname=socket.gethostname(), pid=os.getpid()))
    memory_repository.store.put_new(layout.lock_name("e" * 64), b"")
    assert len(remove_stale(memory_repository, clock, all=True)) == 3
    assert memory_repository.ids("locks") == []
