"""The figures of the overview: what is called safe, what that costs to find out, and what is read of whom."""

import datetime
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.api import A, ApiService, B, environment

from backup_core.errors import DrivekeepError, Temporary
from backup_core.registry.accounts import STATES, Account
from backup_core.registry.tenants import Tenant
from backup_core.runs.run import Result
from backup_core.service import Problem
from backup_core.testing.fake_clock import FakeClock
from backup_core.triggers.overview import TENANTS_A_PAGE, Tally, overview

_NOW = FakeClock().now()
_TOMORROW = _NOW + datetime.timedelta(days=1)
_LATE = _NOW - datetime.timedelta(days=1, minutes=1)


@pytest.fixture
def service(tmp_path: Path) -> ApiService:
    return _service(tmp_path)


def _service(folder: Path) -> ApiService:
    made = ApiService(environment(), folder, FakeClock())
    for tenant in (A, B):
        made.registry.tenants.save(None, Tenant(tenant, f"Organisation {tenant[0]}"))
    return made


def _add(service: ApiService, tenant: str, *accounts: Account) -> None:
    for start in range(0, len(accounts), 15):
        pairs = [(None, account) for account in accounts[start : start + 15]]
        service.registry.table.transact(tenant, service.registry.accounts.changes_of(pairs))


def _account(number: int, outcome: str, due: datetime.datetime | None = _TOMORROW, **more: Any) -> Account:
    return Account(f"{number:08x}-1111-4000-8000-000000000000", A, outcome=outcome, next_due_at=due, **more)


def _tally(service: ApiService) -> Tally:
    (line,) = overview(service, A, None).lines
    return line.tally


def test_each_account_counts_once(service: ApiService) -> None:
    """One of every kind: each is where the words on the page say it is."""
    _add(
        service,
        A,
        _account(1, "complete"),
        _account(2, "complete", _NOW - datetime.timedelta(hours=23)),
        _account(3, "complete", _LATE),
        _account(4, "", _NOW),
        _account(5, "", _LATE),
        _account(6, "incomplete"),
        _account(7, "failed", _LATE),
        _account(8, "complete", state="sign-in-again"),
        _account(9, "", None, state="pending"),
        *(_account(20 + number, "", None, state=state) for number, state in enumerate(STATES[2:6])),
    )
    assert _tally(service) == Tally(safe=2, stale=3, failing=3, pending=1, other=4)
    assert overview(service, A, None).total.protected == 8


_ACCOUNTS = st.lists(
    st.tuples(
        st.sampled_from(STATES),
        st.sampled_from(("", "complete", "incomplete", "failed")),
        st.sampled_from((_TOMORROW, _LATE)),
    ),
    max_size=40,
)


@given(accounts=_ACCOUNTS)
def test_never_more_is_called_safe_than_is(tmp_path_factory: pytest.TempPathFactory, accounts: list[Any]) -> None:
    """Whatever there is, the figures add up; where few are late they are exact, else they err to the safe side."""
    service = _service(tmp_path_factory.getbasetemp())
    _add(service, A, *(_account(number, how, due, state=state) for number, (state, how, due) in enumerate(accounts)))
    (line,) = overview(service, A, None).lines
    kinds = Counter(_kind(*each) for each in accounts)
    exact = Tally(**kinds)
    assert line.tally.protected == exact.protected
    assert (line.tally.failing, line.tally.pending, line.tally.other) == (exact.failing, exact.pending, exact.other)
    assert line.tally.safe <= exact.safe
    if not line.behind:
        assert line.tally == exact


def _kind(state: str, outcome: str, due: datetime.datetime) -> str:
    if state == "pending":
        return "pending"
    if state == "sign-in-again" or (state == "protected" and outcome in ("incomplete", "failed")):
        return "failing"
    if state != "protected":
        return "other"
    return "safe" if outcome == "complete" and due == _TOMORROW else "stale"


def test_many_late_accounts_are_not_looked_at_one_by_one(service: ApiService) -> None:
    """Each is taken for one that would be safe: the figure says the least that is, and the page says so."""
    _add(service, A, *(_account(number, "complete", _LATE if number < 12 else _TOMORROW) for number in range(17)))
    (line,) = overview(service, A, None).lines
    assert (line.behind, line.tally) == (True, Tally(safe=5, stale=12))
    requests, _ = _cost(service)
    assert requests <= 6


def test_late_accounts_that_were_never_saved_make_no_figure_negative(service: ApiService) -> None:
    """More may be late than have a backup at all."""
    _add(service, A, *(_account(number, "" if number < 12 else "complete", _LATE) for number in range(14)))
    (line,) = overview(service, A, None).lines
    assert (line.behind, line.tally) == (True, Tally(stale=14))


