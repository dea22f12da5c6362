"""Random histories of a drive, through hostile feeds, compared with the drive itself after every run."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.person import Person
from support.world import World, clear, world

from backup_core.storage.memory import MemoryStore
from backup_core.testing.fake_clock import FakeClock


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with world(clock=FakeClock()) as made:
        yield made


@given(
    seed=st.integers(0, 1 << 32),
    actions=st.lists(st.integers(0, 8), min_size=2, max_size=5),
    page_size=st.sampled_from([1, 3, 200]),
    hostile=st.fixed_dictionaries(
        {
            name: st.booleans()
            for name in (
                "page_jitter",
                "repeats",
                "children_first",
                "tombstones_first",
                "descendant_tombstones",
                "tombstone_leftovers",
                "parent_path",
            )
        }
    ),
    sources=st.lists(st.sampled_from(["onedrive-changes"] * 4 + ["onedrive"]), min_size=5, max_size=5),
    expire=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_every_run_equals_the_drive(
    shared: World,
    seed: int,
    actions: list[int],
    page_size: int,
    hostile: dict[str, bool],
    sources: list[str],
    expire: list[bool],
) -> None:
    """Whatever happened, and however the feed tells it, the snapshot is the drive, and no file is fetched twice."""
    shared.store = MemoryStore(shared.clock)
    clear(shared.drive)
    person = Person(shared.drive, seed)
    shared.m365.switches.page_size = page_size
    for name, value in hostile.items():
        setattr(shared.m365.switches, name, value)
    before: dict[str, str] = {}
    snapshots = []
    for count, source, expired in zip([12, *actions], sources, expire, strict=False):
        for _ in range(count):
            person.act()
        if expired and snapshots:
            shared.m365.switches.expire_positions()
        shared.m365.log.clear()
        summary = shared.back_up(source=source)
        shared.assert_same(summary)
        assert summary.complete
        now = {item.id: item.body.quickxor() if item.size else "" for _, item in shared.drive.files()}
        fetched = sum(1 for item_id, digest in now.items() if digest and before.get(item_id) != digest)
        assert len(shared.downloads()) == fetched
        before = now
        snapshots.append((summary, shared.expected()))
    for summary, expected in snapshots:
        assert shared.contents(summary.snapshot_id) == expected
