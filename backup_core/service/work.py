"""One step as an activity carries it out: under its claim and its lock, heard of while it works, in time.

What the steps do is `steps.py`. What can be expected to go wrong is a result here, not an exception.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from backup_core.backup.job import Summary
from backup_core.backup.progress import NoProgress
from backup_core.backup.run import Run
from backup_core.errors import DrivekeepError, Interrupted
from backup_core.repository.lock import RepositoryLock
from backup_core.runs.claim import Claim, ClaimLost
from backup_core.service.failures import Failure, failure_of, log_unexpected
from backup_core.service.service import Service
from backup_core.service.workplace import Workplace, open_workplace

_log = logging.getLogger(__name__)

ACTIVITY_SECONDS = 8 * 60.0  # platform updates grant ten minutes, and a batch needs some for its last pack
WORKING_SECONDS = 6 * 60.0  # then a step hands back the rest
QUICK_SECONDS = 60.0  # a plan that took longer is followed by activities of their own
WAIT_SECONDS = ACTIVITY_SECONDS - WORKING_SECONDS  # for memory, before a step begins
BEAT_SECONDS = 20.0
# A batch of so little takes a tenth of the memory of a large one. It waits for no large one: two slow drives would
# else hold up all that share their process.
SMALL_BYTES = 8 << 20

Job = dict[str, Any]
Result = dict[str, Any]
CANCELLED: Result = {"ok": False, "reason": "cancelled"}


class Work(NoProgress):
    """One step in the making: its place, its time, and what the claim hears of it."""

    def __init__(self, service: Service, claim: Claim, place: Workplace, trust_state: bool) -> None:
        self.service, self.claim, self.place = service, claim, place
        self.deadline = service.clock.monotonic() + WORKING_SECONDS
        self._quick_until = service.clock.monotonic() + QUICK_SECONDS
        self._trust_state = trust_state
        self._throttled_before = place.parts.graph.gate.throttled_seconds
        self._telling = threading.Lock()
        self._gained: dict[str, float] = {}
        self._totals: dict[str, float] = {}
        self._over = threading.Event()  # the run's own event, once there is a run that may be stopped
        self.lock: RepositoryLock | None = None

    @contextmanager
    def run(self, start_over: bool = False) -> Iterator[Run]:
        with Run.begin(self.place.parts, self.place.job, trust_state=self._trust_state, start_over=start_over) as run:
            if self.lock is not None:
                run.ensure_lock = self.lock.ensure
            yield run

    def is_late(self) -> bool:
        """Whether the step has worked for so long that the next one belongs to another activity."""
        return self.service.clock.monotonic() > self._quick_until

    def stops(self, run: Run) -> None:
        """From now on a claim that is lost or cancelled stops the run."""
        if self._over.is_set():
            run.stop.set()
        self._over = run.stop

    def left(self, items: int) -> None:
        """So many items are still to be fetched."""
        self._totals["items_total"] = self.claim.progress.items_done + items

    def add(self, **done: float) -> None:
        with self._telling:
            for name, value in done.items():
                self._gained[name] = self._gained.get(name, 0) + value

    def pause(self) -> float:
        """Seconds for which Microsoft wants no request, as far as this process knows."""
        return self.place.parts.graph.gate.closed_seconds

    def beat(self) -> None:
        """Tell the claim that somebody works. ClaimLost."""
        with self._telling:
            gained, self._gained = self._gained, {}
        claim = self.claim
        try:
            now = self.service.runs.beat(claim.tenant, claim.account, claim.token, self._totals, gained=gained)
        except ClaimLost:
            self._over.set()
            raise
        except DrivekeepError:
            self.add(**gained)  # told next time
            raise
        if now.cancelled:
            self._over.set()

    def part(self) -> bool:
        """Tell what the step has cost; whether other drives wait. What fails here does not undo what is done."""
        parts, claim = self.place.parts, self.claim
        self.add(graph_requests=parts.graph.requests, store_requests=parts.meter.requests)
        self.add(throttled_seconds=max(0.0, parts.graph.gate.throttled_seconds - self._throttled_before))
        try:
            self.beat()
            return self.service.runs.waiting(claim.tenant, self.service.clock.now()) > 0
        except DrivekeepError as error:
            _log.warning("What a step has cost could not be told: %s", error)
            return False

    def ended(self, summary: Summary) -> Result:
        """What `finish_drive` needs: figures through the history, lists in a sealed report. The claim keeps it, so that
        whoever carries out a step of it again finds its work done.
        """
        told, claim = summary.to_json(), self.claim
        report = self.service.reports.put(claim.tenant, claim.run, claim.account, told)
        figures = {name: value for name, value in told.items() if name not in ("items_skipped", "items_failed")}
        result = {"committed": True, "summary": figures, "report": report, "drive_id": self.place.job.drive.id}
        try:
            self.service.runs.note_done(claim.tenant, claim.account, claim.token, result)
        except DrivekeepError as error:
            _log.warning("A drive's snapshot could not be noted at its claim: %s", error)
        return result


def carried_out(service: Service, job: Job, act: Callable[[Work], Result]) -> Result:
    """What `act` gives, or why not: `{"ok": False, "reason", "again", "retry_after"}`."""
    try:
        claim = service.runs.beat(job["tenant"], job["account"], job["token"], {})
        if claim.done:
            return {"ok": True, **claim.done, "others_wait": False}
        if claim.cancelled:
            return CANCELLED
        place = open_workplace(service, claim)
        work = Work(service, claim, place, bool(job.get("trust_state", True)))
        with _locked(service, work), beating(work.beat):
            result = act(work)
    except Interrupted as error:
        return _stopped(service, job, error)
    except DrivekeepError as error:
        return failure_of(error).to_json()
    except Exception as error:
        log_unexpected(_log, "A step of a backup failed.", error)
        return Failure("internal", again=True).to_json()
    return {"ok": True, **result, "others_wait": work.part()}


def _stopped(service: Service, job: Job, error: Interrupted) -> Result:
    """Who stopped the run: its claim tells."""
    try:
        claim = service.runs.beat(job["tenant"], job["account"], job["token"], {})
    except DrivekeepError as other:
        return failure_of(other).to_json()
    return CANCELLED if claim.cancelled else failure_of(error).to_json()


@contextmanager
def _locked(service: Service, work: Work) -> Iterator[None]:
    """No process lives for a whole run, so a lock belongs to one step, and none is held while nobody works."""
    if work.claim.dry_run:
        yield
        return
    with RepositoryLock(work.place.parts.repository, service.clock, work.claim.token[:16]) as work.lock:
        yield


@contextmanager
def room(service: Service, size: int | None = None, seconds: float = 0.0) -> Iterator[bool]:
    """Memory for saving `size` bytes (None: many); False where the process has none to spare within so many seconds."""
    if size is not None and size <= SMALL_BYTES:
        yield True
        return
    there_is_room = service.saving.acquire(timeout=seconds)
    try:
        yield there_is_room
    finally:
        if there_is_room:
            service.saving.release()


@contextmanager
def beating(beat: Callable[[], object]) -> Iterator[None]:
    """Show every some seconds that somebody works."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(BEAT_SECONDS):
            try:
                beat()
            except ClaimLost:
                return
            except Exception as error:
                log_unexpected(_log, "The claim of a drive could not be kept up.", error)

    thread = threading.Thread(target=go_on, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
