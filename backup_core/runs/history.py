"""What has run and what runs: runs with their progress, newest first, and the results of each. It changes nothing."""

import datetime
import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from backup_core.registry import keys
from backup_core.runs import rows
from backup_core.runs.claim import Claim
from backup_core.runs.desk import Desk
from backup_core.runs.lanes import Lanes
from backup_core.runs.run import Outcome, Run

_FIRST_ROWS = 4  # of each tenant, where runs of many tenants are merged: most of them add one or two to a page
_TENANTS_PAGE = 100


class History:
    def __init__(self, desk: Desk, lanes: Lanes) -> None:
        self._desk, self._lanes = desk, lanes

    def get(self, run_id: str) -> Run:
        return self._with_pace([self._desk.run(run_id)])[0]

    def page(self, tenant: str | None, after: str | None, limit: int) -> list[Run]:
        newest = self._of_tenant(tenant, after, limit) if tenant is not None else self._of_all(after, limit)
        return self._with_pace(list(itertools.islice(newest, limit)))

    def results(self, run_id: str, after: str | None, limit: int) -> list[Outcome]:
        first = rows.result_key(run_id.lower(), after) if after else f"{rows.RESULTS}{rows.run_key(run_id).lower()}:"
        found = self._desk.registry.table.rows(
            keys.part(rows.tenant_of(run_id)),
            keys.after(first) if after else first,
            keys.end(f"{rows.RESULTS}{rows.run_key(run_id).lower()}:"),
            limit=limit,
        )
        return [rows.read_outcome(row) for row in found]

    def _of_tenant(self, tenant: str, after: str | None, limit: int) -> Iterator[Run]:
        first = keys.after(rows.RUNS + rows.run_key(after).lower()) if after else rows.RUNS
        return self._rows(tenant, first, limit)

    def _of_all(self, after: str | None, limit: int) -> Iterator[Run]:
        """The runs of all tenants, merged by their keys, of which the newest sorts first; equal ones by tenant."""
        after = after.lower() if after else None
        each = [self._in_pieces(tenant, after, limit) for tenant in self._tenants()]
        return heapq.merge(*each, key=_newest_first)

    def _in_pieces(self, tenant: str, after: str | None, limit: int) -> Iterator[Run]:
        first, wanted = rows.RUNS + rows.run_key(after) if after else rows.RUNS, _FIRST_ROWS
        while True:
            found = list(self._rows(tenant, first, wanted))
            yield from (run for run in found if not after or _newest_first(run) > (rows.run_key(after), after))
            if len(found) < wanted:
                return
            first, wanted = keys.after(rows.RUNS + rows.run_key(found[-1].id)), max(limit, _FIRST_ROWS)

    def _tenants(self) -> Iterator[str]:
        after: str | None = None
        while True:
            page = self._desk.registry.tenants.page(after, _TENANTS_PAGE)
            yield from (tenant.id for tenant in page)
            if len(page) < _TENANTS_PAGE:
                return
            after = page[-1].id

    def _rows(self, tenant: str, first: str, limit: int) -> Iterator[Run]:
        found = self._desk.registry.table.rows(keys.part(tenant), first, keys.end(rows.RUNS), limit=limit)
        return (rows.read_run(row) for row in found)

    def _with_pace(self, runs: list[Run]) -> list[Run]:
        """With what the running drives have done so far; of each tenant those are read once."""
        tenants = {run.tenant for run in runs if run.open}
        active = {tenant: self._lanes.active(tenant) for tenant in tenants}
        return [_paced(run, active.get(run.tenant, []), self._desk.now()) for run in runs]


def _newest_first(run: Run) -> tuple[str, str]:
    return rows.run_key(run.id), run.id


def _paced(run: Run, active: Iterable[Claim], now: datetime.datetime) -> Run:
    if not run.open:
        return run
    mine = [claim for claim in active if claim.run == run.id]
    progress = run.progress
    for claim in mine:
        progress += claim.uncounted
    return replace(run, progress=progress, estimated_end_at=_estimated_end(run, mine, now))


def _estimated_end(run: Run, active: Iterable[Claim], now: datetime.datetime) -> datetime.datetime | None:
    """As if what is left went as fast as what is done, drives counted alike; None before anything is done."""
    if run.started_at is None or run.filling or not run.drives_total:
        return None
    done = run.drives_done + sum(map(_share_done, active))
    if done <= 0 or now <= run.started_at:
        return None
    seconds = (now - run.started_at).total_seconds() * (run.drives_total - done) / done
    try:
        return now + datetime.timedelta(seconds=round(seconds))
    except OverflowError:
        return None  # a first item among millions says nothing yet


def _share_done(claim: Claim) -> float:
    """Of one drive, from 0 to 1; 0 while the number of its items is not known."""
    total = claim.progress.items_total
    return min(claim.progress.items_done / total, 1.0) if total > 0 else 0.0
