"""Runs that somebody asks for: what is refused, what is under way already, and what cancelling does."""

from datetime import timedelta

import pytest
from support.installation import DONE, NOON, OTHER, TENANT, World, at_once

from backup_core.errors import NotFound
from backup_core.runs import rows
from backup_core.runs.asking import Refused
from backup_core.runs.run import COMPLETE, FAILED, Result

LATER = NOON + timedelta(days=1)


def test_a_run_of_one_account(world: World) -> None:
    """By id in any case or by name; source and tags go with the claim; the request is in the audit trail."""
    (account,) = world.accounts(1, next_due_at=LATER)
    run = world.runs.request(TENANT.upper(), account.upper(), source="onedrive", tags=["a", "b"], who="ann")
    assert (run.tenant, run.account, run.trigger, run.drives_total) == (TENANT, account, "api", 1)
    assert world.runs.request(TENANT, "0000@CONTOSO.com", who="ann").id == run.id
    taken = world.runs.claim_next(TENANT, "lane")
    assert taken is not None
    assert (taken.account, taken.source, taken.tags, taken.run) == (account, "onedrive", ("a", "b"), run.id)
    assert world.runs.get(run.id.upper()).state == "running"
    note = world.registry.audit.page(TENANT, None, 10)
    assert [(each.who, each.what, each.details["run"]) for each in note] == [("ann", "run.request", run.id)]
    assert world.account(account).next_due_at == LATER


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"state": "pending"}, "pending"),
        ({"state": "excluded", "included": False}, "excluded"),
        ({"included": False}, "excluded"),
        ({"state": "no-drive"}, "no-drive"),
        ({"state": "guest"}, "guest"),
        ({"state": "left"}, "left"),
        ({"state": "sign-in-again"}, "sign-in-again"),
    ],
)
def test_accounts_that_are_not_backed_up_are_refused(world: World, fields: dict[str, object], reason: str) -> None:
    """With the reason, for the account and for a tenant that has no other; and nothing is written."""
    (account,) = world.accounts(1, **fields)
    before = len(list(world.table.rows(TENANT, "!", "~~~")))
    with pytest.raises(Refused) as refused:
        world.runs.request(TENANT, account, who="ann")
    assert refused.value.reason == reason
    assert len(list(world.table.rows(TENANT, "!", "~~~"))) == before


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"state": "pending"}, "pending"), ({"state": "consent-lost"}, "consent-lost"), ({"paused": True}, "paused")],
)
def test_tenants_that_are_not_backed_up_are_refused(world: World, fields: dict[str, object], reason: str) -> None:
    """Also where the account by itself could be."""
    (account,) = world.accounts(1)
    world.tenant(**fields)
    for target in (account, None):
        with pytest.raises(Refused) as refused:
            world.runs.request(TENANT, target, who="ann")
        assert refused.value.reason == reason


def test_what_is_not_there_is_not_found(world: World) -> None:
    """Unknown tenants, accounts and runs; another tenant's account; a tenant without protected accounts is refused."""
    world.accounts(1, OTHER)
    for tenant, account in (
        (OTHER, None),
        (TENANT, "0000@contoso.com"),
        (TENANT, "acc00000-0000-4000-8000-000000000000"),
    ):
        with pytest.raises(NotFound):
            world.runs.request(tenant, account, who="ann")
    for run in ("", "x", f"{TENANT.replace('-', '')}-{'0' * 20}", TENANT):
        with pytest.raises(NotFound):
            world.runs.get(run)
        with pytest.raises(NotFound):
            world.runs.cancel(run, "ann")
    with pytest.raises(Refused):
        world.runs.request(TENANT, None, who="ann")


def test_a_hundred_requests_at_once_are_one_run(world: World) -> None:
    """For one account and for the whole tenant: one run each, every drive once."""
    ids = world.accounts(5)
    found = at_once(50, lambda number: world.runs.request(TENANT, ids[0], who="ann").id)
    assert len(set(found)) == 1
    whole = at_once(50, lambda number: world.runs.request(TENANT, None, who="ann").id)
    assert len(set(whole)) == 1
    assert len(world.rows(rows.RUNS)) == 2
    world.check()
    assert sorted(claim.account for claim in world.work_off()) == ids
    world.check()


