"""Orchestrations of the real SDK in the local hub: what they come to, and what a client may do with them."""

import asyncio
import json
from typing import Any

import pytest

from backup_core.testing.durable_host.history import Kind
from backup_core.testing.durable_host.hub import AlreadyRunning, NoSuchOrchestrator
from backup_core.testing.durable_host.mishaps import Mishap, at


def test_an_activity_is_called_and_answers(sample: Any) -> None:
    """Input goes in and the result comes out as JSON."""

    async def work(sample: Any) -> None:
        instance = await sample.result("one", "21")
        assert (instance.status, instance.output, instance.input) == ("Completed", 42, "21")
        kinds = [Kind(event["EventType"]).name for event in instance.history]
        assert kinds == [
            "ORCHESTRATOR_STARTED",
            "EXECUTION_STARTED",
            "TASK_SCHEDULED",
            "ORCHESTRATOR_COMPLETED",
            "ORCHESTRATOR_STARTED",
            "TASK_COMPLETED",
            "ORCHESTRATOR_COMPLETED",
        ]

    sample.in_hub(work)


def test_rounds_with_timers_take_no_time(sample: Any) -> None:
    """Failed items are tried again after durable timers, which pass as soon as nobody is at work."""

    async def work(sample: Any) -> None:
        started = sample.clock.monotonic()
        instance = await sample.result("rounds", "10")
        assert instance.output == {"sum": 45, "tries": 3, "left": []}
        assert instance.custom_status == {"tries": 3}
        assert 1200 <= sample.clock.monotonic() - started < 1300

    sample.in_hub(work)


def test_a_new_generation_keeps_its_parent(sample: Any) -> None:
    """A child that continues as new twice still answers the parent that waits for it, with a short history."""

    async def work(sample: Any) -> None:
        instance = await sample.result("parent")
        sums = [sum(range(number + each + 1)) for number in range(3) for each in range(2)]
        assert instance.output == sum(sums)
        family = [each for each in sample.hub.instances.values() if each.name == "family"]
        assert len(family) == 1
        assert family[0].id.startswith(f"{instance.execution_id}:")
        generations = [each for each in sample.hub.recorded if each.name == "family"]
        assert [json.loads(each.input or "")["round"] for each in generations] == [0, 1, 2]
        assert family[0].peak_events == max(len(each.history) for each in generations)

    sample.in_hub(work)


@pytest.mark.parametrize(("comes", "output"), [(True, {"event": {"tenant": "t"}}), (False, {"event": None})])
def test_an_event_or_an_hour(sample: Any, comes: bool, output: Any) -> None:
    """Whatever is first decides; an event may come before the orchestrator has begun to wait."""

    async def work(sample: Any) -> None:
        instance_id = sample.hub.begin("patient", None)
        if comes:
            sample.hub.raise_event(sample.hub.instances[instance_id], "go", '{"tenant": "t"}')
        instance = await sample.hub.ended(instance_id)
        assert (instance.status, instance.output) == ("Completed", output)

    sample.in_hub(work)


def test_an_event_between_two_generations_is_kept(sample: Any) -> None:
    """One that comes while an orchestrator decides to begin anew reaches the new generation."""

    async def work(sample: Any) -> None:
        call = sample.worker.call

        async def call_and_raise(name: str, *more: Any) -> Any:
            answer = await call(name, *more)
            if name == "relay" and '"actionType": 4' in answer[1]:
                sample.hub.raise_event(sample.hub.instances["r"], "go", '"came"')
            return answer

        sample.worker.call = call_and_raise
        assert (await sample.result("relay", "true", "r")).output == "came"
        assert len([each for each in sample.hub.recorded if each.name == "relay"]) == 2

    sample.in_hub(work)


def test_a_raising_activity_can_be_caught(sample: Any) -> None:
    """The error's text reaches the orchestrator, and what the orchestrator raises is its output."""

    async def work(sample: Any) -> None:
        instance = await sample.result("stern")
        assert instance.status == "Failed"
        assert "caught: Activity function 'raising' failed:  KeyError" in instance.output
        assert [run.outcome for run in sample.hub.activities.log] == ["failed"]

    sample.in_hub(work)


