"""Holds an orchestrator's list of actions against its history: what is new is to be scheduled, what differs is refused.

An orchestrator of the 1.x SDK answers every time with all that it has asked for since its start. This does what the
durable extension does with such a list; it starts nothing itself.
"""

import datetime
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import Any

from backup_core.testing.durable_host.history import (
    ANSWERED,
    GOOD_ANSWERS,
    SCHEDULED,
    Event,
    Kind,
    answered_id,
    moment_of,
    stamp,
)


class ActionKind(IntEnum):
    ACTIVITY = 0
    ACTIVITY_WITH_RETRY = 1
    SUB_ORCHESTRATION = 2
    SUB_ORCHESTRATION_WITH_RETRY = 3
    CONTINUE_AS_NEW = 4
    TIMER = 5
    EXTERNAL_EVENT = 6
    WHEN_ANY = 11
    WHEN_ALL = 12


class NonDeterministic(Exception):
    """The orchestrator asked for something else than it did before, given the same history."""


class _Task:
    """Something that is waited for. Failing counts as done: whether that ends the orchestrator is the SDK's affair."""

    def __init__(self, done: bool = False) -> None:
        self.done = done
        self.good = True
        self._waiting: list[Callable[[_Task], None]] = []

    def finish(self, good: bool = True) -> None:
        if not self.done:
            self.done, self.good = True, good
            for told in self._waiting:
                told(self)

    def then(self, told: "Callable[[_Task], None]") -> None:
        if self.done:
            told(self)
        else:
            self._waiting.append(told)


class ActionReplay:
    """Made for one look at one history. After `run`, `new` holds the events to schedule, in order."""

    def __init__(self, history: Sequence[Event], sub_id: Callable[[int], str]) -> None:
        """`sub_id` names a child that the orchestrator left without an id, from its number."""
        self._history = history
        self._sub_id = sub_id
        self._known = {entry["EventId"]: entry for entry in history if entry["EventType"] in SCHEDULED}
        self._next_number = 0
        self._open: dict[int, _Task] = {}
        self._waiting: dict[str, deque[_Task]] = defaultdict(deque)
        self._early: dict[str, int] = defaultdict(int)
        self._actions: Iterator[Any] = iter(())
        self._current = _Task(done=True)
        self._now = datetime.datetime.min.replace(tzinfo=datetime.UTC)
        self.new: list[Event] = []
        self.continued = False
        self.continue_input: str | None = None

    def run(self, actions: Sequence[Any]) -> None:
        """Raises NonDeterministic."""
        self._actions = iter(actions)
        for entry in self._history:
            self._happen(entry)
        for number in sorted(self._known):
            if number >= self._next_number:
                raise NonDeterministic(
                    f"Non-Deterministic workflow detected: {_described(self._known[number])} was scheduled before as "
                    f"number {number}, but not by the current replay."
                )

    def _happen(self, entry: Event) -> None:
        kind = entry["EventType"]
        if kind == Kind.ORCHESTRATOR_STARTED:
            self._now = moment_of(entry["Timestamp"])
        elif kind == Kind.EXECUTION_STARTED:
            self._advance()
        elif kind in ANSWERED:
            task = self._open.pop(answered_id(entry), None)  # None: it was answered twice, and the first answer counts
            if task:
                task.finish(kind in GOOD_ANSWERS)
                self._advance()
        elif kind == Kind.EVENT_RAISED:
            if self._waiting[entry["Name"]]:
                self._waiting[entry["Name"]].popleft().finish()
                self._advance()
            else:
                self._early[entry["Name"]] += 1

    def _advance(self) -> None:
        while self._current.done:
            action = next(self._actions, None)
            if action is None:
                return
            self._current = self._invoke(action)

    def _invoke(self, action: dict[str, Any]) -> _Task:
        kind = ActionKind(action["actionType"])  # an unknown one: entities and HTTP calls are beyond this host
        if kind in (ActionKind.ACTIVITY, ActionKind.SUB_ORCHESTRATION):
            return self._start(kind, action)
        if kind in (ActionKind.ACTIVITY_WITH_RETRY, ActionKind.SUB_ORCHESTRATION_WITH_RETRY):
            return self._start_with_retry(ActionKind(kind - 1), action)
        if kind == ActionKind.TIMER:
            timer = self._timer(moment_of(action["fireAt"]))
            if action.get("isCanceled"):
                timer.finish(False)
            return timer
        if kind == ActionKind.EXTERNAL_EVENT:
            return self._wait_for(action["externalEventName"])
        if kind == ActionKind.CONTINUE_AS_NEW:
            self.continued, self.continue_input = True, action.get("input")
            return _Task(done=True)
        return self._combine(action["compoundActions"], any_one=kind == ActionKind.WHEN_ANY)

    def _start(self, kind: ActionKind, action: dict[str, Any]) -> _Task:
        asked = {"Name": action["functionName"], "Input": action.get("input")}
        if kind == ActionKind.ACTIVITY:
            return self._schedule(Kind.TASK_SCHEDULED, **asked)
        name = action.get("instanceId") or self._sub_id(self._next_number)
        return self._schedule(Kind.SUB_CREATED, **asked, InstanceId=name)

    def _start_with_retry(self, kind: ActionKind, action: dict[str, Any]) -> _Task:
        """Another try after each failure, and a wait after the last one too: the SDK counts on that many numbers."""
        whole = _Task()
        pause = datetime.timedelta(milliseconds=action["retryOptions"]["firstRetryIntervalInMilliseconds"])
        tries_max = action["retryOptions"]["maxNumberOfAttempts"]

        def attempt(number: int) -> None:
            if number == tries_max:
                whole.finish(False)
                return
            self._start(kind, action).then(lambda task: whole.finish() if task.good else wait(number))

        def wait(number: int) -> None:
            self._timer(self._now + pause).then(lambda _: attempt(number + 1))

        attempt(0)
        return whole

    def _timer(self, fire_at: datetime.datetime) -> _Task:
        return self._schedule(Kind.TIMER_CREATED, FireAt=stamp(fire_at))

    def _wait_for(self, name: str) -> _Task:
        if self._early[name]:
            self._early[name] -= 1
            return _Task(done=True)
        task = _Task()
        self._waiting[name].append(task)
        return task

    def _combine(self, actions: Sequence[Any], *, any_one: bool) -> _Task:
        whole, parts = _Task(done=not actions), [self._invoke(action) for action in actions]

        def told(_: _Task) -> None:
            if any_one or all(part.done for part in parts):
                whole.finish(all(part.good for part in parts if part.done))

        for part in parts:
            part.then(told)
        return whole

    def _schedule(self, kind: Kind, **fields: Any) -> _Task:
        number = self._next_number
        self._next_number += 1
        entry = {"EventType": int(kind), "EventId": number, **fields}
        known = self._known.get(number)
        if known is None:
            self.new.append(entry)
        elif any(known.get(name) != value for name, value in entry.items()):
            # Azure compares kind and name; comparing the input too finds mistakes that would only cost money there.
            raise NonDeterministic(
                f"Non-Deterministic workflow detected: number {number} was {_described(known)}, now it is "
                f"{_described(entry)}."
            )
        task = self._open[number] = _Task()
        return task


def _described(entry: Event) -> str:
    kind = Kind(entry["EventType"])
    if kind == Kind.TIMER_CREATED:
        return f"a timer for {entry['FireAt']}"
    what = "activity" if kind == Kind.TASK_SCHEDULED else "sub-orchestration"
    return f"{what} {entry['Name']} with {len(entry['Input'] or '')} characters of input"