def test_a_queue_that_stands_still_is_no_safety(service: ApiService) -> None:
    """Drives whose run was queued and that nobody works on are late, although they are due only in the future."""
    _add(service, A, *(_account(number, "complete", _NOW) for number in range(3)))
    service.runs.queue_due(A, service.clock.now())
    assert _tally(service) == Tally(safe=3)
    for _ in range(2):
        service.clock.sleep(16 * 3600)
        service.runs.queue_due(A, service.clock.now())
    assert _tally(service) == Tally(stale=3)
    claim = service.runs.claim_next(A, "lane")
    assert claim is not None
    service.runs.finish(A, claim.account, claim.token, Result("complete", snapshot_id="0" * 64))
    assert _tally(service) == Tally(safe=1, stale=2)


def test_a_schedule_that_stands_still_is_no_safety(service: ApiService) -> None:
    """Where more are late than anybody would count, nothing is called safe."""
    _add(service, A, *(_account(number, "complete", _LATE if number < 1000 else _TOMORROW) for number in range(1200)))
    (line,) = overview(service, A, None).lines
    assert line.behind
    assert line.tally == Tally(stale=1200)


def test_ten_thousand_accounts_cost_as_little_as_ten(service: ApiService) -> None:
    """No account is read to count all of them."""
    _add(service, A, *(_account(number, "complete") for number in range(10)))
    _tally(service)
    few = _cost(service)
    _add(service, A, *(_account(number, "complete") for number in range(10, 10_000)))
    assert _tally(service).safe == 10_000 - 10 + 10
    assert _cost(service) == few
    assert few[0] <= 6


def _cost(service: ApiService) -> tuple[int, int]:
    """Requests and rows of one look."""
    requests, rows = service.registry.table.requests, service.registry.table.rows_read
    overview(service, A, None)
    return service.registry.table.requests - requests, service.registry.table.rows_read - rows


def test_nothing_of_another_tenant_is_read(service: ApiService, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator of one organisation causes no request to the rows of another."""
    _add(service, B, replace(_account(1, "complete"), tenant=B))
    read: list[str] = []
    get, rows = service.registry.table.get, service.registry.table.rows
    monkeypatch.setattr(
        service.registry.table, "get", lambda partition, key: read.append(partition) or get(partition, key)
    )
    monkeypatch.setattr(
        service.registry.table,
        "rows",
        lambda partition, *rest, **more: read.append(partition) or rows(partition, *rest, **more),
    )
    seen = overview(service, A, None)
    assert [line.tenant.id for line in seen.lines] == [A]
    assert set(read) == {A}


def test_many_organisations_come_in_pages(service: ApiService) -> None:
    """Each is on exactly one page, and a page says that there are others."""
    for number in range(2 * TENANTS_A_PAGE):
        service.registry.tenants.save(None, Tenant(f"{number:08x}-0000-4000-8000-000000000000", str(number)))
    met: list[str] = []
    after: str | None = None
    for shown in (TENANTS_A_PAGE, TENANTS_A_PAGE, 2):
        seen = overview(service, None, after)
        assert (len(seen.lines), seen.is_part) == (shown, True)
        met += [line.tenant.id for line in seen.lines]
        after = seen.after
    assert after == ""
    assert len(set(met)) == len(met) == 2 * TENANTS_A_PAGE + 2
    assert met == sorted(met)


def test_one_page_of_all_is_no_part(service: ApiService) -> None:
    """Where everything is shown, nothing is said of more."""
    seen = overview(service, None, None)
    assert (len(seen.lines), seen.after, seen.is_part) == (2, "", False)


def test_the_newest_run_is_shown(service: ApiService) -> None:
    """What was asked for last is what is told of, from the moment on when it was."""
    assert overview(service, A, None).lines[0].last_run is None
    _add(service, A, _account(1, "complete"))
    run = service.runs.request(A, None, who="a test")
    seen = overview(service, A, None).lines[0].last_run
    assert seen is not None
    assert (seen.id, seen.state) == (run.id, "queued")


def test_a_registry_that_does_not_answer_is_a_problem_on_the_page(
    service: ApiService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes to see what is wrong sees it: once, with what to do, and without any figure."""

    def fail(*_: object, **__: object) -> None:
        raise Temporary("The table cannot be reached.", remedy="Wait.", reason="storage-unreachable")

    monkeypatch.setattr(service.registry.table, "get", fail)
    seen = overview(service, A, None)
    assert (seen.is_known, len(seen.lines)) == (False, 0)
    assert seen.problems == [Problem("storage-unreachable", "The table cannot be reached.", "Wait.")]
    service.found = [Problem("storage-unreachable", "The same, as the service found it.", "Wait.")]
    assert overview(service, A, None).problems == service.found


def test_a_mistake_of_ours_is_not_taken_for_a_problem_of_theirs(
    service: ApiService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the tree of errors knows is told on the page; anything else goes to the log as what it is."""
    monkeypatch.setattr(type(service.registry.accounts), "counts", lambda *_: 1 / 0)
    assert not issubclass(ZeroDivisionError, DrivekeepError)
    with pytest.raises(ZeroDivisionError):
        overview(service, A, None)
