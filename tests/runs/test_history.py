"""What is shown of runs: order, pages, pace; and what it costs to show it."""

from datetime import timedelta

from support.installation import DONE, NOON, OTHER, TENANT, World, account_id

from backup_core.registry.accounts import Account
from backup_core.registry.table import Change
from backup_core.runs import rows
from backup_core.runs.run import COMPLETE, Result


def test_runs_are_shown_newest_first_in_pages(world: World) -> None:
    """Of one tenant, and of all tenants merged; pages follow each other without gap or doubling."""
    world.tenant(OTHER)
    made = []
    for number in range(23):
        tenant = (TENANT, OTHER)[number % 3 == 0]
        world.clock.advance(0.001 if number % 2 else 0.0)  # some have the same millisecond
        account = account_id(number)
        world.registry.commit(tenant, lambda tenant=tenant, account=account: _account(world, tenant, account))
        made.append(world.runs.request(tenant, account, who="ann").id)
    assert set(_pages(world, TENANT)) == {run for run in made if rows.tenant_of(run) == TENANT}
    everything = _pages(world, None)
    assert len(everything) == 23
    assert set(everything) == set(made)
    assert everything == sorted(made, key=lambda run: (rows.run_key(run), run))


def _account(world: World, tenant: str, account: str) -> list[Change]:
    return world.registry.accounts.changes(None, Account(account, tenant, next_due_at=NOON + timedelta(days=1)))


def _pages(world: World, tenant: str | None) -> list[str]:
    found: list[str] = []
    while True:
        page = world.runs.page(tenant, found[-1] if found else None, 4)
        found += [run.id for run in page]
        if len(page) < 4:
            return found


def test_results_are_shown_in_pages(world: World) -> None:
    """By account, each once."""
    ids = world.accounts(7)
    run, _ = world.runs.queue_due(TENANT, NOON)
    assert run is not None
    world.work_off()
    first = world.runs.results(run.id, None, 4)
    rest = world.runs.results(run.id.upper(), first[-1].account, 4)
    assert [each.account for each in [*first, *rest]] == ids
    assert (first[0].upn, first[0].snapshot_id, first[0].finished_at) == ("0000@contoso.com", "5" * 64, NOON)


def test_showing_ten_runs_reads_few_rows(world: World) -> None:
    """A page costs about its own length, however many runs, tenants and claims there are."""
    world.accounts(300, next_due_at=NOON + timedelta(days=1))
    for number in range(60):
        world.runs.request(TENANT, account_id(number), who="ann")
    before = world.table.rows_read
    assert len(world.runs.page(TENANT, None, 10)) == 10
    assert world.table.rows_read - before <= 12
    before = world.table.rows_read
    assert len(world.runs.page(None, None, 10)) == 10
    assert world.table.rows_read - before <= 20
    before = world.table.rows_read
    assert world.runs.waiting(TENANT, NOON) == 60
    assert world.table.rows_read - before <= 60


def test_the_end_is_estimated_from_the_pace(world: World) -> None:
    """Unknown before anything is done; then as if the rest took as long in proportion; none once it has ended."""
    world.accounts(4)
    run, _ = world.runs.queue_due(TENANT, NOON)
    assert run is not None
    assert world.runs.get(run.id).estimated_end_at is None
    first = world.runs.claim_next(TENANT, "one")
    assert first is not None
    world.clock.advance(100)
    assert world.runs.get(run.id).estimated_end_at is None
    world.runs.finish(TENANT, first.account, first.token, DONE)
    assert world.runs.get(run.id).estimated_end_at == world.clock.now() + timedelta(seconds=300)
    second = world.runs.claim_next(TENANT, "one")
    assert second is not None
    world.runs.beat(TENANT, second.account, second.token, {"items_total": 10, "items_done": 10})
    assert world.runs.page(TENANT, None, 1)[0].estimated_end_at == world.clock.now() + timedelta(seconds=100)
    world.runs.finish(TENANT, second.account, second.token, DONE)
    world.work_off()
    ended = world.runs.get(run.id)
    assert (ended.estimated_end_at, ended.progress.items_done) == (None, 10)


def test_a_pace_that_says_nothing_yet(world: World) -> None:
    """One item of very many after days must not overflow the calendar."""
    (account,) = world.accounts(1)
    run, _ = world.runs.queue_due(TENANT, NOON)
    taken = world.runs.claim_next(TENANT, "lane")
    assert run is not None
    assert taken is not None
    world.clock.advance(3 * 24 * 3600)
    world.runs.beat(TENANT, account, taken.token, {"items_total": 10**9, "items_done": 1})
    assert world.runs.get(run.id).estimated_end_at is None


def test_rows_hold_no_lists_of_items(world: World) -> None:
    """A summary's lists and long texts do not come into a row, whatever is handed over."""
    (account,) = world.accounts(1)
    run, _ = world.runs.queue_due(TENANT, NOON)
    taken = world.runs.claim_next(TENANT, "lane")
    assert run is not None
    assert taken is not None
    summary = {
        "items_failed": [{"path": "Secret/plan.txt"}] * 5000,
        "files_new": 1,
        "parent": None,
        "source": "x" * 5000,
    }
    world.runs.finish(TENANT, account, taken.token, Result(COMPLETE, "5" * 64, summary, message="m" * 5000))
    (row,) = world.rows(rows.RESULTS)
    assert "Secret" not in str(row)
    assert len(str(row)) < 4000
    assert world.runs.results(run.id, None, 1)[0].summary["parent"] is None
