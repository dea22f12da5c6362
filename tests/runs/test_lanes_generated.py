"""Lanes in generated histories: replies that are lost, and everything at once from several threads."""

import contextlib
import random

from hypothesis import given
from hypothesis import strategies as st
from support.installation import DONE, NOON, TENANT, World, at_once

from backup_core.clock import SystemClock
from backup_core.registry.table import Change, Conflict, Table
from backup_core.runs import rows
from backup_core.runs.asking import Refused
from backup_core.runs.claim import ClaimLost
from backup_core.runs.run import COMPLETE, ENDS, FAILED, Result


class DeafTable:
    """Carries out every other transaction and then says that it was in conflict, as a lost reply does."""

    def __init__(self, inner: Table, seed: int) -> None:
        self._inner, self._random = inner, random.Random(seed)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def transact(self, partition: str, changes: list[Change]) -> None:
        self._inner.transact(partition, changes)
        if self._random.random() < 0.5:
            raise Conflict("The reply was lost.")


@given(st.integers(0, 10_000))
def test_lost_replies_do_nothing_twice(seed: int) -> None:
    """A writer that finds its own success in its way goes on as if it had been told."""
    world = World()
    world.tenant()
    ids = world.accounts(6)
    runs = world.process(DeafTable(world.table, seed))
    while runs.queue_due(TENANT, NOON).more:
        pass
    done = []
    while (taken := runs.claim_next(TENANT, "lane")) is not None:
        world.check()
        runs.beat(TENANT, taken.account, taken.token, {"items_done": 1})
        if taken.put_back_for == "":
            runs.put_back(TENANT, taken.account, taken.token, None, "others wait")
        else:
            runs.finish(TENANT, taken.account, taken.token, DONE)
            done.append(taken.account)
        world.check()
        world.clock.advance(1)
    assert sorted(done) == ids
    (run,) = runs.page(TENANT, None, 10)
    assert (run.state, run.progress.items_done) == (COMPLETE, 6)


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_whatever_lanes_do_at_once_the_figures_agree(seed: int, lanes: int) -> None:
    """Lanes that finish, fail, put back, die and lose their claims beside ticks, requests and cancels."""
    world = World(SystemClock(), cron="*/5 * * * *")
    world.tenant()
    ids = world.accounts(12)
    world.runs.queue_due(TENANT, world.clock.now())

    def lane(number: int) -> None:
        luck = random.Random(seed + number)
        for _ in range(15):
            _step(world, luck, f"lane-{number}", ids)

    at_once(lanes, lane)
    world.check()
    for left in world.runs.active(TENANT):
        world.runs.free(left, "the test is over")
    world.work_off()
    world.check()
    assert not world.rows(rows.CLAIMS)
    assert all(not run.open for run in world.runs.page(TENANT, None, 1000))


def _step(world: World, luck: random.Random, lane: str, ids: list[str]) -> None:
    match luck.randrange(8):
        case 0:
            world.runs.request(TENANT, luck.choice(ids), dry_run=False, who="test")
        case 1:
            with contextlib.suppress(Refused):  # a cancelled one still ends
                world.runs.request(TENANT, None, who="test")
        case 2:
            for run in world.runs.page(TENANT, None, 2)[1:]:
                world.runs.cancel(run.id, "test")
        case 3:
            for other in world.runs.active(TENANT)[:1]:
                world.runs.free(other, "dead")
        case _:
            _turn(world, luck, lane)


def _turn(world: World, luck: random.Random, lane: str) -> None:
    taken = world.runs.claim_next(TENANT, lane)
    if taken is None:
        return
    try:
        world.runs.beat(TENANT, taken.account, taken.token, {}, {"items_done": 1})
        if luck.random() < 0.3:
            world.runs.put_back(TENANT, taken.account, taken.token, None, "others wait")
        elif luck.random() < 0.9:
            end = luck.choice(ENDS)
            snapshot = None if end == FAILED else "5" * 64
            world.runs.finish(TENANT, taken.account, taken.token, Result(end, snapshot, reason="throttled"))
    except ClaimLost:
        pass