def test_an_orchestrator_that_changes_its_mind_is_refused(sample: Any) -> None:
    """Asking for something else than before ends the orchestration loudly, at the next look."""

    async def work(sample: Any) -> None:
        instance = await sample.result("careless")
        assert instance.status == "Failed"
        assert "Non-Deterministic workflow detected: number 0" in instance.output

    sample.in_hub(work)


def test_a_child_that_does_not_exist_fails_its_parent(sample: Any) -> None:
    """A wrong name is an error in the parent, not a wait for ever; so is a wrong activity."""

    async def work(sample: Any) -> None:
        instance = await sample.result("orphan")
        assert instance.status == "Failed"
        assert "nowhere" in instance.output

    sample.in_hub(work)


def test_what_this_host_cannot_do_fails_loudly(sample: Any) -> None:
    """An orchestrator that asks for a durable HTTP call ends as failed; it does not hang."""

    async def work(sample: Any) -> None:
        instance = await sample.result("beyond")
        assert instance.status == "Failed"
        assert "8 is not a valid ActionKind" in instance.output

    sample.in_hub(work)


def test_who_may_be_started(sample: Any) -> None:
    """An unknown orchestrator and an id that is running are refused; an id that has ended can be used again."""

    async def work(sample: Any) -> None:
        with pytest.raises(NoSuchOrchestrator):
            sample.hub.begin("nowhere", None)
        with pytest.raises(NoSuchOrchestrator):
            sample.hub.begin("double", "1")
        sample.hub.begin("one", "1", "mine")
        with pytest.raises(AlreadyRunning, match="status Pending already exists"):
            sample.hub.begin("one", "2", "mine")
        await sample.hub.ended("mine")
        assert (await sample.result("one", "3", "mine")).output == 6

    sample.in_hub(work)


def test_what_is_terminated_stays_so(sample: Any) -> None:
    """The answer of an activity that was under way is dropped, and nothing is stuck."""

    async def work(sample: Any) -> None:
        sample.hub.activities.plan = at("double", Mishap(late_seconds=60))
        sample.hub.alarms.skip = None
        instance_id = sample.hub.begin("one", "1")
        await _until(lambda: sample.hub.activities.log)
        await sample.hub.terminate(sample.hub.instances[instance_id], "enough")
        sample.hub.alarms.skip = sample.clock.advance
        sample.hub.alarms.wake()
        assert (await sample.result("one", "2")).output == 4
        instance = sample.hub.instances[instance_id]
        assert (instance.status, instance.output) == ("Terminated", "enough")
        assert not instance.inbox

    sample.in_hub(work)


def test_a_suspended_one_waits(sample: Any) -> None:
    """Messages gather while it is suspended, and are seen when it goes on."""

    async def work(sample: Any) -> None:
        sample.hub.alarms.skip = None
        instance_id = sample.hub.begin("patient", None)
        instance = sample.hub.instances[instance_id]
        await _until(lambda: instance.episodes == 1 and not instance.at_work)
        sample.hub.suspend(instance)
        sample.hub.raise_event(instance, "go", "1")
        await asyncio.sleep(0.05)
        assert (instance.status, instance.episodes) == ("Suspended", 1)
        sample.hub.resume(instance)
        assert (await sample.hub.ended(instance_id)).output == {"event": 1}

    sample.in_hub(work)


def test_an_activity_has_its_time(sample: Any, notes: Any) -> None:
    """One that outlives the limit of host.json fails, in the words of the Functions host."""

    async def work(sample: Any) -> None:
        instance = await sample.result("fan", '{"count": 1, "seconds": 1.0}')
        assert instance.status == "Failed"
        assert "Timeout value of 0 s was exceeded by function: work" in instance.output

    sample.limits = type(sample.limits)(timeout_seconds=0.3)
    sample.in_hub(work)


def test_no_more_at_a_time_than_allowed(sample: Any, notes: Any) -> None:
    """The limit of host.json on activities is reached and never exceeded."""

    async def work(sample: Any) -> None:
        await sample.result("fan", '{"count": 12, "seconds": 0.02}')
        assert sample.hub.activities.most_running == 4

    sample.in_hub(work)


async def _until(true: Any) -> None:
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to that")
