"""The script of faults: which request meets which fault, and that none is forgotten."""

import threading

import pytest

from backup_core.testing.m365.faults import Close, FaultPlan, Reset, Status
from backup_core.testing.m365.wire import Origin, Request


def _ask(plan: FaultPlan, target: str, origin: Origin = "graph", times: int = 1) -> list[object]:
    path, _, query = target.partition("?")
    return [plan.take(Request(origin, "GET", path, query)) for _ in range(times)]


def test_nth_and_times_choose_the_requests() -> None:
    """The fault meets the nth matching request and those after it, as often as it was told."""
    plan = FaultPlan()
    plan.add("/a", Close(), nth=3, times=2)
    assert _ask(plan, "/a", times=6) == [None, None, Close(), Close(), None, None]


def test_rules_of_one_match_follow_each_other() -> None:
    """Two faults for the same request come one after the other, in the order in which they were added."""
    plan = FaultPlan()
    plan.add("/a", Status(429))
    plan.add("/a", Reset(5))
    assert _ask(plan, "/a", times=3) == [Status(429), Reset(5), None]


def test_a_match_may_name_the_origin_or_leave_it_out() -> None:
    """`GET content /x` is one origin's, `GET /x` is anybody's, and the query takes part."""
    plan = FaultPlan()
    plan.add("^GET content /x", Close())
    plan.add(r"^GET /y\?token=", Close())
    assert _ask(plan, "/x") == [None]
    assert _ask(plan, "/x", "content") == [Close()]
    assert _ask(plan, "/y?token=1") == [Close()]


def test_a_fault_without_end_needs_to_come_once() -> None:
    """`times=None` meets every request from the nth on."""
    plan = FaultPlan()
    plan.add("/a", Close(), times=None)
    with pytest.raises(AssertionError, match="0 of 1"):
        plan.verify_all_fired()
    assert _ask(plan, "/a", times=50) == [Close()] * 50
    plan.verify_all_fired()


def test_a_fault_that_came_too_seldom_is_named() -> None:
    """The failure says which fault, for which requests, and how often it came."""
    plan = FaultPlan()
    plan.add("/came", Close())
    plan.add("/seldom", Close(), times=3)
    _ask(plan, "/came")
    _ask(plan, "/seldom")
    with pytest.raises(AssertionError, match=r"/seldom.*1 of 3") as failure:
        plan.verify_all_fired()
    assert "/came" not in str(failure.value)


@pytest.mark.parametrize(("nth", "times"), [(0, 1), (1, 0)])
def test_a_rule_that_could_never_come_is_refused(nth: int, times: int) -> None:
    """A script counts from one."""
    with pytest.raises(ValueError, match="count from 1"):
        FaultPlan().add("/a", Close(), nth=nth, times=times)


def test_threads_share_the_count() -> None:
    """Of many requests at once exactly as many meet the fault as the script says."""
    plan = FaultPlan()
    plan.add("/a", Close(), nth=11, times=7)
    met: list[object] = []
    threads = [threading.Thread(target=lambda: met.extend(_ask(plan, "/a", times=50))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met.count(Close()) == 7
