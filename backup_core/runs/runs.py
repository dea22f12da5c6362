"""Runs: the door to everything in this package, one method each. How each works is told in the module that does it."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backup_core.clock import Clock
from backup_core.registry.accounts import Account
from backup_core.registry.registry import Registry
from backup_core.runs import rows
from backup_core.runs.asking import Asking
from backup_core.runs.claim import Claim
from backup_core.runs.desk import Desk
from backup_core.runs.ending import Ending
from backup_core.runs.filling import Filling, Queued
from backup_core.runs.history import History
from backup_core.runs.lanes import Freed, Lanes
from backup_core.runs.reports import Reports
from backup_core.runs.run import Outcome, Result, Run

NOTHING: Mapping[str, Any] = {}


class Runs:
    """Safe for many threads and processes: what they share are rows with versions.

    `default_cron`: of accounts without a schedule of their own. `new_id`: hexadecimal digits that nobody can guess and
    that never come twice, at least 8. Every method may raise Temporary (the table, or too many writers at once).
    """

    def __init__(
        self, registry: Registry, reports: Reports, clock: Clock, default_cron: str, new_id: Callable[[], str]
    ) -> None:
        self.reports = reports
        self._desk = Desk(registry, clock, default_cron, new_id)
        ending, self._filling = Ending(self._desk), Filling(self._desk)
        self._lanes = Lanes(self._desk, ending, self._filling)
        self._asking = Asking(self._desk, ending, self._filling)
        self._history = History(self._desk, self._lanes)

    # -- what is asked for ---------------------------------------------------------------------------------------------

    def request(
        self,
        tenant: str,
        account: str | None,
        *,
        trigger: str = "api",
        source: str | None = None,
        tags: Sequence[str] = (),
        dry_run: bool = False,
        who: str,
    ) -> Run:
        """A run of one account (by id or user principal name) or, with None, of all accounts that are backed up.

        Where the same is under way already: that run. A dry run is not the same as a backup: a backup waits for its
        end. NotFound; Refused where the tenant or the account is in no state for it.
        """
        now = self._desk.now()
        run_id = rows.new_run_id(tenant, now, self._desk.new_id())
        wanted = Run(run_id, tenant.lower(), None, trigger, now, who, source, tuple(tags), dry_run)
        return self._asking.request(wanted, account)

    def cancel(self, run_id: str, who: str) -> Run:
        """Nothing of the run is begun any more, and lanes that work for it learn it with their next beat.

        A run that has ended stays as it is. NotFound.
        """
        return self._asking.cancel(run_id.lower(), who)

    def queue_due(self, tenant: str, now: datetime.datetime) -> Queued:
        """Queue the accounts that are due, all in one run, and move each to its next time.

        Bounded: where `more` is true, call again with the same `now`. A drive that is being backed up already stays
        out and waits for its next time; one with a dry run or maintenance under way is queued behind that.
        """
        return self._filling.queue_due(tenant, now)

    def queue_maintenance(self, tenant: str, now: datetime.datetime) -> int:
        """Queue the weekly maintenance that is due, of drives that have no other claim: how many.

        It is first due a week after a drive's first snapshot. Such a claim belongs to no run.
        """
        return self._filling.queue_maintenance(tenant, now)

    def due_again(self, account: Account) -> datetime.datetime:
        """When an account is due that is to be backed up from now on: at once where it never was."""
        now = self._desk.now()
        return now if account.last_success_at is None else self._desk.due_after(account, now)

    # -- what lanes do -------------------------------------------------------------------------------------------------

    def claim_next(self, tenant: str, lane: str) -> Claim | None:
        """The drive that has waited longest, now held by this lane; None where none may start now.

        A lane holds one claim: what it still held before is freed. So no two lanes of a tenant may have one name.
        A drive whose run was cancelled, whose account is not backed up any more, or whose tenant has lost its consent
        ends here with that result.
        """
        return self._lanes.claim_next(tenant, lane)

    def beat(
        self, tenant: str, account: str, token: str, progress: Mapping[str, Any], gained: Mapping[str, Any] = NOTHING
    ) -> Claim:
        """A sign of life, at least every few minutes, with what was done for the drive since its run began.

        Both have the names of run.Progress: `progress` totals, `gained` what comes on top of what is known, so that
        several may work on one claim. The claim that is returned says whether its run was `cancelled`. ClaimLost.
        """
        return self._lanes.beat(tenant, account, token, progress, gained)

    def note_done(self, tenant: str, account: str, token: str, told: Mapping[str, Any]) -> None:
        """The drive's work is done, and `told` is what is to be said of it; kept until the claim ends. ClaimLost."""
        self._lanes.note_done(tenant, account, token, told)

    def finish(self, tenant: str, account: str, token: str, result: Result) -> None:
        """The end of a claim. To do it twice is no error; ClaimLost where it is another's, and then nothing changes."""
        self._lanes.finish(tenant, account, token, result)

    def put_back(
        self, tenant: str, account: str, token: str, not_before: datetime.datetime | None, reason: str
    ) -> None:
        """To the end of the queue, not to be started before `not_before`; what was done stays counted.

        To do it twice is no error; ClaimLost.
        """
        self._lanes.put_back(tenant, account, token, not_before, reason)

    # -- what watches over them ----------------------------------------------------------------------------------------

    def active(self, tenant: str) -> list[Claim]:
        """The claims that lanes hold."""
        return self._lanes.active(tenant)

    def waiting(self, tenant: str, now: datetime.datetime) -> int:
        """How many claims could start now; 100 stands for that and more."""
        return self._lanes.waiting(tenant, now)

    def free(self, claim: Claim, why: str) -> Freed:
        """Take a claim, as `active` gave it, from a lane that is dead: "requeued".

        "failed": it has died for the third time in a row without having done anything, or its run was cancelled.
        "alive": it has given a sign of life since it was read, and nothing was done.
        """
        return self._lanes.free(claim, why)

    # -- what is shown -------------------------------------------------------------------------------------------------

    def get(self, run_id: str) -> Run:
        """One run with its progress until now. NotFound."""
        return self._history.get(run_id)

    def page(self, tenant: str | None, after: str | None, limit: int) -> list[Run]:
        """Up to `limit` runs, the newest first, those that follow the run `after`; None: of all tenants."""
        return self._history.page(tenant, after, limit)

    def results(self, run_id: str, after: str | None, limit: int) -> list[Outcome]:
        """How the run ended for up to `limit` accounts, by id, those that follow the account `after`."""
        return self._history.results(run_id, after, limit)
