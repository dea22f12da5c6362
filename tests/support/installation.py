"""A registry in memory with tenants and accounts, and what must hold of its rows whatever has happened."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from backup_core.clock import Clock
from backup_core.registry import keys
from backup_core.registry.accounts import Account
from backup_core.registry.master_key import MasterKey
from backup_core.registry.registry import Registry
from backup_core.registry.sealing import Sealer
from backup_core.registry.table import Row
from backup_core.registry.tenants import Tenant
from backup_core.runs import rows
from backup_core.runs.claim import Claim
from backup_core.runs.reports import Reports
from backup_core.runs.run import COMPLETE, Result
from backup_core.runs.runs import Runs
from backup_core.storage.memory import MemoryStore
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.memory_table import MemoryTable

TENANT = "11111111-aaaa-4bbb-8ccc-000000000001"
OTHER = "22222222-aaaa-4bbb-8ccc-000000000002"
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DONE = Result(COMPLETE, snapshot_id="5" * 64)


def account_id(number: int) -> str:
    return f"acc00000-0000-4000-8000-{number:012d}"


class World:
    """One installation. `table` may be wrapped; `runs` is what a process has, and may be made anew."""

    def __init__(self, clock: Clock | None = None, cron: str = "0 2 * * *", table: Any = None) -> None:
        self.table: Any = table or MemoryTable()
        self.clock = clock or FakeClock(NOON)
        self.cron = cron
        self.store = MemoryStore()
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self.sealer = Sealer(MasterKey(bytes(32)), "report")
        self.runs = self.process(self.table)
        self.registry = Registry(self.table, self.clock, lambda: self.sealer)

    def process(self, table: Any) -> Runs:
        registry = Registry(table, self.clock, lambda: self.sealer)
        return Runs(registry, Reports(self.store, lambda: self.sealer), self.clock, self.cron, self.new_id)

    def new_id(self) -> str:
        with self._lock:
            return f"{next(self._ids):08x}"

    def tenant(self, tenant: str = TENANT, **fields: Any) -> None:
        self.registry.tenants.save(self.registry.tenants.get(tenant), Tenant(tenant, **fields))

    def accounts(self, count: int, tenant: str = TENANT, **fields: Any) -> list[str]:
        """So many accounts that are due now, unless `fields` say otherwise."""
        given = {"next_due_at": self.clock.now(), **fields}
        ids = [account_id(number) for number in range(count)]
        for each in ids:
            made = Account(each, tenant, upn=f"{each[-4:]}@contoso.com", **given)
            self.registry.commit(tenant, lambda made=made: self.registry.accounts.changes(None, made))
        return ids

    def change(self, account: str, tenant: str = TENANT, **fields: Any) -> None:
        before = self.account(account, tenant)
        self.registry.commit(tenant, lambda: self.registry.accounts.changes(before, replace(before, **fields)))

    def account(self, account: str, tenant: str = TENANT) -> Account:
        found = self.registry.accounts.get(tenant, account)
        assert found is not None
        return found

    def rows(self, prefix: str, tenant: str = TENANT) -> list[Row]:
        return list(self.table.rows(tenant, prefix, keys.end(prefix)))

    def work_off(self, tenant: str = TENANT, result: Result = DONE, lane: str = "lane") -> list[Claim]:
        """Take and finish whatever may start now."""
        done = []
        while (claim := self.runs.claim_next(tenant, lane)) is not None:
            self.runs.finish(tenant, claim.account, claim.token, result)
            done.append(claim)
        return done

    def check(self, tenant: str = TENANT) -> None:
        """What must hold between any two transactions."""
        claims = [rows.read_claim(row) for row in self.rows(rows.CLAIMS, tenant)]
        queued = sorted(rows.queue_key(claim) for claim in claims if claim.state == "queued")
        running = sorted(rows.active_key(claim.account) for claim in claims if claim.state == "running")
        assert queued == [row.key for row in self.rows(rows.QUEUE, tenant)]
        assert running == [row.key for row in self.rows(rows.ACTIVE, tenant)]
        states: dict[str, Counter[str]] = {}
        for row in self.rows(rows.RESULTS, tenant):
            key = row.key.split(":")[1]
            states.setdefault(key, Counter())[rows.read_outcome(row).state] += 1
        for row in self.rows(rows.RUNS, tenant):
            run = rows.read_run(row)
            ended = states.get(rows.run_key(run.id), Counter())
            assert {state: count for state, count in run.ended.items() if count} == dict(ended)
            waiting = sum((claim.run == run.id) + (claim.next_run == run.id) for claim in claims)
            assert run.drives_total == run.drives_done + waiting
            assert run.open == (run.filling or waiting > 0)
            assert (run.finished_at is None) == run.open
        self._check_registry(tenant)

    def _check_registry(self, tenant: str) -> None:
        accounts = self.registry.accounts.page(tenant, None, 100_000)
        due = {account.id for account in accounts if account.due_at}
        assert {str(row.values["account"]) for row in self.rows(keys.DUE, tenant)} == due
        assert len(self.rows(keys.DUE, tenant)) == len(due)
        counts = self.registry.accounts.counts(tenant)
        assert counts.states == Counter(account.state for account in accounts)
        protected = [account.outcome for account in accounts if account.state == "protected"]
        assert counts.outcomes == Counter(protected)


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `count` threads bring that begin together; their errors are raised here."""
    barrier, found, errors = threading.Barrier(count), [None] * count, []

    def body(number: int) -> None:
        barrier.wait()
        try:
            found[number] = work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found
