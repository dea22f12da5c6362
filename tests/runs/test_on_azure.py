"""The same rows in Azure Table Storage: what a table in memory takes for granted is asked of the real protocol."""

import secrets

from support.installation import DONE, TENANT, World, at_once

from backup_core.clock import SystemClock
from backup_core.registry.azure_table import AzureTable, TableAccount
from backup_core.runs import rows
from backup_core.runs.claim import ClaimLost
from backup_core.runs.run import COMPLETE, FAILED, Result
from backup_core.testing.azurite import Azurite


def on_azure(azurite: Azurite) -> World:
    table = AzureTable(TableAccount(azurite.connection_string), f"runs{secrets.token_hex(8)}", clock=SystemClock())
    world = World(SystemClock(), table=table)
    world.tenant()
    return world


def test_a_life_of_runs(azurite: Azurite) -> None:
    """Due, claimed by several lanes at once, beaten, put back, finished, cancelled, shown: the rows always agree."""
    world = on_azure(azurite)
    ids = world.accounts(12)
    run, more = world.runs.queue_due(TENANT, world.clock.now())
    assert run is not None
    assert (run.drives_total, more) == (12, False)
    world.check()
    claims = [each for each in at_once(6, lambda number: world.runs.claim_next(TENANT, f"lane-{number}")) if each]
    assert len({each.account for each in claims}) == 6

    def turn(number: int) -> None:
        mine = claims[number]
        world.runs.beat(TENANT, mine.account, mine.token, {"items_total": 3}, {"items_done": 2, "throttled_seconds": 1})
        if number == 0:
            world.runs.put_back(TENANT, mine.account, mine.token, None, "others wait")
        else:
            world.runs.finish(TENANT, mine.account, mine.token, DONE)

    at_once(6, turn)
    world.check()
    shown = world.runs.get(run.id)
    assert (shown.drives_done, shown.progress.items_done, shown.progress.throttled_seconds) == (5, 12, 6.0)
    assert shown.estimated_end_at is not None
    lost = claims[0]
    try:
        world.runs.finish(TENANT, lost.account, lost.token, DONE)
    except ClaimLost:
        pass
    else:
        raise AssertionError("a claim that was put back could be finished")
    world.runs.finish(TENANT, claims[1].account, claims[1].token, Result(FAILED, reason="locked"))
    assert world.runs.cancel(run.id, "test").drives_done == 12
    world.check()
    assert [each.account for each in world.runs.results(run.id, None, 100)] == ids
    assert {each.state for each in world.runs.results(run.id, None, 100)} == {COMPLETE, FAILED}
    second = world.runs.request(TENANT, None, who="test")
    assert [each.id for each in world.runs.page(None, None, 10)] == [second.id, run.id]
    assert world.runs.waiting(TENANT, world.clock.now()) == 12
    assert len(world.rows(rows.QUEUE)) == 12
