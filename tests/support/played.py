"""The app's real orchestrators, replayed by the real SDK, with activities that a test plays."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backup_core.testing.durable_host.hub import Limits, TaskHub
from backup_core.testing.durable_host.instance import Instance
from backup_core.testing.durable_host.mishaps import Plan
from backup_core.testing.durable_host.prefixes import every_prefix
from backup_core.testing.durable_host.thin_worker import ThinWorker
from backup_core.testing.durable_host.worker import Payload
from backup_core.testing.fake_clock import FakeClock

ROOT = Path(__file__).parents[2]
Play = Callable[[dict[str, Any]], Any]


class _PlayedWorker:
    """Orchestrators are the app's own; an activity is whatever the test says."""

    instances = 1

    def __init__(self, real: ThinWorker, plays: Mapping[str, Play]) -> None:
        self.real, self.plays = real, plays
        self.functions = real.functions
        self.calls: Counter[str] = Counter()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def call(self, name: str, inputs: Mapping[str, Payload], seconds_max: float) -> Payload | None:
        if name not in self.plays:
            return await self.real.call(name, inputs, seconds_max)
        self.calls[name] += 1
        ((_, text),) = inputs.values()
        job = json.loads(text)
        return "json", json.dumps(self.plays[name](json.loads(job) if isinstance(job, str) else job))


class Played:
    """What one orchestration did: its end, how often each activity ran, and whether every replay agreed."""

    def __init__(self, instance: Instance, calls: Counter[str], seconds: float, peak: int) -> None:
        self.instance, self.calls, self.seconds, self.peak = instance, calls, seconds, peak

    @property
    def output(self) -> Any:
        assert self.instance.status == "Completed", (self.instance.status, self.instance.output)
        return self.instance.output


def play(name: str, job: Any, plays: Mapping[str, Play], plan: Plan | None = None) -> Played:
    """Run an orchestration to its end in virtual time, then replay every beginning of every history it left."""
    return asyncio.run(_play(name, job, plays, plan))


async def _play(name: str, job: Any, plays: Mapping[str, Play], plan: Plan | None) -> Played:
    real = ThinWorker(ROOT, 8)
    await real.start()
    clock, worker = FakeClock(), _PlayedWorker(real, plays)
    hub = TaskHub(worker, clock, limits=Limits(8, 4, 60.0), skip=clock.advance)
    if plan is not None:
        hub.activities.plan = plan
    hub.start()
    began = clock.now()
    try:
        instance = await hub.ended(hub.begin(name, json.dumps(job), "one"), 60)
        peak = max((len(each.history) for each in hub.recorded), default=0)
        for recorded in hub.recorded:
            await every_prefix(worker, recorded)
    finally:
        await hub.stop()
        await real.stop()
    return Played(instance, worker.calls, (clock.now() - began).total_seconds(), peak)