def test_a_drive_that_is_being_backed_up_by_schedule(world: World) -> None:
    """The answer is the scheduled run; a later request, when that has ended, is a new run."""
    (account,) = world.accounts(1)
    scheduled, _ = world.runs.queue_due(TENANT, NOON)
    assert scheduled is not None
    assert world.runs.request(TENANT, account, who="ann").id == scheduled.id
    assert world.runs.request(TENANT, account, dry_run=True, who="ann").id == scheduled.id
    world.work_off()
    assert world.runs.request(TENANT, account, who="ann").id != scheduled.id


def test_a_backup_waits_for_a_dry_run_and_is_not_replaced_by_it(world: World) -> None:
    """Who asks for a backup during a dry run gets a backup; who asks once more gets the same."""
    (account,) = world.accounts(1)
    dry = world.runs.request(TENANT, account, dry_run=True, who="ann")
    real = world.runs.request(TENANT, account, who="ann")
    assert (dry.dry_run, real.dry_run, dry.id == real.id) == (True, False, False)
    assert world.runs.request(TENANT, account, who="ann").id == real.id
    world.check()
    assert [claim.dry_run for claim in world.work_off()] == [True, False]
    assert world.runs.get(real.id).state == COMPLETE
    world.check()


def test_a_backup_during_one_that_was_cancelled(world: World) -> None:
    """It is queued behind the rest of the cancelled one; a dry run is refused until that has ended."""
    (account,) = world.accounts(1)
    first = world.runs.request(TENANT, account, who="ann")
    taken = world.runs.claim_next(TENANT, "lane")
    assert taken is not None
    world.runs.cancel(first.id, "ann")
    with pytest.raises(Refused) as refused:
        world.runs.request(TENANT, account, dry_run=True, who="ann")
    assert refused.value.reason == "busy"
    second = world.runs.request(TENANT, account, who="ann")
    assert second.id != first.id
    world.check()
    assert world.runs.free(world.runs.active(TENANT)[0], "dead") == "failed"
    world.check()
    assert [claim.run for claim in world.work_off()] == [second.id]
    assert (world.runs.get(first.id).state, world.runs.get(second.id).state) == (FAILED, COMPLETE)


def test_a_whole_tenant_with_many_accounts(world: World) -> None:
    """The first answer comes after bounded work; lanes with nothing to do queue the rest; no account is missed."""
    ids = world.accounts(250, next_due_at=LATER)
    before = world.table.requests
    run = world.runs.request(TENANT, None, who="ann")
    assert world.table.requests - before < 400
    assert run.filling
    assert world.runs.request(TENANT, None, who="ann").id == run.id
    assert sorted(claim.account for claim in world.work_off()) == ids
    done = world.runs.get(run.id)
    assert (done.drives_total, done.drives_done, done.state, done.filling) == (250, 250, COMPLETE, False)
    world.check()
    assert world.runs.request(TENANT, None, who="ann").id != run.id


def test_a_tick_goes_on_with_a_whole_tenant_s_run(world: World) -> None:
    """Where no lane is there to do it."""
    world.accounts(200, next_due_at=LATER)
    run = world.runs.request(TENANT, None, who="ann")
    while world.runs.queue_due(TENANT, NOON).more:
        pass
    assert (world.runs.get(run.id).drives_total, world.runs.get(run.id).filling) == (200, False)
    world.check()


def test_a_dry_run_and_a_backup_of_a_tenant_at_once(world: World) -> None:
    """The backup queues each drive behind its dry run; both end."""
    ids = world.accounts(3, next_due_at=LATER)
    dry = world.runs.request(TENANT, None, dry_run=True, who="ann")
    real = world.runs.request(TENANT, None, who="ann")
    world.check()
    claims = world.work_off()
    assert [claim.account for claim in claims if not claim.dry_run] == ids
    assert [world.runs.get(run.id).state for run in (dry, real)] == [COMPLETE, COMPLETE]
    assert len(claims) == 6
    world.check()


