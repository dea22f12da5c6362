"""A whole backup on one page, run by this process alone.

A durable orchestration runs the same steps as activities. Nothing here is known to a step: each goes by the run's log.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from backup_core.backup.batches import cut_batches, save_batch
from backup_core.backup.commit import commit_snapshot
from backup_core.backup.dry_run import estimate
from backup_core.backup.feed import plan_changes
from backup_core.backup.job import BackupJob, Components, Summary
from backup_core.backup.parts import ATTEMPTS_MAX
from backup_core.backup.progress import Progress
from backup_core.backup.run import Run
from backup_core.backup.run_log import SavedBatch
from backup_core.drive_state.segments import StateDamaged
from backup_core.errors import Damaged, Inconsistent, Interrupted
from backup_core.repository.lock import RepositoryLock

BATCHES_AT_ONCE = 2  # the tail of one batch (its last pack, its index) overlaps with the downloads of the next
# Saving again what somebody's prune has taken away, and large files whose parts did not fit together; more rounds mean
# that something else is wrong.
ROUNDS_MAX = 3 + ATTEMPTS_MAX


def back_up(job: BackupJob, parts: Components, progress: Progress) -> Summary:
    """Back up one drive. Errors are the tree of `errors.py`; what was saved before one stays for the next run."""
    if job.dry_run:
        return _run(job, parts, progress, lambda: None)
    with RepositoryLock(parts.repository, parts.clock, os.urandom(8).hex()) as lock:
        return _run(job, parts, progress, lock.ensure)


def _run(job: BackupJob, parts: Components, progress: Progress, ensure_lock: Callable[[], None]) -> Summary:
    """State and feed that contradict each other are no reason to fail: the drive is enumerated, and that heals them."""
    try:
        with Run.begin(parts, job) as run:
            return _steps(run, progress, ensure_lock)
    except (Inconsistent, StateDamaged) as error:
        progress.message(f"{error.what} The whole drive is listed again.")
    with Run.begin(parts, job, trust_state=False, start_over=True) as run:
        return _steps(run, progress, ensure_lock)


def _steps(run: Run, progress: Progress, ensure_lock: Callable[[], None]) -> Summary:
    run.ensure_lock = ensure_lock
    plan_changes(run, progress)
    if run.job.dry_run:
        return estimate(run)
    cut = cut_batches(run, retry_failed=True)
    for _ in range(ROUNDS_MAX):
        progress.stage("Saving files", cut.files, cut.bytes)
        _save(run, cut.batches, progress)
        summary = commit_snapshot(run, progress)
        if summary is not None:
            return summary
        cut = cut_batches(run)
    raise Damaged(
        "Files that were saved are missing from the repository again and again.",
        why="Somebody removes packs while this run writes them.",
        remedy="See that nobody runs `restic prune --no-lock` on this repository, and run the backup again.",
    )


def _save(run: Run, batches: list[int], progress: Progress) -> None:
    at_once = min(BATCHES_AT_ONCE, len(batches)) or 1
    threads = max(1, run.job.threads // at_once)
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="batch")
    jobs = [pool.submit(save_batch, run, number, threads, progress) for number in batches]
    try:
        for job in as_completed(jobs):
            job.result()
    except BaseException as error:
        run.stop.set()
        by_a_person = isinstance(error, Interrupted) and error not in _errors(jobs)
        # Who stops a backup does not wait for a download that hangs: nothing names what its batch has saved.
        pool.shutdown(wait=not by_a_person, cancel_futures=True)
        raise error if by_a_person else _cause(error, jobs) from None
    pool.shutdown()


def _cause(error: BaseException, jobs: list[Future[SavedBatch]]) -> BaseException:
    """Of batches that end because one of them failed, the others say only that they were stopped."""
    return next((each for each in [error, *_errors(jobs)] if not isinstance(each, Interrupted)), error)


def _errors(jobs: list[Future[SavedBatch]]) -> list[BaseException]:
    found = [job.exception() for job in jobs if job.done() and not job.cancelled()]
    return [each for each in found if each is not None]
