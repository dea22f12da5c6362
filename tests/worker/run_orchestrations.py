"""A program: runs the sample app's orchestrations on one of the workers, with mishaps, and replays every beginning of
every history; prints what came of them in JSON."""

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

from app_index import make_worker

from backup_core.testing.durable_host.hub import Limits, TaskHub
from backup_core.testing.durable_host.mishaps import by_chance
from backup_core.testing.durable_host.prefixes import every_prefix
from backup_core.testing.fake_clock import FakeClock

_ASKED = (("one", "21"), ("rounds", "7"), ("parent", None), ("patient", None), ("stern", None), ("orphan", None))


async def _main(kind: str, folder: str) -> None:
    worker, clock = make_worker(kind, Path(folder)), FakeClock()
    await worker.start()
    hub = TaskHub(worker, clock, limits=Limits(activities=4, orchestrators=4), skip=clock.advance)
    hub.activities.plan = by_chance(random.Random(7))
    hub.start()
    outputs: dict[str, Any] = {}
    for name, text in _ASKED:
        instance = await hub.ended(hub.begin(name, text))
        outputs[name] = [instance.status, instance.output if instance.status == "Completed" else None]
    prefixes = 0
    for recorded in hub.recorded:
        if recorded.name not in ("stern", "orphan"):
            prefixes += await every_prefix(worker, recorded)
    await hub.stop()
    await worker.stop()
    print(json.dumps({"outputs": outputs, "prefixes": prefixes, "runs": len(hub.activities.log)}))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
