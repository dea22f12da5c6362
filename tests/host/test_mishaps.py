"""Activities that run twice, late, in another order, get lost or fail: an orchestration comes to the same."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sample_hub import SampleHub

from backup_core.testing.durable_host.action_replay import NonDeterministic
from backup_core.testing.durable_host.history import Kind
from backup_core.testing.durable_host.mishaps import Mishap, at, by_chance
from backup_core.testing.durable_host.prefixes import every_prefix


def test_twice_is_answered_once(sample: Any) -> None:
    """Both answers stand in the history, as in Azure; the orchestrator takes the first."""

    async def work(sample: Any) -> None:
        sample.hub.activities.plan = at("flaky", Mishap(twice=True))
        instance = await sample.result("rounds", "5")
        assert instance.output == {"sum": 10, "tries": 3, "left": []}
        answers = [event for event in instance.history if event["EventType"] == Kind.TASK_COMPLETED]
        asked = [event for event in instance.history if event["EventType"] == Kind.TASK_SCHEDULED]
        assert len(sample.hub.activities.log) == 2 * len(asked)
        assert len(answers) > len(asked)

    sample.in_hub(work)


def test_lost_is_delivered_again(sample: Any) -> None:
    """An activity whose process died after its work runs once more, and is answered once."""

    async def work(sample: Any) -> None:
        sample.hub.activities.plan = at("double", Mishap(lost=True), times=1)
        assert (await sample.result("one", "4")).output == 8
        assert [run.outcome for run in sample.hub.activities.log] == ["lost", "ok"]

    sample.in_hub(work)


@pytest.mark.parametrize(("when", "runs"), [("before", 0), ("after", 1)])
def test_failing_before_or_after_its_work(sample: Any, when: Any, runs: int) -> None:
    """Both fail the orchestration that does not catch it; only the one has left its effect."""

    async def work(sample: Any) -> None:
        sample.hub.activities.plan = at("double", Mishap(fails=when))
        assert (await sample.result("one", "4")).status == "Failed"
        assert len(sample.hub.activities.log) == runs

    sample.in_hub(work)


@given(seed=st.integers(min_value=0), count=st.integers(min_value=1, max_value=6))
def test_any_order_comes_to_the_same(seed: int, count: int) -> None:
    """Whatever share of the activities is late, doubled or lost, the result is the same, and so is every replay."""

    async def work(sample: Any) -> None:
        sample.hub.activities.plan = by_chance(random.Random(seed), share=0.5)
        instance = await sample.result("rounds", str(count))
        assert instance.output["sum"] == sum(range(count))
        assert await every_prefix(sample.worker, instance.recorded()) > 3

    SampleHub().in_hub(work)


@given(seed=st.integers(min_value=0))
def test_failures_end_it_and_nothing_hangs(seed: int) -> None:
    """With failing activities too it ends, completed or failed, and its history can be replayed from any point."""

    async def work(sample: Any) -> None:
        sample.hub.activities.plan = by_chance(random.Random(seed), share=0.2, failing=True)
        instance = await sample.result("rounds", "5")
        assert instance.status in ("Completed", "Failed")
        assert "Non-Deterministic" not in str(instance.output)
        await every_prefix(sample.worker, instance.recorded())

    SampleHub().in_hub(work)


def test_every_beginning_of_every_history(sample: Any) -> None:
    """Children and generations are recorded each by itself, and each agrees with all its beginnings."""

    async def work(sample: Any) -> None:
        await sample.result("parent")
        tried = [await every_prefix(sample.worker, each) for each in sample.hub.recorded]
        assert len(tried) == 1 + 3 + 6
        assert sum(tried) > 150

    sample.in_hub(work)


def test_a_careless_orchestrator_is_found(sample: Any) -> None:
    """One that asks for something else at every look does not pass, whatever its run had shown."""

    async def work(sample: Any) -> None:
        instance = await sample.result("careless")
        with pytest.raises(NonDeterministic):
            await every_prefix(sample.worker, instance.recorded())

    sample.in_hub(work)


def test_a_fickle_orchestrator_is_found(sample: Any) -> None:
    """So is one that waits for something else at every look, of which nothing stands in the history."""

    async def work(sample: Any) -> None:
        instance = sample.hub.instances[sample.hub.begin("fickle", None)]
        while not instance.history:
            await asyncio.sleep(0.01)
        with pytest.raises(NonDeterministic, match="asks for something else after 3 events"):
            await every_prefix(sample.worker, instance.recorded())

    sample.in_hub(work)
