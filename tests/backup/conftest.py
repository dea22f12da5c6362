"""One simulated Microsoft 365 for all tests of a module; each test gets an empty drive and an empty store."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.world import World, clear, world

from backup_core.storage.memory import MemoryStore
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365.switches import Switches


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    with world(clock=FakeClock()) as made:
        yield made


@pytest.fixture
def fresh(shared_world: World) -> Iterator[World]:
    shared_world.store = MemoryStore(shared_world.clock)
    clear(shared_world.drive)
    ordinary: dict[str, Any] = vars(Switches(strict_content=True))
    epoch = shared_world.m365.switches.position_epoch
    for name, value in ordinary.items():
        setattr(shared_world.m365.switches, name, value)
    shared_world.m365.switches.position_epoch = epoch
    shared_world.m365.log.clear()
    yield shared_world
    shared_world.m365.faults.clear()
