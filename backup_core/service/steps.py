"""The steps of a drive's backup as the app's activities carry them out: each in a process of its own, perhaps twice.

A step gets a claim's name and gives back counts. What can be expected to go wrong is a result, not an exception:
`{"ok": False, "reason", "again", "retry_after"}`; `again`: the same step may succeed later.
"""

from backup_core.backup.batches import Cut, Until, cut_batches, is_whole, save_batch
from backup_core.backup.commit import commit_snapshot
from backup_core.backup.dry_run import estimate
from backup_core.backup.feed import plan_changes
from backup_core.backup.progress import NoProgress
from backup_core.backup.run import Run
from backup_core.errors import DrivekeepError
from backup_core.service.failures import Failure, failure_of
from backup_core.service.service import Service
from backup_core.service.work import CANCELLED, WAIT_SECONDS, Job, Result, Work, carried_out, room

BATCHES_MAX = 100  # of one cut: more than a turn can save, and few enough to be written down within a minute


def plan(service: Service, job: Job) -> Result:
    """`more`: the feed has more pages. Otherwise as `cut`; and where everything fits one batch, that is saved and the
    snapshot made at once, with the result of `commit`: most runs of most drives need no second activity.
    """

    def act(work: Work) -> Result:
        with work.run(start_over=bool(job.get("start_over"))) as run:
            if work.claim.dry_run:
                more = plan_changes(run, NoProgress(), work.deadline)
                return _too_large() if more else {"dry_run": True, **work.ended(estimate(run))}
            if plan_changes(run, NoProgress(), work.deadline):
                return {"more": True}
            made = _cut(work, run, bool(job.get("first_turn")))
            with room(service, made.bytes) as there_is_room:
                if len(made.batches) > 1 or work.is_late() or not there_is_room:
                    return _told(made)
                saved = [_save(work, run, number) for number in made.batches]
            if any(not each["whole"] for each in saved):
                return {"retry_after": saved[0]["retry_after"]}
            return _commit(work, run)

    return carried_out(service, job, act)


def cut(service: Service, job: Job) -> Result:
    """`first` and `count` of the batches to save."""

    def act(work: Work) -> Result:
        with work.run() as run:
            return _told(_cut(work, run, retry_failed=False))

    return carried_out(service, job, act)


def save(service: Service, job: Job) -> Result:
    """`files` and `bytes` that came; `whole`: nothing is left of the batch.

    `retry_after`: Microsoft wants a pause of so many seconds before the rest. `busy`: nothing was tried, since the
    process had no room for the batch.
    """

    def act(work: Work) -> Result:
        with work.run() as run:
            return _save(work, run, job["batch"])

    with room(service, seconds=WAIT_SECONDS) as there_is_room:
        return carried_out(service, job, act) if there_is_room else _busy(service, job)


def commit(service: Service, job: Job) -> Result:
    """`committed` False: something that the snapshot would name is not saved, or not any more."""

    def act(work: Work) -> Result:
        with work.run() as run:
            return _commit(work, run)

    return carried_out(service, job, act)


def _cut(work: Work, run: Run, retry_failed: bool) -> Cut:
    made = cut_batches(run, retry_failed, BATCHES_MAX)
    work.left(made.files)
    return made


def _told(made: Cut) -> Result:
    return {"first": made.batches[0] if made.batches else 1, "count": len(made.batches)}


def _busy(service: Service, job: Job) -> Result:
    """The batch has another turn, and its claim hears that somebody still cares."""
    try:
        claim = service.runs.beat(job["tenant"], job["account"], job["token"], {})
    except DrivekeepError as error:
        return failure_of(error).to_json()
    if claim.cancelled:
        return CANCELLED
    return {"ok": True, "files": 0, "bytes": 0, "whole": False, "busy": True}


def _save(work: Work, run: Run, batch: int) -> Result:
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


def _commit(work: Work, run: Run) -> Result:
    work.stops(run)
    summary = commit_snapshot(run, NoProgress(), last_look=work.beat)
    return {"committed": False} if summary is None else work.ended(summary)


def _too_large() -> Result:
    """Nothing is kept of a dry run, so that none can go on in another activity."""
    failure = Failure("internal", message="The drive is too large for a dry run by the service. A backup of it works.")
    return failure.to_json()
