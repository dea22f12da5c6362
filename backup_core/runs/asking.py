"""Asking for a run by hand, and cancelling one: what a person or a program may want, and when it is refused."""

from dataclasses import replace

from backup_core.errors import DrivekeepError, NotFound
from backup_core.registry.accounts import PROTECTED, Account
from backup_core.registry.audit import entry
from backup_core.registry.table import Change, Insert
from backup_core.registry.tenants import CONNECTED
from backup_core.runs import rows
from backup_core.runs.claim import Claim
from backup_core.runs.desk import Desk
from backup_core.runs.ending import Ending, run_changes, whole_kind
from backup_core.runs.filling import Filling
from backup_core.runs.run import Run

_PIECES_AT_ONCE = 4  # while the asker waits; lanes with nothing to do, and ticks, go on with the rest
_SWEEPS_AT_ONCE = 40


class Refused(DrivekeepError):
    """The run is not begun. `reason`: what the tenant or the account is ("paused", "pending", "consent-lost",
    "excluded", "no-drive", "guest", "left", "sign-in-again"), or "busy": something goes first."""

    reason = "refused"


class Asking:
    def __init__(self, desk: Desk, ending: Ending, filling: Filling) -> None:
        self._desk, self._ending, self._filling = desk, ending, filling

    def request(self, wanted: Run, account: str | None) -> Run:
        self._check_tenant(wanted.tenant)
        if account is not None:
            return self._of_account(wanted, account)
        run_id = self._of_tenant(wanted)
        self._filling.fill_whole(wanted.tenant, whole_kind(wanted.dry_run), _PIECES_AT_ONCE)
        return self._desk.run(run_id)

    def cancel(self, run_id: str, who: str) -> Run:
        def make_changes() -> list[Change]:
            run = self._desk.run(run_id)
            if not run.open or run.cancelled:
                return []
            noted = entry(self._desk.clock, who, "run.cancel", run.id)
            return [*run_changes(run, replace(run, cancelled=True)), noted]

        tenant = rows.tenant_of(run_id)
        self._desk.commit(tenant, make_changes)
        run = self._desk.run(run_id)
        for _ in range(_SWEEPS_AT_ONCE):
            if not self._ending.sweep(run.id):
                break
        if run.whole:
            self._filling.fill_whole(tenant, whole_kind(run.dry_run), pieces=1)
        return self._desk.run(run_id)

    def _check_tenant(self, tenant: str) -> None:
        found = self._desk.registry.tenants.get(tenant)
        if found is None:
            raise NotFound("There is no such tenant.")
        if found.state != CONNECTED:
            remedy = "Approve it first." if found.state == "pending" else "An administrator of it has to consent again."
            raise Refused(f"The tenant is {found.state}.", remedy=remedy, reason=found.state)
        if found.paused:
            raise Refused("The tenant is paused.", remedy="End the pause first.", reason="paused")

    def _of_account(self, wanted: Run, account: str) -> Run:
        answer = wanted.id

        def make_changes() -> list[Change]:
            nonlocal answer
            found = self._account(wanted.tenant, account)
            run, now = replace(wanted, account=found.id, drives_total=1), self._desk.now()
            claim = self._desk.claim(run.tenant, found.id)
            beside = claim and self._run_beside(claim, run)
            if beside:
                answer = beside
                return []
            answer = run.id
            return [*self._filling.adding(run, found.id, claim, now), *self._noted(run, found.upn or found.id)]

        self._desk.commit(wanted.tenant, make_changes)
        return self._desk.run(answer)

    def _run_beside(self, claim: Claim, run: Run) -> str:
        """The id of a run that does what `run` would do; "" where there is none and `run` may wait for the claim."""
        if self._desk.serves(claim, run):
            return claim.run
        if run.dry_run or (claim.next_run and self._desk.run(claim.next_run).cancelled):
            raise Refused(
                "The drive is busy.",
                why="Its maintenance or another run has to end first.",
                remedy="Try again when that has ended.",
                reason="busy",
            )
        return claim.next_run

    def _account(self, tenant: str, id_or_upn: str) -> Account:
        found = self._desk.registry.accounts.find(tenant, id_or_upn)
        if found is None:
            raise NotFound("There is no such account.")
        state = "excluded" if found.state == PROTECTED and not found.included else found.state
        if state != PROTECTED:
            raise Refused(f"The account's state is {state}.", why="Such an account is not backed up.", reason=state)
        return found

    def _of_tenant(self, wanted: Run) -> str:
        """The id of the run: where one of the whole tenant is under way already, of that one."""
        kind, answer = whole_kind(wanted.dry_run), wanted.id

        def make_changes() -> list[Change]:
            nonlocal answer
            under_way = self._desk.fill(wanted.tenant, kind)
            if under_way is not None:
                answer = under_way.run
                if self._desk.run(answer).cancelled:
                    raise Refused("The run that was cancelled is still ending.", remedy="Try again.", reason="busy")
                return []
            if not self._desk.registry.accounts.page(wanted.tenant, None, 1, PROTECTED):
                raise Refused("The tenant has no account that is backed up.", reason="no-drive")
            answer = wanted.id
            fill = Insert(rows.FILL + kind, rows.fill_values(rows.Fill(wanted.id)))
            return [fill, *self._noted(replace(wanted, filling=True), "all accounts")]

        self._desk.commit(wanted.tenant, make_changes)
        return answer

    def _noted(self, run: Run, target: str) -> list[Change]:
        details = {"run": run.id, "dry_run": run.dry_run}
        noted = entry(self._desk.clock, run.who, "run.request", target, details)
        return [Insert(rows.RUNS + rows.run_key(run.id), rows.run_values(run)), noted]
