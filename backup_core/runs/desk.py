"""What every part of runs/ works with: the registry, the clock, and the few reads that all of them need."""

import contextlib
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backup_core.clock import Clock
from backup_core.errors import NotFound, Usage
from backup_core.registry import keys
from backup_core.registry.accounts import Account
from backup_core.registry.registry import Registry
from backup_core.registry.table import Change, Insert, commit
from backup_core.registry.tenants import CONNECTED, CONSENT_LOST
from backup_core.runs import rows
from backup_core.runs.claim import BACKUP, Claim
from backup_core.runs.run import Run
from backup_core.runs.schedule import next_due


@dataclass(frozen=True)
class Desk:
    """`new_id`: hexadecimal digits that nobody can guess and that never come twice, at least 8 of them."""

    registry: Registry
    clock: Clock
    default_cron: str
    new_id: Callable[[], str]

    def now(self) -> datetime.datetime:
        """In whole milliseconds, as rows keep it."""
        now = self.clock.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def commit(self, tenant: str, make_changes: Callable[[], Sequence[Change]]) -> None:
        """As `registry.table.commit`, in the tenant's partition."""
        commit(self.registry.table, self.clock, keys.part(tenant), make_changes)

    def may_run(self, tenant: str) -> bool:
        """Whether anything of the tenant may be started or queued by itself."""
        found = self.registry.tenants.get(tenant)
        return found is not None and found.state == CONNECTED and not found.paused

    def has_lost_consent(self, tenant: str) -> bool:
        """Whether what is queued for the tenant cannot be done any more. Of a paused one it waits all the same."""
        found = self.registry.tenants.get(tenant)
        return found is not None and found.state == CONSENT_LOST and not found.paused

    def claim(self, tenant: str, account: str) -> Claim | None:
        row = self.registry.table.get(keys.part(tenant), rows.claim_key(account))
        return row and rows.read_claim(row)

    def run(self, run_id: str) -> Run:
        """NotFound."""
        row = self.registry.table.get(keys.part(rows.tenant_of(run_id)), rows.RUNS + rows.run_key(run_id).lower())
        if row is None:
            raise NotFound("There is no such run.")
        return rows.read_run(row)

    def run_of(self, claim: Claim) -> Run | None:
        """None for maintenance."""
        return self.run(claim.run) if claim.run else None

    def fill(self, tenant: str, kind: str) -> rows.Fill | None:
        row = self.registry.table.get(keys.part(tenant), rows.FILL + kind)
        return row and rows.read_fill(row)

    def serves(self, claim: Claim, run: Run) -> bool:
        """Whether whoever asks for `run` gets what they want by waiting for `claim`."""
        if claim.kind != BACKUP or (claim.dry_run and not run.dry_run):
            return False
        claimed_by = self.run_of(claim)
        return claimed_by is not None and not claimed_by.cancelled

    def due_after(self, account: Account, now: datetime.datetime) -> datetime.datetime:
        """When the account is due again. Usage where the default schedule is none.

        One account's schedule that cannot be read must not stop the tick for all others: the default stands in.
        """
        if account.schedule:
            with contextlib.suppress(Usage):
                return next_due(account.schedule, now, account.tenant, account.id)
        return next_due(self.default_cron, now, account.tenant, account.id)

    def moved_on(self, account: Account, now: datetime.datetime) -> Account:
        """With the next time at which it is due, where that has come."""
        if account.next_due_at is None or account.next_due_at > now:
            return account
        return replace(account, next_due_at=self.due_after(account, now))

    def queued(self, run: Run, account: str, now: datetime.datetime) -> Claim:
        """A claim of the run, as it is queued."""
        return Claim(
            tenant=run.tenant,
            account=account.lower(),
            kind=BACKUP,
            run=run.id,
            queued_at=now,
            may_start_at=now,
            source=run.source,
            tags=run.tags,
            dry_run=run.dry_run,
        )


def queueing(claim: Claim) -> list[Change]:
    """What adds a claim where there is none."""
    return [
        Insert(rows.claim_key(claim.account), rows.claim_values(claim)),
        Insert(rows.queue_key(claim), rows.leading_values(claim)),
    ]
