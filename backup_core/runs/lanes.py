"""What a lane does with claims: take the next one, show that it lives, give it back. Tokens keep two lanes apart.

Every method may be called twice with the same arguments, as activities are: a repeated call finds its own work done.
"""

import datetime
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from backup_core.registry import keys
from backup_core.registry.accounts import PROTECTED
from backup_core.registry.table import Change, Conflict, Delete, Insert, Replace, Row
from backup_core.runs import rows
from backup_core.runs.claim import BACKUP, Claim, ClaimLost
from backup_core.runs.desk import Desk
from backup_core.runs.ending import Ending, ended_change, run_changes
from backup_core.runs.filling import Filling
from backup_core.runs.run import CANCELLED, FAILED, INTERRUPTED, QUEUED, RUNNING, Progress, Result, Run

DEATHS_MAX = 3  # in a row, with nothing done: a drive that kills its workers must not do so for ever

_LOOK_AT = 16  # rows of the queue, so that lanes that come at once find one each
_ROUNDS_MAX = 100  # of looking: each ends claims, fills the queue, or meets another lane that took what was there
_WAITING_MAX = 100
_PAUSE_SECONDS = 0.02

_FINISHED, _PUT_BACK = "finished", "put-back"

Freed = Literal["requeued", "failed", "alive"]


