"""Locks: small objects that say who works on the repository, as restic takes, refreshes and respects them.

A non-exclusive lock (backup, restore, list) suffers others of its kind; an exclusive one (prune, key remove) suffers
none. To take one: look for conflicts, write, wait, look again; who sees a conflict then withdraws. So two who write at
the same time may both withdraw, but never both hold.

Of what lies in `locks/`:

    empty object                          passed over; a put that was cut short, which a careful store does not show
    object that cannot be read            counts as somebody's exclusive lock, as for restic since 0.15
    drivekeep's, not refreshed for 30 min its run is dead: removed while a lock is taken
    restic's, however old                 respected; only `unlock` removes it

Age is reckoned by the store's own clock: the age of another lock is how much older it is, in the listing, than ours.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NoReturn

import msgspec

from backup_core.clock import Clock
from backup_core.errors import Damaged, DrivekeepError, Locked, NotFound
from backup_core.repository import layout, times
from backup_core.repository.repository import Repository

_log = logging.getLogger(__name__)

STALE_SECONDS = 30 * 60  # restic's rule for `unlock`
REFRESH_SECONDS = 5 * 60
RETRY_SECONDS = 60  # after a refresh that failed
LOST_SECONDS = 22.5 * 60  # leaves 7.5 minutes to stop before anybody may call the lock stale (restic since 0.15)
WAIT_SECONDS = 0.2  # between writing and the second look, so that two writers see each other

# No machine has such a name: `restic unlock` sends SIGHUP to the process of a lock that carries its own machine's name.
_OUR_HOSTS = "drivekeep-"


class HeldLock(msgspec.Struct, frozen=True):
    """What a lock says. `machine` is ours alone: the host that really holds it, so that `unlock` can see a dead run."""

    time: str = ""
    exclusive: bool = False
    hostname: str = ""
    username: str = ""
    pid: int = 0
    machine: str = ""

    @property
    def is_drivekeep(self) -> bool:
        return self.hostname.startswith(_OUR_HOSTS)

    def is_dead(self) -> bool:
        """Whether its process ran on this machine and is gone. False where that cannot be told."""
        if os.name != "posix" or self.pid <= 0 or socket.gethostname() not in (self.hostname, self.machine):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # alive, but somebody else's
        return False


_UNREADABLE = HeldLock(exclusive=True, hostname="an unknown machine", username="somebody")


class RepositoryLock:
    """`with RepositoryLock(...) as lock:` holds a lock on the repository, refreshed by a thread. Locked.

    A run that goes on for long calls `lock.ensure()` before it relies on the lock. SIGHUP is ignored meanwhile, where
    the lock is taken in the main thread (elsewhere Python cannot change it).
    """

    def __init__(self, repository: Repository, clock: Clock, run_id: str, exclusive: bool = False) -> None:
        self._repository, self._clock = repository, clock
        self._host, self._exclusive = _OUR_HOSTS + run_id, exclusive
        self._names: list[str] = []  # of our lock objects, newest last: for a moment of each refresh there are two
        self._refreshed_at = (clock.now(), clock.monotonic())
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name="lock-refresh", daemon=True)
        self._at_exit = contextlib.ExitStack()

    def __enter__(self) -> "RepositoryLock":
        with contextlib.ExitStack() as undo:
            undo.enter_context(_sighup_ignored())
            undo.callback(self._remove)
            self._take()
            self._thread.start()
            undo.callback(self._end_thread)
            self._at_exit = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._at_exit.close()

    def ensure(self) -> None:
        """Locked where the lock was not refreshed for so long that others may take it for dead, and may have acted."""
        if self._lost or self._seconds_since_refresh() > LOST_SECONDS:
            raise Locked(
                "The lock on the repository could not be kept up.",
                why=f"For more than {LOST_SECONDS / 60:g} minutes it was not refreshed: others may think it dead.",
                remedy="Run the same command again: it goes on with what was saved.",
                reason="lock-lost",
            )

    def refresh(self) -> None:
        """Store a new lock object, then delete the former. Whatever the store raises, the former lock stays."""
        if self._seconds_since_refresh() > LOST_SECONDS:
            self._lost = True  # asleep for long, say: what others did meanwhile is not undone by a new lock
        self._write()
        while len(self._names) > 1:
            self._repository.store.delete(self._names[0])
            del self._names[0]

    def _take(self) -> None:
        for _name, _modified, held in _held(self._repository):
            if self._conflicts(held) and not held.is_drivekeep:
                _refuse(held)
        self._write()
        self._clock.sleep(WAIT_SECONDS)
        now, others = _look(self._repository, self._names[-1])
        if now is None:
            raise Locked("The lock was removed while it was being taken.", remedy="Run the same command again.")
        for name, modified, held in others:
            if held.is_drivekeep and now - modified > STALE_SECONDS:
                _log.info("removing the lock of a dead run: %s", held.hostname)
                self._repository.store.delete(name)
            elif self._conflicts(held):
                _refuse(held)

    def _conflicts(self, held: HeldLock) -> bool:
        return self._exclusive or held.exclusive

    def _write(self) -> None:
        before = (self._clock.now(), self._clock.monotonic())
        self._names.append(_write(self._repository, self._clock, self._host, self._exclusive))
        self._refreshed_at = before

    def _seconds_since_refresh(self) -> float:
        """By both clocks: the monotonic one stands still while a machine sleeps, the other may be set back."""
        then, ticks = self._refreshed_at
        return max((self._clock.now() - then).total_seconds(), self._clock.monotonic() - ticks)

    def _keep_fresh(self) -> None:
        wait = float(REFRESH_SECONDS)
        while not self._ended.wait(wait):
            try:
                self.refresh()
                wait = REFRESH_SECONDS
            except DrivekeepError as error:
                _log.warning("The lock could not be refreshed: %s", error)
                wait = RETRY_SECONDS

    def _end_thread(self) -> None:
        self._ended.set()
        self._thread.join()

    def _remove(self) -> None:
        """Never raises: what the run itself has to say matters more."""
        for name in self._names:
            try:
                self._repository.store.delete(name)
            except DrivekeepError as error:
                _log.warning("%s could not be removed: %s", name, error)


def remove_stale(repository: Repository, clock: Clock, all: bool = False) -> list[str]:
    """Remove locks nobody holds any more, for `unlock`; their ids are returned.

    That is: not refreshed for 30 minutes by the store's clock, or of a process of this machine that is gone.
    `all`: each one, also of programs that are at work.
    """
    own = _write(repository, clock, _OUR_HOSTS + "unlock", exclusive=False)  # tells what the store's clock says now
    removed = []
    try:
        now, others = _look(repository, own, with_empty=True)
        for name, modified, held in others:
            if all or (now is not None and now - modified > STALE_SECONDS) or held.is_dead():
                repository.store.delete(name)
                removed.append(layout.last_part(name))
    finally:
        repository.store.delete(own)
    return removed


def _write(repository: Repository, clock: Clock, host: str, exclusive: bool) -> str:
    held = HeldLock(times.to_text(clock.now()), exclusive, host, "drivekeep", os.getpid(), socket.gethostname())
    return layout.lock_name(repository.save_unpacked("locks", msgspec.json.encode(held)))


def _look(
    repository: Repository, own: str, with_empty: bool = False
) -> tuple[float | None, list[tuple[str, float, HeldLock]]]:
    """When our own lock was written, by the store's clock (None where it is gone), and all other locks."""
    locks = list(_held(repository, with_empty))
    now = next((modified for name, modified, _ in locks if name == own), None)
    return now, [lock for lock in locks if lock[0] != own]


