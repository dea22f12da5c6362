"""The end of a claim: its result, its run, its account and the claim itself change in one transaction or not at all."""

import datetime
from dataclasses import replace

from backup_core.registry import keys
from backup_core.registry.accounts import PROTECTED, Account, LastRun
from backup_core.registry.audit import entry
from backup_core.registry.table import Change, Delete, Insert, Put, Replace
from backup_core.registry.values import to_values
from backup_core.runs import rows
from backup_core.runs.claim import MAINTAIN, Claim
from backup_core.runs.desk import Desk
from backup_core.runs.run import (
    CANCELLED,
    COMPLETE,
    FAILED,
    INTERNAL,
    INTERRUPTED,
    NOTHING_DONE,
    RUNNING,
    Outcome,
    Result,
    Run,
)

UPKEEP_EVERY = datetime.timedelta(days=7)

WHOLE_KINDS = ("all", "rehearsal")  # fillings of runs that were asked for a whole tenant; one of each at a time

# Reasons for which a first backup fails today and may succeed in a quarter of an hour.
_PASSING = frozenset({"throttled", "locked", "storage-unreachable", INTERRUPTED, INTERNAL})

# Claims that one transaction can end: each changes four rows at most, beside the run's and its filling.
_SWEPT_AT_ONCE = 24


class Ending:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def changes(self, claim: Claim, result: Result) -> list[Change]:
        """What ends the claim, as it was read, with this result."""
        now, run = self._desk.now(), self._desk.run_of(claim)
        account = self._desk.registry.accounts.get(claim.tenant, claim.account)
        changes = self.leaving(claim, now)
        if run is not None:
            changes += self._resulting(claim, run, result, account, now)
            changes += run_changes(run, run.with_results([result.state], claim.uncounted, now))
        if claim.kind == MAINTAIN and result.state != COMPLETE:
            changes.append(self._note_of_maintenance(claim, result))
        if account is not None and claim.kind != MAINTAIN and not claim.dry_run and result.reason != CANCELLED:
            changes += self._account_changes(account, claim, result, now)
        return changes

    def sweep(self, run_id: str) -> int:
        """End some of the claims that wait for a cancelled run; how many, 0 when none is left."""
        swept = 0

        def make_changes() -> list[Change]:
            nonlocal swept
            run, now = self._desk.run(run_id), self._desk.now()
            claims = self._waiting_for(run) if run.cancelled else []
            swept = len(claims)
            if not claims:
                return []
            changes = run_changes(run, run.with_results([FAILED] * swept, NOTHING_DONE, now))
            for claim in claims:
                account = self._desk.registry.accounts.get(claim.tenant, claim.account)
                changes += self.leaving(claim, now)
                changes += self._resulting(claim, run, cancelled(), account, now)
            return changes

        self._desk.commit(rows.tenant_of(run_id), make_changes)
        return swept

    def _waiting_for(self, run: Run) -> list[Claim]:
        found = self._desk.registry.table.rows(
            keys.part(run.tenant), rows.QUEUE, keys.end(rows.QUEUE), limit=_SWEPT_AT_ONCE, where={"run": run.id}
        )
        claims = [self._desk.claim(run.tenant, str(row.values["account"])) for row in found]
        return [claim for claim in claims if claim is not None and claim.run == run.id and claim.state != RUNNING]

    def leaving(self, claim: Claim, now: datetime.datetime) -> list[Change]:
        """What takes the claim away; a run that has waited for that is queued in its place."""
        key = rows.claim_key(claim.account)
        beside = rows.active_key(claim.account) if claim.state == RUNNING else rows.queue_key(claim)
        if not claim.next_run:
            return [Delete(key, claim.etag), Delete(beside)]
        follower = self._desk.queued(self._desk.run(claim.next_run), claim.account, now)
        queue_key = rows.queue_key(follower)
        changes: list[Change] = [Replace(key, rows.claim_values(follower), claim.etag)]
        changes.append(Put(queue_key, rows.leading_values(follower)))
        return [*changes, Delete(beside)] if beside != queue_key else changes

    def _resulting(
        self, claim: Claim, run: Run, result: Result, account: Account | None, now: datetime.datetime
    ) -> list[Change]:
        outcome = Outcome(
            account=claim.account,
            upn=account.upn if account else "",
            state=result.state,
            snapshot_id=result.snapshot_id,
            summary=result.summary,
            reason=result.reason,
            message=result.message,
            report=result.report,
            finished_at=now,
        )
        return [Insert(rows.result_key(run.id, claim.account), rows.outcome_values(outcome))]

    def _account_changes(self, account: Account, claim: Claim, result: Result, now: datetime.datetime) -> list[Change]:
        """The account's last success is its last snapshot; that it lacks items is told by `outcome`."""
        saved = result.state != FAILED
        after = replace(
            account,
            last_run=LastRun(claim.run, result.state, now),
            outcome=result.state,
            last_success_at=now if saved else account.last_success_at,
            drive_id=result.drive_id or account.drive_id,
            repository=result.repository or account.repository,
        )
        if result.account_state and account.state == PROTECTED:  # what a person has decided meanwhile stays
            checked = now if result.account_state == "no-drive" else account.no_drive_checked_at
            after = replace(after, state=result.account_state, no_drive_checked_at=checked)
        after = self._desk.moved_on(after, now)
        if after.last_success_at is None and result.reason in _PASSING:
            after = replace(
                after, next_due_at=now
            )  # never backed up, and not for a reason that lasts: at the next tick
        changes = self._desk.registry.accounts.changes(account, after)
        if saved and account.last_success_at is None:
            changes.append(
                Put(rows.upkeep_key(now + UPKEEP_EVERY, account.id), to_values(rows.FORMAT, account=account.id))
            )
        return changes

    def _note_of_maintenance(self, claim: Claim, result: Result) -> Change:
        details = {"state": result.state, "reason": result.reason, "message": result.message}
        return entry(self._desk.clock, "drivekeep", "maintenance.problem", claim.account, details)


def run_changes(run: Run, after: Run) -> list[Change]:
    """What makes `after` out of `run`, as it was read. A whole tenant's run, when it ends, makes room for the next."""
    changes: list[Change] = [Replace(rows.RUNS + rows.run_key(run.id), rows.run_values(after), run.etag)]
    if run.whole and run.open and not after.open:
        changes.append(Delete(rows.FILL + whole_kind(run.dry_run)))
    return changes


def whole_kind(dry_run: bool) -> str:
    """Which filling a whole tenant's run is: a backup need not wait for a dry run."""
    return WHOLE_KINDS[dry_run]


def cancelled() -> Result:
    return Result(FAILED, reason=CANCELLED, message="The run was cancelled before this drive's turn came.")


def ended_change(account: str, token: str, how: str) -> Change:
    """A note of who gave a claim back, for whoever does it twice."""
    return Put(rows.ended_key(account), to_values(rows.FORMAT, token=token, how=how))
