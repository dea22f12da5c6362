"""Claims: each given once, held by its token, given back in turn, taken from the dead."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from support.installation import DONE, NOON, TENANT, World, at_once

from backup_core.clock import SystemClock
from backup_core.runs.claim import Claim, ClaimLost
from backup_core.runs.run import COMPLETE, FAILED, INCOMPLETE, Result

FAULT = Result(FAILED, reason="internal", message="x")


def claim(world: World, lane: str = "lane") -> Claim:
    found = world.runs.claim_next(TENANT, lane)
    assert found is not None
    return found


def content(world: World) -> list[tuple[str, dict[str, object]]]:
    return [(row.key, dict(row.values)) for row in world.table.rows(TENANT, "!", "~~~")]


def test_fifty_lanes_at_once_get_each_drive_once() -> None:
    """Fifty threads claim at the same moment: thirty drives go to thirty of them, the others get nothing."""
    world = World(SystemClock())
    world.tenant()
    ids = world.accounts(30)
    world.runs.queue_due(TENANT, world.clock.now())
    claims = [each for each in at_once(50, lambda number: world.runs.claim_next(TENANT, f"lane-{number}")) if each]
    assert sorted(each.account for each in claims) == ids
    assert len({each.token for each in claims}) == 30
    world.check()


def test_the_oldest_is_claimed_first(world: World) -> None:
    """The queue is worked off in the order in which drives came into it; what may not start yet is passed over."""
    ids = world.accounts(3, next_due_at=NOON + timedelta(days=1))
    for each in reversed(ids):
        world.runs.request(TENANT, each, who="test")
        world.clock.advance(1)
    first = claim(world)
    assert first.account == ids[2]
    world.runs.put_back(TENANT, first.account, first.token, world.clock.now() + timedelta(minutes=20), "throttled")
    assert world.runs.waiting(TENANT, world.clock.now()) == 2
    assert [each.account for each in world.work_off()] == [ids[1], ids[0]]
    world.clock.advance(1200)
    assert [each.account for each in world.work_off()] == [ids[2]]


def test_a_drive_that_is_put_back_goes_behind_those_that_wait(world: World) -> None:
    """A drive that works for long gets its next turn only when all others have had theirs; nothing it did is lost."""
    ids = world.accounts(4)
    run, _ = world.runs.queue_due(TENANT, NOON)
    assert run is not None
    turns = []
    for _ in range(8):
        taken = claim(world)
        turns.append(taken.account)
        world.clock.advance(1800)
        world.runs.beat(TENANT, taken.account, taken.token, {}, {"items_done": 10, "bytes_done": 5})
        world.runs.put_back(TENANT, taken.account, taken.token, None, "others wait")
    assert turns == ids * 2
    last = claim(world)
    assert (last.worked_seconds, last.progress.items_done, last.put_back_for) == (3600.0, 20, "others wait")
    assert world.runs.get(run.id).progress.items_done == 80
    world.check()


def test_beats_say_what_was_done(world: World) -> None:
    """Totals replace, gains add up, and the run shows both at once; the claim tells when its run was cancelled."""
    world.accounts(1)
    run, _ = world.runs.queue_due(TENANT, NOON)
    taken = claim(world)
    world.runs.beat(TENANT, taken.account, taken.token, {"items_total": 10, "throttled_seconds": 1.5})
    beaten = world.runs.beat(TENANT, taken.account, taken.token, {}, {"items_done": 2, "graph_requests": 3})
    beaten = world.runs.beat(TENANT, taken.account.upper(), taken.token, {}, {"items_done": 3})
    assert (beaten.progress.items_done, beaten.progress.items_total, beaten.progress.graph_requests) == (5, 10, 3)
    assert (beaten.progress.throttled_seconds, beaten.cancelled) == (1.5, False)
    assert run is not None
    world.clock.advance(60)
    shown = world.runs.get(run.id)
    assert (shown.progress.items_done, shown.estimated_end_at) == (5, world.clock.now() + timedelta(seconds=60))
    world.runs.cancel(run.id, "test")
    assert world.runs.beat(TENANT, taken.account, taken.token, {}).cancelled
    assert world.runs.active(TENANT)[0].token == taken.token


def test_gains_of_several_activities_of_one_claim_add_up() -> None:
    """Sixteen threads beat for one drive at the same time: no gain is lost."""
    world = World(SystemClock())
    world.tenant()
    world.accounts(1)
    world.runs.queue_due(TENANT, world.clock.now())
    taken = claim(world)
    at_once(16, lambda number: world.runs.beat(TENANT, taken.account, taken.token, {}, {"items_done": number}))
    assert world.runs.active(TENANT)[0].progress.items_done == sum(range(16))


def test_to_finish_twice_is_to_finish_once(world: World) -> None:
    """The second time nothing changes, also when the drive is queued again meanwhile."""
    (account,) = world.accounts(1)
    run, _ = world.runs.queue_due(TENANT, NOON)
    taken = claim(world)
    world.runs.finish(TENANT, account, taken.token, DONE)
    before = content(world)
    world.runs.finish(TENANT, account, taken.token, FAULT)
    assert content(world) == before
    world.runs.request(TENANT, account, who="test")
    world.runs.finish(TENANT, account, taken.token, FAULT)
    assert world.runs.waiting(TENANT, world.clock.now()) == 1
    assert run is not None
    assert world.runs.get(run.id).state == COMPLETE
    world.check()


def test_whoever_lost_the_claim_changes_nothing(world: World) -> None:
    """After it was freed, put back, or never held: beat, finish and put back raise ClaimLost and leave all as it is."""
    (account,) = world.accounts(1)
    world.runs.queue_due(TENANT, NOON)
    freed = claim(world)
    assert world.runs.free(freed, "dead") == "requeued"
    put_back = claim(world)
    world.runs.put_back(TENANT, account, put_back.token, None, "others wait")
    now = claim(world)
    before = content(world)
    for token in (freed.token, put_back.token, "", "made up"):
        with pytest.raises(ClaimLost):
            world.runs.beat(TENANT, account, token, {})
        with pytest.raises(ClaimLost):
            world.runs.finish(TENANT, account, token, DONE)
    with pytest.raises(ClaimLost):
        world.runs.put_back(TENANT, account, freed.token, None, "x")
    world.runs.put_back(TENANT, account, put_back.token, None, "the same once more")
    assert content(world) == before
    world.runs.finish(TENANT, account, now.token, DONE)
    with pytest.raises(ClaimLost):
        world.runs.put_back(TENANT, account, now.token, None, "x")
    world.check()


def test_a_queued_claim_belongs_to_nobody(world: World) -> None:
    """An empty token finishes nothing that only waits."""
    (account,) = world.accounts(1)
    world.runs.queue_due(TENANT, NOON)
    with pytest.raises(ClaimLost):
        world.runs.finish(TENANT, account, "", DONE)
    world.check()


def test_a_live_claim_is_not_freed(world: World) -> None:
    """A sign of life between reading and freeing keeps the claim."""
    (account,) = world.accounts(1)
    world.runs.queue_due(TENANT, NOON)
    claim(world)
    seen = world.runs.active(TENANT)[0]
    world.clock.advance(3000)
    world.runs.beat(TENANT, account, seen.token, {})
    assert world.runs.free(seen, "dead") == "alive"
    assert world.runs.active(TENANT)[0].token == seen.token
    assert world.runs.free(world.runs.active(TENANT)[0], "dead") == "requeued"
    assert world.runs.free(seen, "dead") == "alive"
    world.check()


def test_a_drive_that_kills_its_workers_ends_interrupted(world: World) -> None:
    """The third death in a row without anything done fails the drive; one that got on each time goes on for ever."""
    (account,) = world.accounts(1)
    run, _ = world.runs.queue_due(TENANT, NOON)
    assert run is not None
    for _ in range(5):
        taken = claim(world)
        world.runs.beat(TENANT, account, taken.token, {}, {"items_done": 1})
        assert world.runs.free(world.runs.active(TENANT)[0], "dead") == "requeued"
    for expected in ("requeued", "requeued", "failed"):
        taken = claim(world)
        world.runs.beat(TENANT, account, taken.token, {}, {"throttled_seconds": 9})
        assert world.runs.free(world.runs.active(TENANT)[0], "dead") == expected
    assert world.runs.get(run.id).state == FAILED
    assert [each.reason for each in world.runs.results(run.id, None, 10)] == ["interrupted"]
    assert world.account(account).outcome == FAILED
    with pytest.raises(ClaimLost):
        world.runs.finish(TENANT, account, taken.token, DONE)
    world.check()


def test_a_lane_that_asks_again_gives_back_what_it_held(world: World) -> None:
    """An activity that is carried out twice leaves no drive behind that nobody works on."""
    ids = world.accounts(2)
    world.runs.queue_due(TENANT, NOON)
    first = claim(world, "lane-1")
    world.clock.advance(1)
    second = claim(world, "lane-1")
    assert (first.account, second.account) == (ids[0], ids[1])
    assert [each.account for each in world.runs.active(TENANT)] == [ids[1]]
    world.check()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"state": "left"}, "account-gone"),
        ({"state": "no-drive"}, "no-drive"),
        ({"state": "guest"}, "no-drive"),
        ({"state": "sign-in-again"}, "sign-in-again"),
        ({"state": "excluded", "included": False}, "cancelled"),
        ({"included": False}, "cancelled"),
    ],
)
def test_an_account_that_changed_while_it_waited(world: World, fields: dict[str, object], reason: str) -> None:
    """Who left or was excluded meanwhile is not backed up: the result says why, and the others go on."""
    ids = world.accounts(2)
    run, _ = world.runs.queue_due(TENANT, NOON)
    world.change(ids[0], **fields)
    assert [each.account for each in world.work_off()] == [ids[1]]
    assert run is not None
    first = world.runs.results(run.id, None, 1)[0]
    assert (first.account, first.state, first.reason) == (ids[0], FAILED, reason)
    assert world.runs.get(run.id).state == INCOMPLETE
    assert world.account(ids[0]).state == fields.get("state", "protected")
    world.check()


def test_a_paused_tenant_s_queue_waits(world: World) -> None:
    """Nothing is claimed while the tenant is paused, even where its consent is lost, and nothing is lost either."""
    world.accounts(1)
    world.runs.queue_due(TENANT, NOON)
    world.tenant(paused=True)
    assert world.runs.claim_next(TENANT, "lane") is None
    world.tenant(state="consent-lost", paused=True)
    assert world.runs.claim_next(TENANT, "lane") is None
    world.tenant()
    assert len(world.work_off()) == 1


def test_lost_consent_ends_what_is_queued(world: World) -> None:
    """Nobody can back up a tenant that has withdrawn: its queue ends with that reason, and the run with it."""
    world.accounts(30)
    run, _ = world.runs.queue_due(TENANT, NOON)
    assert run is not None
    first = claim(world, "lane")
    world.tenant(state="consent-lost")
    assert world.runs.claim_next(TENANT, "other") is None
    results = world.runs.results(run.id, None, 100)
    assert [(each.state, each.reason) for each in results] == [(FAILED, "consent-lost")] * 29
    assert world.runs.get(run.id).open
    world.runs.finish(TENANT, first.account, first.token, Result(FAILED, reason="consent-lost"))
    assert not world.runs.get(run.id).open
    world.check()


def test_what_a_result_makes_of_its_account(world: World) -> None:
    """Times, outcome, drive and repository are kept; a lost drive or sign-in becomes the account's state."""
    good, gone = world.accounts(2)
    run, _ = world.runs.queue_due(TENANT, NOON)
    assert run is not None
    result = Result(
        INCOMPLETE, "6" * 64, {"files_new": 3, "items_failed": [{"path": "a"}]}, drive_id="b!x", repository="azure:c:/p"
    )
    taken = claim(world, "one")
    world.runs.finish(TENANT, good, taken.token, result)
    taken = claim(world, "two")
    world.runs.finish(TENANT, gone, taken.token, Result(FAILED, reason="no-drive", account_state="no-drive"))
    kept = world.account(good)
    assert (kept.outcome, kept.last_success_at, kept.drive_id, kept.repository) == (
        INCOMPLETE,
        world.clock.now(),
        "b!x",
        "azure:c:/p",
    )
    assert kept.last_run is not None
    assert (kept.last_run.id, kept.last_run.state) == (run.id, INCOMPLETE)
    lost = world.account(gone)
    assert (lost.state, lost.no_drive_checked_at, lost.last_success_at) == ("no-drive", world.clock.now(), None)
    assert world.runs.results(run.id, None, 1)[0].summary == {"files_new": 3}
    world.check()


