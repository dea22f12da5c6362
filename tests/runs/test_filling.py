"""What ticks queue: every due account once, in bounded pieces, whatever happens in between."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from support.installation import DONE, NOON, TENANT, World, account_id, at_once

from backup_core.registry.table import Change, Put, Table
from backup_core.runs import rows
from backup_core.runs.run import COMPLETE, FAILED, Result
from backup_core.testing.faulty_store import Crash


class DyingTable:
    """Dies at the `nth` transaction, before or after its effect, as a process does."""

    def __init__(self, inner: Table, nth: int, after: bool) -> None:
        self._inner, self._nth, self._after = inner, nth, after
        self._lock, self._count = threading.Lock(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def transact(self, partition: str, changes: list[Change]) -> None:
        with self._lock:
            self._count += 1
            count = self._count
        if count < self._nth or (count == self._nth and self._after):
            self._inner.transact(partition, changes)
        if count >= self._nth:
            raise Crash


def queue_all(world: World) -> list[str]:
    """The runs of a tick that goes on until nothing is left."""
    now, runs = world.clock.now(), []
    while True:
        run, more = world.runs.queue_due(TENANT, now)
        runs += [run.id] if run else []
        if not more:
            return runs


def test_a_tick_makes_one_run_of_what_is_due(world: World) -> None:
    """Due accounts are in one run, each once; the others wait; a second tick finds nothing."""
    ids = world.accounts(5)
    world.change(ids[4], next_due_at=NOON + timedelta(hours=1))
    run, more = world.runs.queue_due(TENANT, NOON)
    assert run is not None
    assert (run.drives_total, run.state, run.trigger, run.account, more) == (4, "queued", "schedule", None, False)
    assert world.runs.queue_due(TENANT, NOON) == (None, False)
    assert [claim.account for claim in world.work_off()] == ids[:4]
    world.check()
    assert [(each.account, each.state) for each in world.runs.results(run.id, None, 10)] == [
        (each, COMPLETE) for each in ids[:4]
    ]


def test_nothing_is_queued_for_who_is_not_connected_or_paused(world: World) -> None:
    """Pending, consent-lost, paused and unknown tenants wait; after a pause everything overdue is caught up once."""
    world.accounts(2)
    for fields in ({"state": "pending"}, {"state": "consent-lost"}, {"paused": True}):
        world.tenant(**fields)
        assert world.runs.queue_due(TENANT, NOON) == (None, False)
        assert world.runs.queue_maintenance(TENANT, NOON) == 0
    assert world.runs.queue_due("33333333-aaaa-4bbb-8ccc-000000000003", NOON) == (None, False)
    world.clock.advance(5 * 24 * 3600)
    world.tenant()
    queue_all(world)
    assert len(world.work_off()) == 2
    assert queue_all(world) == []


def test_many_due_accounts_are_queued_in_bounded_pieces(world: World) -> None:
    """Hundreds of due accounts: several calls, each with bounded work, one run, and every account in it once."""
    ids = world.accounts(400)
    calls, run = 0, None
    while True:
        before = world.table.requests
        queued = world.runs.queue_due(TENANT, NOON)
        calls += 1
        assert world.table.requests - before < 1200
        assert run is None or queued.run is None or queued.run.id == run
        run = queued.run.id if queued.run else run
        if not queued.more:
            break
        world.check()
    assert calls == 2
    assert run is not None
    assert (world.runs.get(run).drives_total, world.runs.get(run).filling) == (400, False)
    assert sorted(claim.account for claim in world.work_off()) == ids
    world.check()
    assert world.runs.get(run).state == COMPLETE


def test_a_run_stays_open_while_it_is_filled(world: World) -> None:
    """Lanes that are faster than the tick do not end the run before its last account is in."""
    world.accounts(40)
    world.runs._filling._due_piece(TENANT, NOON)
    run = world.runs.page(TENANT, None, 1)[0]
    claims = [world.runs.claim_next(TENANT, f"lane-{number}") for number in range(run.drives_total)]
    for claim in claims:
        assert claim is not None
        world.runs.finish(TENANT, claim.account, claim.token, DONE)
    middle = world.runs.get(run.id)
    assert (middle.drives_done, middle.drives_total, middle.state) == (18, 18, "running")
    assert middle.estimated_end_at is None
    world.check()
    world.work_off()
    assert world.runs.get(run.id).drives_total == 40
    assert world.runs.get(run.id).state == COMPLETE
    world.check()


def test_two_ticks_at_once(world: World) -> None:
    """Eight ticks at the same moment make one run with every account once."""
    ids = world.accounts(60)
    at_once(8, lambda number: queue_all(world))
    world.check()
    assert sorted(claim.account for claim in world.work_off()) == ids
    world.check()
    assert len(world.rows(rows.RESULTS)) == 60


@pytest.mark.parametrize("after", [False, True])
def test_a_tick_killed_between_any_two_transactions(after: bool) -> None:
    """Wherever the tick dies, the rows agree, and the next tick takes the rest: each account once."""
    for nth in range(1, 5):
        world = World()
        world.tenant()
        ids = world.accounts(50)
        dying = world.process(DyingTable(world.table, nth, after))
        try:
            dying.queue_due(TENANT, NOON)
            assert nth > 3, "the tick was not killed"
        except Crash:
            pass
        world.check()
        world.clock.advance(900)
        queue_all(world)
        world.check()
        assert sorted(claim.account for claim in world.work_off()) == ids
        world.check()
        assert len(world.rows(rows.RESULTS)) == 50
        assert all(not run.open for run in world.runs.page(TENANT, None, 100))
        assert queue_all(world) == []


def test_an_account_comes_into_a_run_once_however_long_the_filling_takes(world: World) -> None:
    """A filling that a dead tick left is gone on with later, and leaves what became due since to the next run."""
    world.accounts(30, schedule="*/5 * * * *")
    world.runs._filling._due_piece(TENANT, NOON)
    first = world.work_off()
    world.clock.advance(3600)
    runs = queue_all(world)
    world.check()
    rest = world.work_off()
    world.check()
    by_run: dict[str, list[str]] = {}
    for claim in [*first, *rest]:
        by_run.setdefault(claim.run, []).append(claim.account)
    assert len(runs) >= 1
    assert all(len(accounts) == len(set(accounts)) for accounts in by_run.values())
    queue_all(world)
    world.work_off()
    world.check()


def test_a_drive_that_is_being_backed_up_stays_out(world: World) -> None:
    """A run longer than its period: the next tick queues nothing twice, and moves the account to its next time."""
    (account,) = world.accounts(1)
    queue_all(world)
    claim = world.runs.claim_next(TENANT, "lane")
    assert claim is not None
    world.clock.advance(36 * 3600)
    assert queue_all(world) == []
    due = world.account(account).next_due_at
    assert due is not None
    assert due > world.clock.now()
    world.runs.finish(TENANT, account, claim.token, DONE)
    assert queue_all(world) == []
    world.check()


def test_a_due_drive_behind_a_dry_run_or_maintenance(world: World) -> None:
    """The scheduled backup is not lost: it is queued as soon as the other work has ended."""
    dry, upkeep = world.accounts(2, last_success_at=NOON - timedelta(days=9))
    world.runs.request(TENANT, dry, dry_run=True, who="test")
    world.table.transact(TENANT, [_upkeep(upkeep)])
    world.runs.queue_maintenance(TENANT, NOON)
    (run_id,) = queue_all(world)
    world.check()
    kinds = [(claim.account, claim.kind, claim.dry_run) for claim in world.work_off()]
    assert [each[1:] for each in kinds if each[0] == dry] == [("backup", True), ("backup", False)]
    assert [each[1:] for each in kinds if each[0] == upkeep] == [("maintain", False), ("backup", False)]
    assert world.runs.get(run_id).state == COMPLETE
    world.check()


def _upkeep(account: str) -> Change:
    return Put(rows.upkeep_key(NOON, account), {"format": 1, "account": account})


def test_maintenance_is_queued_weekly_and_only_for_idle_drives(world: World) -> None:
    """First a week after the first snapshot, then every week; a drive with a claim is asked again later."""
    account, other = world.accounts(2)
    queue_all(world)
    world.work_off()
    world.work_off()
    assert world.runs.queue_maintenance(TENANT, world.clock.now()) == 0
    world.clock.advance(7 * 24 * 3600 + 60)
    world.runs.request(TENANT, other, who="test")
    world.clock.advance(1)
    assert world.runs.queue_maintenance(TENANT, world.clock.now()) == 1
    assert world.runs.queue_maintenance(TENANT, world.clock.now()) == 0
    world.check()
    claims = world.work_off()
    assert [(claim.account, claim.kind, claim.run == "") for claim in claims] == [
        (other, "backup", False),
        (account, "maintain", True),
    ]
    world.clock.advance(6 * 3600)
    assert world.runs.queue_maintenance(TENANT, world.clock.now()) == 1
    world.work_off()
    world.clock.advance(7 * 24 * 3600)
    assert world.runs.queue_maintenance(TENANT, world.clock.now()) == 2
    assert len(world.rows(rows.UPKEEP)) == 2
    world.check()


def test_maintenance_that_finds_something_leaves_a_note(world: World) -> None:
    """It has no run and no result: what it found stands in the audit trail, and the account stays as it was."""
    (account,) = world.accounts(1, last_success_at=NOON, next_due_at=NOON + timedelta(days=1))
    world.table.transact(TENANT, [_upkeep(account)])
    world.runs.queue_maintenance(TENANT, NOON)
    before = world.account(account)
    world.work_off(result=Result(FAILED, reason="wrong-key", message="does not open"))
    assert world.account(account) == before
    notes = world.registry.audit.page(TENANT, None, 10)
    assert [(note.what, note.target, note.details["reason"]) for note in notes] == [
        ("maintenance.problem", account, "wrong-key")
    ]
    assert world.runs.page(TENANT, None, 10) == []
    world.check()


def test_one_bad_schedule_stops_nobody(world: World) -> None:
    """An account whose schedule cannot be read follows the default; the others of its tenant do not notice."""
    ids = world.accounts(3)
    world.change(ids[1], schedule="whenever")
    queue_all(world)
    assert [claim.account for claim in world.work_off()] == ids
    due = world.account(ids[1]).next_due_at
    assert due is not None
    assert 2 <= due.hour < 6


def test_next_times_after_success_and_failure(world: World) -> None:
    """An account whose run failed is due again at its next cron time, like one whose run succeeded."""
    good, bad = world.accounts(2)
    world.change(bad, last_success_at=NOON)
    queue_all(world)
    times = {each: world.account(each).next_due_at for each in (good, bad)}
    for lane, result in (("one", DONE), ("two", Result(FAILED, reason="internal", message="x"))):
        claim = world.runs.claim_next(TENANT, lane)
        assert claim is not None
        world.runs.finish(TENANT, claim.account, claim.token, result)
    assert {each: world.account(each).next_due_at for each in (good, bad)} == times
    assert all(time is not None and time.date().day == 26 and 2 <= time.hour < 6 for time in times.values())
    assert account_id(0) == good