class Lanes:
    def __init__(self, desk: Desk, ending: Ending, filling: Filling) -> None:
        self._desk, self._ending, self._filling = desk, ending, filling

    def claim_next(self, tenant: str, lane: str) -> Claim | None:
        for left in self._active(tenant, lane):
            self.free(left, "its lane asked for the next drive")
        for _ in range(_ROUNDS_MAX):
            may_run = self._desk.may_run(tenant)
            if not may_run and not self._desk.has_lost_consent(tenant):
                return None
            waiting = list(self._queue(tenant, self._desk.now(), _LOOK_AT))
            if not waiting and not self._filling.go_on(tenant):
                return None
            for row in waiting:
                claim = self._take(tenant, row, lane, may_run)
                if claim is not None:
                    return claim
            self._desk.clock.sleep(_PAUSE_SECONDS)
        return None

    def beat(
        self, tenant: str, account: str, token: str, progress: Mapping[str, Any], gained: Mapping[str, Any]
    ) -> Claim:
        beaten: Claim | None = None

        def make_changes() -> list[Change]:
            nonlocal beaten
            claim = self._held(tenant, account, token)
            further = claim.progress.updated(progress) + Progress.of(gained)
            beaten = replace(
                claim,
                beat_at=self._desk.now(),
                progress=further,
                moved=claim.moved or further.moved_since(claim.progress),
            )
            return [Replace(rows.claim_key(account), rows.claim_values(beaten), claim.etag)]

        self._desk.commit(tenant, make_changes)
        assert beaten is not None
        run = self._desk.run_of(beaten)
        return replace(beaten, cancelled=run is not None and run.cancelled)

    def note_done(self, tenant: str, account: str, token: str, told: Mapping[str, Any]) -> None:
        def make_changes() -> list[Change]:
            claim = self._held(tenant, account, token)
            done = replace(claim, done=told, beat_at=self._desk.now(), moved=True)
            return [] if claim.done else [Replace(rows.claim_key(account), rows.claim_values(done), claim.etag)]

        self._desk.commit(tenant, make_changes)

    def finish(self, tenant: str, account: str, token: str, result: Result) -> None:
        def make_changes() -> list[Change]:
            if self._was_given_back(tenant, account, token, _FINISHED):
                return []
            claim = self._held(tenant, account, token)
            return [*self._ending.changes(claim, result), ended_change(account, token, _FINISHED)]

        self._desk.commit(tenant, make_changes)

    def put_back(
        self, tenant: str, account: str, token: str, not_before: datetime.datetime | None, reason: str
    ) -> None:
        def make_changes() -> list[Change]:
            if self._was_given_back(tenant, account, token, _PUT_BACK):
                return []
            claim = self._held(tenant, account, token)
            return [
                *self._requeueing(claim, not_before, reason, deaths=0),
                ended_change(account, token, _PUT_BACK),
            ]

        self._desk.commit(tenant, make_changes)

    def free(self, claim: Claim, why: str) -> Freed:
        freed: Freed = "alive"

        def make_changes() -> list[Change]:
            nonlocal freed
            freed = "alive"
            now = self._desk.claim(claim.tenant, claim.account)
            if now is None or now.token != claim.token or now.beat_at != claim.beat_at:
                return []
            deaths = 0 if now.moved else now.deaths + 1
            run = self._desk.run_of(now)
            if run is not None and run.cancelled:
                freed = "failed"
                return self._ending.changes(now, Result(FAILED, reason=CANCELLED, message="The run was cancelled."))
            if deaths >= DEATHS_MAX:
                freed = "failed"
                return self._ending.changes(now, _interrupted(why))
            freed = "requeued"
            return self._requeueing(now, None, why, deaths)

        self._desk.commit(claim.tenant, make_changes)
        return freed

    def active(self, tenant: str) -> list[Claim]:
        return self._active(tenant, None)

    def waiting(self, tenant: str, now: datetime.datetime) -> int:
        return sum(1 for _ in self._queue(tenant, now, _WAITING_MAX))

    def _active(self, tenant: str, lane: str | None) -> list[Claim]:
        where = {"lane": lane} if lane is not None else None
        found = self._desk.registry.table.rows(keys.part(tenant), rows.ACTIVE, keys.end(rows.ACTIVE), where=where)
        claims = [self._desk.claim(tenant, str(row.values["account"])) for row in found]
        return [claim for claim in claims if claim is not None and claim.state == RUNNING]

    def _queue(self, tenant: str, now: datetime.datetime, limit: int) -> "list[Row]":
        table = self._desk.registry.table
        return list(table.rows(keys.part(tenant), rows.QUEUE, rows.until(rows.QUEUE, now), limit=limit))

    def _take(self, tenant: str, row: Row, lane: str, may_run: bool) -> Claim | None:
        """The claim that the row leads to, now this lane's; None where it cannot be had or is not to be worked on.

        Where the tenant may not run it has lost its consent, and its backups end with that: a run must come to an end.
        """
        claim = self._desk.claim(tenant, str(row.values["account"]))
        if claim is None or claim.state != QUEUED or rows.queue_key(claim) != row.key:
            return None
        run, now = self._desk.run_of(claim), self._desk.now()
        if run is not None and run.cancelled:
            self._ending.sweep(run.id)
            return None
        refusal = self._refusal(claim, may_run)
        token = self._desk.new_id()
        taken = replace(claim, lane=lane, token=token, started_at=now, beat_at=now, moved=False)
        if refusal is not None:
            changes = self._ending.changes(claim, refusal)
        else:
            changes = [Delete(row.key, row.etag), *_taking(taken, claim.etag, run, now)]
        try:
            self._desk.registry.table.transact(keys.part(tenant), changes)
        except Conflict:
            pass  # another lane was first, or this is the answer to our own change, sent twice: the row tells
        found = self._desk.claim(tenant, claim.account)
        return found if found is not None and found.token == token else None

    def _refusal(self, claim: Claim, may_run: bool) -> Result | None:
        """Why the drive is not backed up any more, where its account or its tenant has changed since it was queued."""
        if claim.kind != BACKUP:
            return None
        if not may_run:
            return Result(FAILED, reason="consent-lost", message="The organisation's consent was lost before its turn.")
        account = self._desk.registry.accounts.get(claim.tenant, claim.account)
        if account is not None and account.state == PROTECTED and account.included:
            return None
        state = account.state if account is not None else "left"
        reason = _REASON_OF_STATE.get(state, CANCELLED)
        return Result(FAILED, reason=reason, message=f"Before its turn came, the account's state became {state}.")

    def _held(self, tenant: str, account: str, token: str) -> Claim:
        claim = self._desk.claim(tenant, account)
        if claim is None or not token or claim.token != token:
            raise ClaimLost(
                "This drive is not being worked on by this lane any more.",
                why="It gave no sign of life for too long, or was ended otherwise.",
                remedy="Nothing needs to be done: whoever has it now goes on with what was saved.",
            )
        return claim

    def _was_given_back(self, tenant: str, account: str, token: str, how: str) -> bool:
        row = self._desk.registry.table.get(keys.part(tenant), rows.ended_key(account))
        return row is not None and (row.values["token"], row.values["how"]) == (token, how)

    def _requeueing(self, claim: Claim, not_before: datetime.datetime | None, reason: str, deaths: int) -> list[Change]:
        """To the end of the queue; what the turn has done is added to its run."""
        now = self._desk.now()
        worked = (now - claim.started_at).total_seconds() if claim.started_at else 0.0
        back = replace(
            claim,
            token="",
            lane="",
            started_at=None,
            beat_at=None,
            may_start_at=max(now, not_before) if not_before else now,
            worked_seconds=claim.worked_seconds + worked,
            counted=claim.progress,
            deaths=deaths,
            put_back_for=reason,
        )
        changes: list[Change] = [
            Replace(rows.claim_key(claim.account), rows.claim_values(back), claim.etag),
            Insert(rows.queue_key(back), rows.leading_values(back)),
            Delete(rows.active_key(claim.account)),
        ]
        run = self._desk.run_of(claim)
        if run is not None:
            changes += run_changes(run, replace(run, progress=run.progress + claim.uncounted))
        return changes


_REASON_OF_STATE = {
    "left": "account-gone",
    "no-drive": "no-drive",
    "guest": "no-drive",
    "sign-in-again": "sign-in-again",
}


def _interrupted(why: str) -> Result:
    return Result(
        FAILED,
        reason=INTERRUPTED,
        message=f"Its process died {DEATHS_MAX} times in a row without having saved anything: {why}.",
    )


def _taking(taken: Claim, etag: str, run: Run | None, now: datetime.datetime) -> list[Change]:
    changes: list[Change] = [
        Replace(rows.claim_key(taken.account), rows.claim_values(taken), etag),
        Insert(rows.active_key(taken.account), rows.leading_values(taken)),
    ]
    if run is not None and run.state == QUEUED:
        changes += run_changes(run, replace(run, state=RUNNING, started_at=now))
    return changes
