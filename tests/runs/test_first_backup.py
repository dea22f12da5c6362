"""An account that was never backed up is due until it is."""

import pytest
from support.installation import NOON, TENANT, World

from backup_core.runs.run import COMPLETE, FAILED, Result


def finish(world: World, account: str, result: Result) -> None:
    taken = world.runs.claim_next(TENANT, "lane")
    assert taken is not None
    world.runs.finish(TENANT, account, taken.token, result)


@pytest.mark.parametrize("reason", ["storage-unreachable", "throttled", "locked", "interrupted", "internal"])
def test_first_backup_that_fails_is_tried_at_the_next_tick(world: World, reason: str) -> None:
    """Nobody waits a night for the first backup because the storage was away for a minute."""
    (account,) = world.accounts(1)
    world.runs.queue_due(TENANT, NOON)
    finish(world, account, Result(FAILED, reason=reason))
    assert world.account(account).next_due_at == world.clock.now()
    again = world.runs.queue_due(TENANT, world.clock.now()).run
    assert again is not None
    finish(world, account, Result(COMPLETE, "6" * 64))
    assert world.runs.queue_due(TENANT, world.clock.now()).run is None
    world.check()


@pytest.mark.parametrize("reason", ["drive-blocked", "wrong-key", "newer-format"])
def test_reason_that_lasts_waits_for_the_schedule(world: World, reason: str) -> None:
    """What a quarter of an hour does not mend is not tried every quarter of an hour."""
    (account,) = world.accounts(1)
    world.runs.queue_due(TENANT, NOON)
    finish(world, account, Result(FAILED, reason=reason))
    assert world.runs.queue_due(TENANT, world.clock.now()).run is None


def test_later_failure_waits_for_the_schedule(world: World) -> None:
    """An account with a snapshot that fails once is due again when its schedule says so."""
    (account,) = world.accounts(1)
    world.change(account, last_success_at=NOON)
    world.runs.queue_due(TENANT, NOON)
    finish(world, account, Result(FAILED, reason="internal"))
    due = world.account(account).next_due_at
    assert due is not None
    assert due > world.clock.now()
