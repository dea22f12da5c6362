"""What an operator sees at a glance: how many accounts of each organisation are safe, and which problems there are.

Computed from the counts that the registry keeps and from what is late: an organisation of ten thousand accounts costs
as few requests as one of ten. It knows no HTML, and does not decide who may see it.
"""

import datetime
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from backup_core.errors import DrivekeepError
from backup_core.registry import keys
from backup_core.registry.accounts import PROTECTED
from backup_core.registry.tenants import Tenant
from backup_core.runs import rows
from backup_core.runs.run import COMPLETE, FAILED, INCOMPLETE, Run
from backup_core.service import Problem, Service

TENANTS_A_PAGE = 25  # each costs five small requests to the registry
_THREADS = 8

# A drive that is late by less is queued, throttled or large. A day later, yesterday is not saved.
LATE = datetime.timedelta(days=1)

# So many late accounts are looked at one by one. Where there are more, what matters is why, not which.
_LATE_READ_MAX = 10
_LATE_COUNTED_MAX = 1000


@dataclass(frozen=True)
class Tally:
    """Accounts by what they ask of an operator; each counts once, for the first of these that fits.

    failing: the last backup failed or lacks items, or the person must sign in again. stale: never saved, or late.
    safe: the last backup is complete and the next one is not late. pending: waits for approval. other: there is nothing
    to back up (no drive, guest, excluded, left).
    """

    safe: int = 0
    stale: int = 0
    failing: int = 0
    pending: int = 0
    other: int = 0

    def __add__(self, more: "Tally") -> "Tally":
        return Tally(
            self.safe + more.safe,
            self.stale + more.stale,
            self.failing + more.failing,
            self.pending + more.pending,
            self.other + more.other,
        )

    @property
    def protected(self) -> int:
        return self.safe + self.stale + self.failing


@dataclass(frozen=True)
class Line:
    """One organisation. `behind`: so many accounts are late that some of the stale may in truth be safe, none worse."""

    tenant: Tenant
    tally: Tally
    behind: bool
    last_run: Run | None


@dataclass(frozen=True)
class Overview:
    """One page. `after`: the tenant id after which the next page begins, "" on the last. `is_part`: not all are here.

    `is_known`: False where the registry could not be read.
    """

    problems: Sequence[Problem]
    lines: Sequence[Line] = ()
    after: str = ""
    is_part: bool = False
    is_known: bool = True

    @property
    def total(self) -> Tally:
        return sum((line.tally for line in self.lines), Tally())


def overview(service: Service, tenant: str | None, after: str | None) -> Overview:
    """A page of organisations: of `tenant` alone, or where that is None of all, those that follow the id `after`.

    A registry that cannot be read is one more problem on the page, not an error: an operator came to see just that.
    """
    problems = list(service.problems())
    try:
        found, next_after = _tenants(service, tenant, after)
        with ThreadPoolExecutor(_THREADS) as pool:
            lines = list(pool.map(lambda each: _line(service, each), found))
    except DrivekeepError as error:
        if error.reason not in {problem.reason for problem in problems}:
            problems.append(Problem(error.reason, " ".join(filter(None, (error.what, error.why))), error.remedy))
        return Overview(problems, is_known=False)
    return Overview(problems, lines, next_after, is_part=bool(after or next_after))


def _tenants(service: Service, tenant: str | None, after: str | None) -> tuple[list[Tenant], str]:
    tenants = service.registry.tenants
    if tenant is not None:
        only = tenants.get(tenant)
        return [only] if only else [], ""
    found = tenants.page(after, TENANTS_A_PAGE + 1)
    shown = found[:TENANTS_A_PAGE]
    return shown, shown[-1].id if len(found) > len(shown) else ""


def _line(service: Service, tenant: Tenant) -> Line:
    late = _late(service, tenant.id, service.clock.now() - LATE)
    newest = service.runs.page(tenant.id, None, 1)
    return Line(tenant, _tally(service, tenant.id, late), len(late) > _LATE_READ_MAX, newest[0] if newest else None)


def _late(service: Service, tenant: str, before: datetime.datetime) -> set[str]:
    """The accounts that have been due since before that time, and those that have waited in the queue of a run that
    began before: these are due again in the future only, though nothing has been done for them.
    """
    queue = service.registry.table.rows(
        keys.part(tenant), rows.QUEUE, keys.end(rows.QUEUE), limit=_LATE_COUNTED_MAX, columns=["account", "run"]
    )
    first_late = keys.inverted(before)
    waiting = {str(row.values["account"]) for row in queue if rows.run_key(str(row.values["run"]))[:12] > first_late}
    return waiting.union(service.registry.accounts.overdue(tenant, before, _LATE_COUNTED_MAX))


def _tally(service: Service, tenant: str, late: Collection[str]) -> Tally:
    counts = service.registry.accounts.counts(tenant)
    states, outcomes = dict(counts.states), counts.outcomes
    complete = outcomes.get(COMPLETE, 0)
    late_complete = min(complete, _late_complete(service, tenant, late, complete))
    failing = outcomes.get(FAILED, 0) + outcomes.get(INCOMPLETE, 0) + states.pop("sign-in-again", 0)
    return Tally(
        safe=complete - late_complete,
        stale=outcomes.get("", 0) + late_complete,
        failing=failing,
        pending=states.pop("pending", 0),
        other=sum(number for state, number in states.items() if state != PROTECTED),
    )


def _late_complete(service: Service, tenant: str, late: Collection[str], complete: int) -> int:
    """How many of the late accounts would be safe if they were not late.

    Where they are too many to be looked at, all of them; where they are too many even to be counted, all there are:
    what is called safe may be too little, and is never too much.
    """
    if len(late) >= _LATE_COUNTED_MAX:
        return complete
    if len(late) > _LATE_READ_MAX:
        return len(late)
    accounts = [service.registry.accounts.get(tenant, each) for each in late]
    return sum(account is not None and account.outcome == COMPLETE for account in accounts)
