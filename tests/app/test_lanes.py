"""Lanes that are asked for in the moment in which they end, and lanes that hang."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, bench
from support.hosted import office, once

from backup_core.service import current
from backup_core.triggers import lanes


class Client:
    """Of a durable host on which each lane is alive for so many more looks."""

    def __init__(self, looks: int) -> None:
        self.looks, self.asked, self.started = looks, 0, list[str]()

    async def start_new(self, name: str, instance_id: str, job: dict[str, Any]) -> str:
        self.asked += 1
        if self.asked <= self.looks:
            raise RuntimeError("An Orchestration instance with the status Running already exists.")
        self.started.append(instance_id)
        return instance_id


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(lanes, "LOOK_SECONDS", 0.001)
    with bench(tmp_path, users=2) as made:
        current.use(made.service)
        yield made
        current.use(None)


def start(here: Bench, client: Any) -> None:
    asyncio.run(lanes.start_lanes(client, [here.tenant], 2))


def test_lanes_that_are_about_to_end_are_waited_for(here: Bench) -> None:
    """They have found the queue empty before the drive came into it, and will not look again: new ones must."""
    here.ask()
    client = Client(looks=7)
    start(here, client)
    assert client.started


@pytest.mark.parametrize("why", ["at work", "taken", "nothing waits"])
def test_lanes_that_will_look_again_are_not_waited_for(here: Bench, why: str) -> None:
    """A lane that works on a drive looks at the queue after it; where nothing waits there is nothing to look for."""
    if why != "nothing waits":
        here.ask()
        here.claim()
    if why == "at work":
        here.service.runs.request(here.tenant, here.m365.users[1].id, who="test")
    client = Client(looks=1000)
    start(here, client)
    assert client.asked == 2


def test_lanes_that_neither_end_nor_work_are_not_waited_for_long(here: Bench) -> None:
    """Whoever asks gets an answer; a tick sees to the rest."""
    here.ask()
    client = Client(looks=10**9)
    start(here, client)
    assert client.asked <= 2 * lanes.LOOKS_MAX


def test_lane_that_hangs_is_ended_by_a_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that holds no claim: a message that Azure has lost must not cost a tenant its lane for ever."""
    monkeypatch.setattr(lanes, "LOOK_SECONDS", 0.01)
    with office(tmp_path, 1, DRIVEKEEP_MAX_DRIVES_PER_TENANT="1") as app:
        tenant = app.m365.tenant.id
        lane = lanes.lane_id(tenant, 0)
        app.worker.before["claim_next"] = once(lambda: app.host.hub.suspend(app.host.hub.instances[lane]))
        app.tick()
        app.wait_for(lambda: app.service.runs.active(tenant))
        (held,) = app.service.runs.active(tenant)
        app.service.runs.free(held, "it holds no claim")
        app.tick()
        assert app.calls_of("plan_changes") == []
        app.hop(50 * 60)
        app.tick()
        app.tick()
        app.wait_for(lambda: app.calls_of("finish_drive"), 60)
        app.settle()
        (run,) = app.items(f"/api/runs?tenant={tenant}")
        assert run["state"] == "complete"
        app.tick()
        app.assert_idle(tenant)