def _held(repository: Repository, with_empty: bool = False) -> Iterator[tuple[str, float, HeldLock]]:
    """Name, time of writing by the store's clock, and content of each lock."""
    for stored in repository.store.list(layout.LOCKS):
        lock_id = layout.last_part(stored.name)
        if not layout.is_id(lock_id) or (stored.size == 0 and not with_empty):
            continue
        try:
            yield stored.name, stored.modified, _read(repository, lock_id)
        except NotFound:
            continue  # given back since the listing


def _read(repository: Repository, lock_id: str) -> HeldLock:
    try:
        return msgspec.json.decode(repository.load_unpacked("locks", lock_id), type=HeldLock)
    except (Damaged, msgspec.MsgspecError):
        return _UNREADABLE


def _refuse(held: HeldLock) -> NoReturn:
    kind = "an exclusive lock" if held.exclusive else "a lock"
    raise Locked(
        f"The repository is locked by {held.username or 'somebody'} on {held.hostname or 'an unknown machine'}.",
        why=f"Process {held.pid} has held {kind} since {held.time}." if held.time else "The lock cannot be read.",
        remedy="Wait until that is done; if it is dead, `drivekeep unlock` removes its lock 30 minutes later.",
    )


@contextlib.contextmanager
def _sighup_ignored() -> Iterator[None]:
    """A hangup ends a Python process at once, without the `finally` that gives the lock back."""
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL if before is None else before)
