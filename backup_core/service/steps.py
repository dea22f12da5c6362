"""The steps of a drive's backup as the app's activities carry them out: each in a process of its own, perhaps twice.

A step gets a claim's name and gives back counts. What can be expected to go wrong is a result, not an exception:
`{"ok": False, "reason", "again", "retry_after"}`; `again`: the same step may succeed later.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from backup_core.backup.batches import Until, cut_batches, is_whole, save_batch
from backup_core.backup.commit import commit_snapshot
from backup_core.backup.dry_run import estimate
from backup_core.backup.feed import plan_changes
from backup_core.backup.job import Summary
from backup_core.backup.progress import NoProgress
from backup_core.backup.run import Run
from backup_core.errors import DrivekeepError
from backup_core.repository.lock import RepositoryLock
from backup_core.runs.claim import Claim
from backup_core.service.failures import Failure, failure_of, log_unexpected
from backup_core.service.service import Service
from backup_core.service.workplace import Workplace, open_workplace

_log = logging.getLogger(__name__)

ACTIVITY_SECONDS = 8 * 60.0  # platform updates grant ten minutes, and a batch needs some for its last pack
WORKING_SECONDS = 6 * 60.0  # then a step hands back the rest
QUICK_SECONDS = 60.0  # a plan that took longer is followed by activities of their own
BEAT_SECONDS = 20.0

Job = dict[str, Any]
Result = dict[str, Any]


def plan(service: Service, job: Job) -> Result:
    """`more`: the feed has more pages. Otherwise as `cut`; and where everything fits one batch, that is saved and the
    snapshot made at once, with the result of `commit`: most runs of most drives need no second activity.
    """

    def act(work: Work) -> Result:
        with work.run(start_over=bool(job.get("start_over"))) as run:
            if work.claim.dry_run:
                plan_changes(run, NoProgress())
                return {"dry_run": True, **work.ended(estimate(run))}
            if plan_changes(run, NoProgress(), work.deadline):
                return {"more": True}
            batches = _cut(work, run, bool(job.get("first_turn")))
            if batches["count"] > 1 or work.is_late() or not service.saving.acquire(blocking=False):
                return batches
            try:
                saved = [_save(work, run, batches["first"])] if batches["count"] else []
            finally:
                service.saving.release()
            if any(not each["whole"] for each in saved):
                return {"retry_after": saved[0]["retry_after"]}
            return _commit(work, run)

    return _carried_out(service, job, act)


def cut(service: Service, job: Job) -> Result:
    """`first` and `count` of the batches to save."""

    def act(work: Work) -> Result:
        with work.run() as run:
            return _cut(work, run, retry_failed=False)

    return _carried_out(service, job, act)


def save(service: Service, job: Job) -> Result:
    """`files` and `bytes` that came; `whole`: nothing is left of the batch.

    `retry_after`: Microsoft wants a pause of so many seconds before the rest.
    """
    if not service.saving.acquire(timeout=ACTIVITY_SECONDS - WORKING_SECONDS):
        return {"ok": True, "files": 0, "bytes": 0, "whole": False}  # the process is busy: another turn of the batch

    def act(work: Work) -> Result:
        with work.run() as run:
            return _save(work, run, job["batch"])

    try:
        return _carried_out(service, job, act)
    finally:
        service.saving.release()


def commit(service: Service, job: Job) -> Result:
    """`committed` False: something that the snapshot would name is not saved, or not any more."""

    def act(work: Work) -> Result:
        with work.run() as run:
            return _commit(work, run)

    return _carried_out(service, job, act)


def _cut(work: "Work", run: Run, retry_failed: bool) -> Result:
    made = cut_batches(run, retry_failed=retry_failed)
    work.add(items_total=made.files)
    return {"first": made.batches[0] if made.batches else 1, "count": len(made.batches)}


def _save(work: "Work", run: Run, batch: int) -> Result:
    work.stops(run)
    saved = save_batch(run, batch, run.job.threads, work, Until(work.deadline, throttled=True))
    files = len(saved.files) + sum(part.at_end for part in saved.parts)
    work.add(items_done=files, bytes_done=saved.bytes_downloaded)
    whole = is_whole(run.log.batch(batch), saved)
    return {
        "files": files,
        "bytes": saved.bytes_downloaded,
        "whole": whole,
        "retry_after": 0.0 if whole else work.pause(),
    }


def _commit(work: "Work", run: Run) -> Result:
    work.beat()  # the last look at the token before anything is published
    summary = commit_snapshot(run, NoProgress())
    if summary is None:
        return {"committed": False}
    return {"committed": True, **work.ended(summary)}


class Work(NoProgress):
    """One step in the making: its place, its time, and what the claim hears of it."""

    def __init__(self, service: Service, claim: Claim, place: Workplace, trust_state: bool) -> None:
        self.service, self.claim, self.place = service, claim, place
        self.deadline = service.clock.monotonic() + WORKING_SECONDS
        self._quick_until = service.clock.monotonic() + QUICK_SECONDS
        self._trust_state = trust_state
        self._throttled_before = place.parts.graph.gate.throttled_seconds
        self._told: dict[str, float] = {}
        self._stop: threading.Event | None = None

    @contextmanager
    def run(self, start_over: bool = False) -> Iterator[Run]:
        with Run.begin(self.place.parts, self.place.job, trust_state=self._trust_state, start_over=start_over) as run:
            yield run

    def is_late(self) -> bool:
        """Whether the step has worked for so long that the next one belongs to another activity."""
        return self.service.clock.monotonic() > self._quick_until

    def stops(self, run: Run) -> None:
        """From now on a claim that is lost or cancelled stops the run."""
        self._stop = run.stop

    def add(self, **done: float) -> None:
        for name, value in done.items():
            self._told[name] = self._told.get(name, 0) + value

    def pause(self) -> float:
        """Seconds for which Microsoft wants no request, as far as this process knows."""
        return self.place.parts.graph.gate.closed_seconds

    def beat(self) -> Claim:
        """Tell the claim that somebody works. ClaimLost."""
        told, self._told = self._told, {}
        claim = self.service.runs.beat(self.claim.tenant, self.claim.account, self.claim.token, {}, gained=told)
        if claim.cancelled and self._stop is not None:
            self._stop.set()
        return claim

    def last_beat(self) -> Claim:
        """With what the step cost."""
        parts = self.place.parts
        self.add(graph_requests=parts.graph.requests, store_requests=parts.meter.requests)
        self.add(throttled_seconds=max(0.0, parts.graph.gate.throttled_seconds - self._throttled_before))
        return self.beat()

    def ended(self, summary: Summary) -> Result:
        """What `finish_drive` needs: figures through the history, lists in a sealed report."""
        told = summary.to_json()
        report = self.service.reports.put(self.claim.tenant, self.claim.run, self.claim.account, told)
        figures = {name: value for name, value in told.items() if name not in ("items_skipped", "items_failed")}
        return {"summary": figures, "report": report, "drive_id": self.place.job.drive.id}


def _carried_out(service: Service, job: Job, act: Callable[[Work], Result]) -> Result:
    tenant, account, token = job["tenant"], job["account"], job["token"]
    try:
        claim = service.runs.beat(tenant, account, token, {})
        if claim.cancelled:
            return {"ok": False, "reason": "cancelled"}
        place = open_workplace(service, claim)
        work = Work(service, claim, place, bool(job.get("trust_state", True)))
        with _locked(service, work), _beating(work):
            result = act(work)
        claim = work.last_beat()
    except DrivekeepError as error:
        return failure_of(error).to_json()
    except Exception as error:
        log_unexpected(_log, "A step of a backup failed.", error)
        return Failure("internal", again=True).to_json()
    return {"ok": True, **result, "others_wait": service.runs.waiting(tenant, service.clock.now()) > 0}


@contextmanager
def _locked(service: Service, work: Work) -> Iterator[None]:
    """No process lives for a whole run, so a lock belongs to one step, and none is held while nobody works."""
    if work.claim.dry_run:
        yield
        return
    with RepositoryLock(work.place.parts.repository, service.clock, work.claim.token[:16]):
        yield


@contextmanager
def _beating(work: Work) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            try:
                work.beat()
            except DrivekeepError as error:
                _log.warning("The claim of a drive could not be kept up: %s", error)

    thread = threading.Thread(target=beat, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