def test_a_decision_of_a_person_stands(world: World) -> None:
    """An account that was excluded while its drive was backed up stays excluded, whatever the result says."""
    (account,) = world.accounts(1)
    world.runs.queue_due(TENANT, NOON)
    taken = claim(world)
    world.change(account, state="excluded", included=False)
    world.runs.finish(TENANT, account, taken.token, Result(FAILED, reason="no-drive", account_state="no-drive"))
    assert world.account(account).state == "excluded"
    world.check()


def test_a_dry_run_changes_nothing_of_its_account(world: World) -> None:
    """Neither last run, outcome nor next due time: a dry run backs nothing up."""
    (account,) = world.accounts(1)
    before = world.account(account)
    run = world.runs.request(TENANT, account, dry_run=True, who="test")
    taken = claim(world)
    assert taken.dry_run
    world.runs.finish(TENANT, account, taken.token, Result(COMPLETE))
    assert world.account(account) == before
    assert world.runs.get(run.id).state == COMPLETE
    world.check()


def test_words_that_no_program_knows_become_internal() -> None:
    """A result's reason is one of the closed list; an end that is none is a mistake in the program."""
    assert Result(FAILED, reason="weather").reason == "internal"
    assert Result(FAILED, reason="locked").reason == "locked"
    with pytest.raises(ValueError, match="running"):
        Result("running")


def test_a_tenant_s_run_ends_as_its_results_do(world: World) -> None:
    """Complete if all are, failed if none has a snapshot, else incomplete."""
    cases = {
        (COMPLETE, COMPLETE): COMPLETE,
        (COMPLETE, INCOMPLETE): INCOMPLETE,
        (INCOMPLETE, INCOMPLETE): INCOMPLETE,
        (COMPLETE, FAILED): INCOMPLETE,
        (FAILED, FAILED): FAILED,
    }
    world.accounts(2)
    found = {}
    for ends in cases:
        run = world.runs.request(TENANT, None, who="test")
        for end in ends:
            taken = claim(world)
            world.runs.finish(TENANT, taken.account, taken.token, replace(DONE, state=end))
        found[ends] = world.runs.get(run.id).state
        world.clock.advance(1)
    assert found == cases
    assert Counter(each.state for each in world.runs.page(TENANT, None, 9)) == {COMPLETE: 1, INCOMPLETE: 3, FAILED: 1}
