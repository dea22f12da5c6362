"""Generated lives of a drive and its repository: people, crashes, lost state, pruning; restic judges one in 20."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.judge import Judge
from support.person import Person
from support.world import PASSWORD, World, clear, world

from backup_core.repository import layout
from backup_core.storage.memory import MemoryStore
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.faulty_store import WRITE, Crash, Die, Fault, FaultyStore
from backup_core.testing.restored_folder import compare

JUDGED_EACH = 20
_examples = itertools.count()


class Day(NamedTuple):
    """What happens before a backup, and to it."""

    changes: int
    accident: str
    source: str
    dies_at: int  # of its writes, where the accident is a crash


ACCIDENTS = [
    *["none"] * 4,
    "position lost",
    "heads lost",
    "segments lost",
    "newest head lost",
    "dies before a write",
    "dies after a write",
    "newest snapshot forgotten",
    "everything forgotten",
]
DAYS = st.lists(
    st.builds(
        Day,
        st.integers(0, 8),
        st.sampled_from(ACCIDENTS),
        st.sampled_from(["onedrive-changes"] * 3 + ["onedrive"]),
        st.integers(1, 14),
    ),
    min_size=2,
    max_size=5,
)


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with world(clock=FakeClock()) as made:
        yield made


@given(seed=st.integers(0, 1 << 32), days=DAYS, page_size=st.sampled_from([1, 4, 200]), hostile=st.integers(0, 63))
def test_whatever_happens_the_snapshot_is_the_drive(
    shared: World,
    judge: type[Judge],
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    days: list[Day],
    page_size: int,
    hostile: int,
) -> None:
    """After each day the snapshot equals the drive, and the earlier ones are what they were; so says stock restic."""
    _begin(shared, page_size, hostile)
    person = Person(shared.drive, seed)
    kept: dict[str, Any] = {}  # snapshot -> what the drive was
    for day in [Day(12, "none", days[0].source, 0), *days]:
        for _ in range(day.changes):
            person.act()
        _befall(shared, day, kept)
        summary = shared.back_up(source=day.source)
        shared.assert_same(summary)
        assert summary.complete
        kept[str(summary.snapshot_id)] = shared.drive.snapshot()
    if next(_examples) % JUDGED_EACH == 0:
        _ask_restic(shared, judge, tmp_path_factory.mktemp("judged"), kept)


def _begin(shared: World, page_size: int, hostile: int) -> None:
    shared.store = MemoryStore(shared.clock)
    clear(shared.drive)
    switches = shared.m365.switches
    switches.page_size = page_size
    names = ["page_jitter", "repeats", "children_first", "tombstones_first", "descendant_tombstones", "parent_path"]
    for bit, name in enumerate(names):
        setattr(switches, name, bool(hostile >> bit & 1))


def _befall(shared: World, day: Day, kept: dict[str, Any]) -> None:
    """The day's accident; a run that dies is one that did not come to its end, and may have left a snapshot."""
    deeds: dict[str, Callable[[], None]] = {
        "none": lambda: None,
        "position lost": shared.m365.switches.expire_positions,
        "heads lost": lambda: _remove(shared, layout.HEADS),
        "segments lost": lambda: _remove(shared, layout.SEGMENTS),
        "newest head lost": lambda: _remove(shared, layout.HEADS, newest=1),
        "newest snapshot forgotten": lambda: _forget(shared, list(kept)[-1:], kept),
        "everything forgotten": lambda: _forget(shared, list(kept), kept),
        "dies before a write": lambda: _die(shared, day, kept),
        "dies after a write": lambda: _die(shared, day, kept),
    }
    deeds[day.accident]()


def _remove(shared: World, folder: str, newest: int = 0) -> None:
    """Everything in a folder of the store, or so many of its last names."""
    for entry in list(shared.store.list(folder))[-newest:]:
        shared.store.delete(entry.name)


def _forget(shared: World, snapshots: list[str], kept: dict[str, Any]) -> None:
    for snapshot in snapshots:
        shared.store.delete(layout.snapshot_name(snapshot))
        del kept[snapshot]
    if not kept:  # and pruned
        _remove(shared, layout.INDEX)
        _remove(shared, layout.DATA)


def _die(shared: World, day: Day, kept: dict[str, Any]) -> None:
    sound = shared.store
    dead = Die(after=day.accident == "dies after a write")
    shared.store = FaultyStore(sound, [Fault(dead, WRITE, nth=day.dies_at)])
    try:
        shared.back_up(source=day.source)
    except Crash:
        pass
    shared.store = sound
    for entry in sound.list(layout.SNAPSHOTS):
        kept.setdefault(layout.last_part(entry.name), shared.drive.snapshot())


def _ask_restic(shared: World, judge: type[Judge], scratch: Path, kept: dict[str, Any]) -> None:
    for entry in shared.store.list():
        path = scratch / "repository" / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(shared.store.get(entry.name))
    for lock in (scratch / "repository" / "locks").glob("*"):
        lock.unlink()  # of those who died
    restic = judge(scratch / "repository", PASSWORD)
    restic.check()
    for snapshot, expected in kept.items():
        top = restic.restore(snapshot, scratch / snapshot[:12])
        assert compare(top, expected).differences == []
