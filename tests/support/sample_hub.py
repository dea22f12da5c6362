"""A task hub around the sample function app of tests/host, on a clock that passes hours at once."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from backup_core.testing.durable_host.hub import Limits, TaskHub
from backup_core.testing.durable_host.instance import Instance
from backup_core.testing.durable_host.thin_worker import ThinWorker
from backup_core.testing.fake_clock import FakeClock

SAMPLE_APP = Path(__file__).parents[1] / "host" / "sample_app"


class SampleHub:
    """`in_hub(work)` runs `await work(this)` on a new event loop with a started hub."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.limits = Limits(activities=4, orchestrators=4, timeout_seconds=20)
        self.worker: ThinWorker
        self.hub: TaskHub

    def in_hub(self, work: Callable[["SampleHub"], Awaitable[Any]]) -> Any:
        return asyncio.run(self._run(work))

    async def result(self, name: str, text: str | None = None, instance_id: str | None = None) -> Instance:
        """Start an orchestration and wait for its end."""
        return await self.hub.ended(self.hub.begin(name, text, instance_id), 20)

    async def _run(self, work: Callable[["SampleHub"], Awaitable[Any]]) -> Any:
        self.worker = ThinWorker(SAMPLE_APP, 16)
        await self.worker.start()
        self.hub = TaskHub(self.worker, self.clock, limits=self.limits, skip=self.clock.advance)
        self.hub.start()
        try:
            return await work(self)
        finally:
            await self.hub.stop()
            await self.worker.stop()
