"""Lists of actions held against histories, by hand: numbers, retries, groups, and what counts as a change of mind."""

import datetime
from typing import Any

import pytest

from backup_core.testing.durable_host.action_replay import ActionReplay, NonDeterministic
from backup_core.testing.durable_host.history import Event, Kind, event

_START = datetime.datetime(2026, 11, 2, 8, 0, tzinfo=datetime.UTC)


def _history(*more: Event) -> list[Event]:
    return [event(Kind.ORCHESTRATOR_STARTED, _START), event(Kind.EXECUTION_STARTED, _START), *more]


def _call(name: str, text: str = "1") -> dict[str, Any]:
    return {"actionType": 0, "functionName": name, "input": text}


def _retried(name: str, tries: int) -> dict[str, Any]:
    options = {"firstRetryIntervalInMilliseconds": 5000, "maxNumberOfAttempts": tries}
    return {"actionType": 1, "functionName": name, "input": "1", "retryOptions": options}


def _all(*actions: Any) -> dict[str, Any]:
    return {"actionType": 12, "compoundActions": list(actions)}


def _any(*actions: Any) -> dict[str, Any]:
    return {"actionType": 11, "compoundActions": list(actions)}


def _asked(number: int, name: str, text: str = "1") -> Event:
    return event(Kind.TASK_SCHEDULED, _START, Name=name, Input=text) | {"EventId": number}


def _timer(number: int, seconds: int) -> Event:
    fire_at = (_START + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return event(Kind.TIMER_CREATED, _START, FireAt=fire_at) | {"EventId": number}


def _done(number: int) -> Event:
    return event(Kind.TASK_COMPLETED, _START, TaskScheduledId=number, Result="1")


def _failed(number: int) -> Event:
    return event(Kind.TASK_FAILED, _START, TaskScheduledId=number, Reason="", Details="")


def _fired(number: int) -> Event:
    return event(Kind.TIMER_FIRED, _START, TimerId=number, FireAt="")


def _new(history: list[Event], *actions: Any) -> list[tuple[int, str]]:
    """Number and name (or time, for a timer) of what is to be scheduled."""
    replay = ActionReplay(history, lambda number: f"child-{number}")
    replay.run(actions)
    return [(entry["EventId"], entry.get("Name") or entry["FireAt"][11:19]) for entry in replay.new]


@pytest.mark.parametrize(
    ("more", "new"),
    [
        ([], [(0, "a"), (1, "b")]),
        ([_asked(0, "a"), _asked(1, "b")], []),
        ([_asked(0, "a"), _asked(1, "b"), _done(1)], []),
        ([_asked(0, "a"), _asked(1, "b"), _done(1), _done(1)], []),  # an answer that comes twice is one answer
        ([_asked(0, "a"), _asked(1, "b"), _done(1), _failed(0)], [(2, "c")]),
    ],
)
def test_a_group_waits_for_all(more: list[Event], new: list[tuple[int, str]]) -> None:
    """The next step is asked for once every part has answered, well or not."""
    assert _new(_history(*more), _all(_call("a"), _call("b")), _call("c")) == new


def test_any_waits_for_one() -> None:
    """The first answer is enough, and the other stays open for later."""
    more = [_asked(0, "a"), _asked(1, "b"), _done(1)]
    assert _new(_history(*more), _any(_call("a"), _call("b")), _call("c")) == [(2, "c")]


def test_an_empty_group_is_done() -> None:
    """It waits for nothing."""
    assert _new(_history(), _all(), _call("a")) == [(0, "a")]


def test_a_retried_call_takes_the_numbers_that_the_sdk_expects() -> None:
    """A timer after each failure, and one more after the last; then it counts as failed."""
    action = _retried("a", 2)
    once = [_asked(0, "a"), _failed(0)]
    waited = [*once, _timer(1, 5), _fired(1)]
    twice = [*waited, _asked(2, "a"), _failed(2)]
    assert _new(_history(*once), action) == [(1, "08:00:05")]
    assert _new(_history(*waited), action) == [(2, "a")]
    assert _new(_history(*twice), action, _call("b")) == [(3, "08:00:05")]
    assert _new(_history(*twice, _timer(3, 5), _fired(3)), action, _call("b")) == [(4, "b")]
    assert _new(_history(_asked(0, "a"), _done(0)), action, _call("b")) == [(1, "b")]


def test_an_event_that_came_early_is_kept() -> None:
    """One that was raised before anybody waited answers the first who does, once."""
    wait = {"actionType": 6, "externalEventName": "go"}
    more = [event(Kind.EVENT_RAISED, _START, Name="go", Input="1"), _asked(0, "a"), _done(0)]
    assert _new(_history(*more), _call("a"), wait, _call("b"), wait, _call("c")) == [(1, "b")]


@pytest.mark.parametrize(
    ("more", "actions"),
    [
        ([_asked(0, "a")], [_call("b")]),  # another function
        ([_asked(0, "a")], [_call("a", "2")]),  # another input
        ([_asked(0, "a")], [{"actionType": 5, "fireAt": "2026-11-02T09:00:00Z"}]),  # another kind
        ([_timer(0, 60)], [{"actionType": 5, "fireAt": "2026-11-02T08:01:01Z"}]),  # another time
        ([_asked(0, "a"), _asked(1, "b")], [_call("a")]),  # less than before
    ],
)
def test_a_change_of_mind_is_found(more: list[Event], actions: list[Any]) -> None:
    """Whatever was asked for before must be asked for again, the same and all of it."""
    with pytest.raises(NonDeterministic):
        _new(_history(*more), *actions)


def test_what_is_beyond_this_host_is_an_error() -> None:
    """Entities and durable HTTP calls are not passed over in silence."""
    with pytest.raises(ValueError, match="8"):
        _new(_history(), {"actionType": 8})
