"""The task hub: instances, their messages, and the episodes in which orchestrators decide; all of it in memory.

It plays the part of the durable extension for the 1.x SDK. Entities, durable HTTP calls and rewinding are beyond it.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from backup_core.clock import Clock
from backup_core.testing.durable_host.action_replay import ActionReplay, NonDeterministic
from backup_core.testing.durable_host.activities import Activities
from backup_core.testing.durable_host.alarms import Alarms
from backup_core.testing.durable_host.episode import Decision, OrchestratorFailed, context_text, decide, replayed
from backup_core.testing.durable_host.history import Event, Kind, event, moment_of, stamp
from backup_core.testing.durable_host.instance import Instance, Parent, Recorded
from backup_core.testing.durable_host.worker import Worker, WorkerLost

_log = logging.getLogger(__name__)
_REPEAT_SECONDS = 0.5  # before an episode whose process died is tried again
_RECORDED_MAX = 2_000


class NoSuchOrchestrator(Exception):
    pass


class AlreadyRunning(Exception):
    pass


@dataclass(frozen=True)
class Limits:
    """Of one process, as host.json has them."""

    activities: int = 10
    orchestrators: int = 10
    timeout_seconds: float = 1800.0


class TaskHub:
    """Lives on one event loop; every method is called there."""

    def __init__(
        self,
        worker: Worker,
        clock: Clock,
        *,
        limits: Limits | None = None,
        skip: Callable[[float], None] | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        """`skip` (see Alarms) makes durable timers ring as soon as nothing else is at work."""
        limits = limits or Limits()
        self._worker = worker
        self._clock = clock
        self._new_id = new_id
        self._timeout_seconds = limits.timeout_seconds
        self._turns = asyncio.Semaphore(limits.orchestrators * worker.instances)
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self.alarms = Alarms(clock, lambda: len(self._tasks) == 1, skip)  # the one is the alarms' own
        self.activities = Activities(worker, clock, self.alarms, limits.activities, limits.timeout_seconds)
        self.instances: dict[str, Instance] = {}
        self.recorded: list[Recorded] = []
        """Every history that ended, by completion or continue-as-new: the latest two thousand."""

    def start(self) -> None:
        self._spawn(self.alarms.run())

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what a client may do ------------------------------------------------------------------------------------------

    def begin(self, name: str, text: str | None, instance_id: str | None = None) -> str:
        """Start an orchestration with that JSON text; its id. Raises NoSuchOrchestrator, AlreadyRunning."""
        instance_id = instance_id or self._new_id()
        running = self.instances.get(instance_id)
        if running and not running.ended:
            raise AlreadyRunning(f"An Orchestration instance with the status {running.status} already exists.")
        self._create(instance_id, name, text, None)
        return instance_id

    def raise_event(self, instance: Instance, name: str, text: str) -> None:
        self._post(instance.id, event(Kind.EVENT_RAISED, self._clock.now(), Name=name, Input=text))

    async def terminate(self, instance: Instance, reason: str) -> None:
        """Its children and its activities go on; what they answer is dropped."""
        await self._end(instance, "Terminated", reason)

    def suspend(self, instance: Instance) -> None:
        instance.suspended, instance.status = True, "Suspended"

    def resume(self, instance: Instance) -> None:
        instance.suspended, instance.status = False, "Running"
        self._look_at(instance)

    async def ended(self, instance_id: str, timeout_seconds: float = 30.0) -> Instance:
        """Wait for an orchestration's end. Raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds), self._changed:
            await self._changed.wait_for(lambda: instance_id in self.instances and self.instances[instance_id].ended)
        return self.instances[instance_id]

    # -- messages ------------------------------------------------------------------------------------------------------

    def _create(self, instance_id: str, name: str, text: str | None, parent: Parent | None) -> None:
        function = self._worker.functions.get(name)
        if function is None or function.kind != "orchestrationTrigger":
            raise NoSuchOrchestrator(
                f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function."
            )
        now = self._clock.now()
        self.instances[instance_id] = Instance(instance_id, name, text, parent, self._new_id(), now, now)
        self._post(instance_id, event(Kind.EXECUTION_STARTED, now, Name=name, Version="", Input=text))

    def _post(self, instance_id: str, message: Event, execution_id: str | None = None) -> None:
        """A message for a generation that is gone is dropped."""
        instance = self.instances.get(instance_id)
        if instance is None or instance.ended or (execution_id and execution_id != instance.execution_id):
            return
        instance.inbox.append(message | {"Timestamp": stamp(self._clock.now())})
        self._look_at(instance)

    def _look_at(self, instance: Instance) -> None:
        if instance.inbox and not (instance.at_work or instance.suspended or instance.ended):
            instance.at_work = True
            self._spawn(self._episode(instance))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self.alarms.wake()
        if not task.cancelled() and task.exception():
            _log.error("the local host itself failed", exc_info=task.exception())

    # -- episodes ------------------------------------------------------------------------------------------------------

    async def _episode(self, instance: Instance) -> None:
        async with self._turns:
            if not instance.ended:
                await self._decide(instance)
        instance.at_work = False
        self._look_at(instance)

    async def _decide(self, instance: Instance) -> None:
        """Let the orchestrator see its new messages, and do what it wants."""
        execution_id, told = instance.execution_id, instance.recorded()
        arrived = [event(Kind.ORCHESTRATOR_STARTED, self._clock.now()), *instance.inbox]
        instance.inbox.clear()
        instance.status = "Running"
        history = instance.history + arrived
        context = context_text(told, history, replaying=bool(instance.history))
        instance.episodes += 1
        instance.peak_bytes = max(instance.peak_bytes, len(context))
        try:
            decision = await self._decision(instance.name, context)
            if instance.ended or self.instances.get(instance.id) is not instance:
                return  # terminated or purged meanwhile
            replay = replayed(decision, history, execution_id)
        except (
            OrchestratorFailed,
            NonDeterministic,
            ValueError,
            LookupError,
        ) as error:  # the latter: no decision at all
            instance.history = history
            await self._end(instance, "Failed", f"Orchestrator function '{instance.name}' failed: {error}")
            return
        self._remember(instance, history, arrived, replay)
        if decision.custom_status is not None:
            instance.custom_status = decision.custom_status
        await self._act(instance, decision, replay)

    async def _decision(self, name: str, context: str) -> Decision:
        while True:
            try:
                return await decide(self._worker, name, context, self._timeout_seconds)
            except WorkerLost:
                await asyncio.sleep(_REPEAT_SECONDS)

    def _remember(self, instance: Instance, history: list[Event], arrived: list[Event], replay: ActionReplay) -> None:
        now = self._clock.now()
        played = {"Timestamp": stamp(now), "IsPlayed": True}
        for message in arrived:
            message["IsPlayed"] = True
        instance.history = [
            *history,
            *(asked | played for asked in replay.new),
            event(Kind.ORCHESTRATOR_COMPLETED, now) | played,
        ]
        instance.peak_events = max(instance.peak_events, len(instance.history))
        instance.updated = now

    async def _act(self, instance: Instance, decision: Decision, replay: ActionReplay) -> None:
        if decision.error:
            await self._end(instance, "Failed", f"Orchestrator function '{instance.name}' failed: {decision.error}")
        elif replay.continued:
            self._renew(instance, replay.continue_input)
        elif decision.done:
            await self._end(instance, "Completed", decision.output)
        else:
            for asked in replay.new:
                self._schedule(instance, asked)

    def _schedule(self, instance: Instance, asked: Event) -> None:
        instance_id, execution_id, number = instance.id, instance.execution_id, asked["EventId"]

        def answer(message: Event) -> None:
            self._post(instance_id, message, execution_id)

        if asked["EventType"] == Kind.TASK_SCHEDULED:
            self._spawn(self.activities.deliver(instance_id, asked, answer))
        elif asked["EventType"] == Kind.TIMER_CREATED:
            fired = event(Kind.TIMER_FIRED, self._clock.now(), TimerId=number, FireAt=asked["FireAt"])
            self.alarms.set(moment_of(asked["FireAt"]), lambda: answer(fired))
        else:
            try:  # a child under the id of one that runs replaces it without a word, as in Azure
                parent = Parent(instance_id, execution_id, number)
                self._create(asked["InstanceId"], asked["Name"], asked["Input"], parent)
            except NoSuchOrchestrator as error:
                answer(self._child_failed(number, str(error), ""))

    def _renew(self, instance: Instance, text: str | None) -> None:
        """A new generation: history and answers under way are forgotten, events that have just come are not."""
        self._record(instance)
        kept = [message for message in instance.inbox if message["EventType"] == Kind.EVENT_RAISED]
        instance.input, instance.history, instance.execution_id = text, [], self._new_id()
        instance.inbox.clear()
        now = self._clock.now()
        instance.inbox.append(event(Kind.EXECUTION_STARTED, now, Name=instance.name, Version="", Input=text))
        instance.inbox.extend(kept)

    async def _end(self, instance: Instance, status: str, output: Any) -> None:
        instance.status, instance.output, instance.updated = status, output, self._clock.now()
        self._record(instance)
        if instance.parent:
            parent = instance.parent
            self._post(parent.instance_id, self._child_answer(instance, parent.number), parent.execution_id)
        if status == "Failed":
            _log.warning("orchestration %s (%s) failed: %s", instance.id, instance.name, output)
        async with self._changed:
            self._changed.notify_all()

    def _child_answer(self, child: Instance, number: int) -> Event:
        if child.status == "Completed":
            result = json.dumps(child.output)
            return event(Kind.SUB_COMPLETED, self._clock.now(), TaskScheduledId=number, Result=result)
        reason = f"The sub-orchestrator function '{child.name}' failed: \"{child.output}\""
        return self._child_failed(number, reason, str(child.output))

    def _child_failed(self, number: int, reason: str, details: str) -> Event:
        return event(Kind.SUB_FAILED, self._clock.now(), TaskScheduledId=number, Reason=reason, Details=details)

    def _record(self, instance: Instance) -> None:
        self.recorded.append(instance.recorded())
        del self.recorded[:-_RECORDED_MAX]
