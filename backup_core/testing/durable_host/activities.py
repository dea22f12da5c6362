"""Runs activities, each at least once, never more at a time than the host's limit; a callback gets what comes of it."""

import asyncio
import datetime
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from backup_core.clock import Clock
from backup_core.testing.durable_host.alarms import Alarms
from backup_core.testing.durable_host.history import Event, Kind, event
from backup_core.testing.durable_host.mishaps import Plan, no_mishaps
from backup_core.testing.durable_host.worker import FunctionFailed, Worker, WorkerLost

_REDELIVERY_SECONDS = 0.5  # after a lost process: a new one needs as long to load the app
_LOG_ENTRIES = 10_000


@dataclass(frozen=True)
class ActivityRun:
    """One time that an activity ran; `outcome` is `ok`, `failed` or `lost`."""

    instance_id: str
    name: str
    input: str | None
    started: datetime.datetime
    outcome: str
    output: str | None


class Activities:
    def __init__(self, worker: Worker, clock: Clock, alarms: Alarms, at_a_time: int, timeout_seconds: float) -> None:
        self._worker = worker
        self._clock = clock
        self._alarms = alarms
        self._turns = asyncio.Semaphore(at_a_time * worker.instances)
        self._timeout_seconds = timeout_seconds
        self._starts: Counter[str] = Counter()
        self.plan: Plan = no_mishaps
        self.log: deque[ActivityRun] = deque(maxlen=_LOG_ENTRIES)
        self.running = 0
        self.most_running = 0

    async def deliver(self, instance_id: str, asked: Event, answer: Callable[[Event], None]) -> None:
        """Run what a TaskScheduled event asks for, with the mishaps that are planned for it."""
        name = asked["Name"]
        mishap = self.plan(name, self._starts[name])
        self._starts[name] += 1
        if mishap.lost:
            await self._once(instance_id, asked, heard=False)
        if mishap.fails == "before":
            results = [self._failure(asked, "It was planned to fail.")]
        else:
            results = [await self._once(instance_id, asked)]
        if mishap.twice:
            results.append(await self._once(instance_id, asked))
        if mishap.fails == "after":
            results = [self._failure(asked, "It was planned to fail after its work.")]
        for each in results:
            self._later(mishap.late_seconds, lambda each=each: answer(each))  # type: ignore[misc]

    def _later(self, seconds: float, ring: Callable[[], None]) -> None:
        if seconds:
            self._alarms.set(self._clock.now() + datetime.timedelta(seconds=seconds), ring)
        else:
            ring()

    async def _once(self, instance_id: str, asked: Event, *, heard: bool = True) -> Event:
        """One run to its end, however many processes it takes."""
        while True:
            started, result = self._clock.now(), None
            async with self._turns:
                self.running += 1
                self.most_running = max(self.most_running, self.running)
                try:
                    result = await self._result(asked)
                except WorkerLost:
                    pass  # it is delivered again
                finally:
                    self.running -= 1
            outcome = "lost" if result is None or not heard else _outcome(result)
            output = result.get("Result") if result else None
            self.log.append(ActivityRun(instance_id, asked["Name"], asked["Input"], started, outcome, output))
            if result is not None:
                return result
            await asyncio.sleep(_REDELIVERY_SECONDS)

    async def _result(self, asked: Event) -> Event:
        name = asked["Name"]
        function = self._worker.functions.get(name)
        if function is None or function.kind != "activityTrigger":
            return self._failure(
                asked, f"The function '{name}' doesn't exist, is disabled, or is not an activity function."
            )
        inputs = {function.trigger["name"]: ("json", asked["Input"] or "null")}
        try:
            payload = await self._worker.call(name, inputs, self._timeout_seconds)
        except FunctionFailed as error:
            return self._failure(asked, error.message)
        return event(
            Kind.TASK_COMPLETED,
            self._clock.now(),
            TaskScheduledId=asked["EventId"],
            Result=payload[1] if payload else None,
        )

    def _failure(self, asked: Event, text: str) -> Event:
        details = json.dumps({"$type": "System.Exception", "Message": text})
        return event(
            Kind.TASK_FAILED,
            self._clock.now(),
            TaskScheduledId=asked["EventId"],
            Reason=f"Activity function '{asked['Name']}' failed:  {text}",
            Details=details,
        )


def _outcome(answer: Event) -> str:
    return "ok" if answer["EventType"] == Kind.TASK_COMPLETED else "failed"