def test_to_cancel_what_waits(world: World) -> None:
    """Drives that wait end as cancelled at once, another run's drives stay, and no account counts as failing."""
    ids = world.accounts(71)
    other = world.runs.request(TENANT, ids[70], who="ann")
    run, _ = world.runs.queue_due(TENANT, NOON)
    assert run is not None
    cancelled = world.runs.cancel(run.id, "ann")
    assert (cancelled.state, cancelled.drives_done) == (FAILED, 70)
    assert {each.reason for each in world.runs.results(run.id, None, 100)} == {"cancelled"}
    assert world.account(ids[5]).outcome == ""
    assert [claim.run for claim in world.work_off()] == [other.id]
    world.check()
    assert world.runs.cancel(run.id, "ann") == cancelled
    notes = [each.what for each in world.registry.audit.page(TENANT, None, 10)]
    assert notes.count("run.cancel") == 1


def test_to_cancel_what_runs(world: World) -> None:
    """The running drive learns it and may still end with a snapshot; what had not begun is cancelled."""
    ids = world.accounts(3)
    run, _ = world.runs.queue_due(TENANT, NOON)
    assert run is not None
    taken = world.runs.claim_next(TENANT, "lane")
    assert taken is not None
    assert world.runs.cancel(run.id, "ann").state == "running"
    assert world.runs.cancel(run.id, "ann").cancelled
    assert [each.what for each in world.registry.audit.page(TENANT, None, 10)] == ["run.cancel"]
    assert world.runs.beat(TENANT, ids[0], taken.token, {}).cancelled
    world.runs.finish(TENANT, ids[0], taken.token, DONE)
    assert world.runs.get(run.id).state == "incomplete"
    world.check()


def test_a_drive_that_was_cancelled_counts_as_nothing(world: World) -> None:
    """To cancel is an operator's wish and no failure of the account: its outcome and last run stay."""
    (account,) = world.accounts(1, outcome=COMPLETE, next_due_at=LATER)
    before = world.account(account)
    run = world.runs.request(TENANT, account, who="ann")
    taken = world.runs.claim_next(TENANT, "lane")
    assert taken is not None
    world.runs.cancel(run.id, "ann")
    world.runs.finish(TENANT, account, taken.token, Result(FAILED, reason="cancelled"))
    assert world.account(account) == before
    assert world.runs.get(run.id).state == FAILED
    world.check()


def test_a_run_by_hand_serves_what_is_due_meanwhile(world: World) -> None:
    """A drive never saved that is backed up by hand is not backed up again by the next tick."""
    (account,) = world.accounts(1)
    world.runs.request(TENANT, account, who="ann")
    world.work_off()
    due = world.account(account).next_due_at
    assert due is not None
    assert due > world.clock.now()
    assert world.runs.queue_due(TENANT, world.clock.now()).run is None


def test_to_cancel_while_it_is_filled(world: World) -> None:
    """Nothing more is added; a scheduled run's other accounts wait for their next time, and both runs end."""
    world.accounts(40)
    world.runs._filling._due_piece(TENANT, NOON)
    (run,) = world.runs.page(TENANT, None, 1)
    world.runs.cancel(run.id, "ann")
    world.check()
    assert world.runs.queue_due(TENANT, NOON).more is False
    assert (world.runs.get(run.id).state, world.runs.get(run.id).drives_total) == (FAILED, 18)
    assert world.work_off() == []
    world.check()
    whole = world.runs.request(TENANT, None, who="ann")
    world.runs.cancel(whole.id, "ann")
    assert world.runs.get(whole.id).state == FAILED
    assert world.runs.request(TENANT, None, who="ann").id != whole.id
    world.check()


def test_a_cancelled_run_whose_drives_wait_for_others(world: World) -> None:
    """A drive that waits behind a dry run is cancelled when its turn comes."""
    (account,) = world.accounts(1)
    world.runs.request(TENANT, account, dry_run=True, who="ann")
    real = world.runs.request(TENANT, account, who="ann")
    world.runs.cancel(real.id, "ann")
    with pytest.raises(Refused):
        world.runs.request(TENANT, account, who="ann")
    assert [claim.dry_run for claim in world.work_off()] == [True]
    assert world.runs.get(real.id).state == FAILED
    world.check()
