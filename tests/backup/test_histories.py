"""Random histories of a drive, through hostile feeds, compared with the drive itself after every run."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.world import World, clear, world

from backup_core.storage.memory import MemoryStore
from backup_core.testing.fake_clock import FakeClock

NAMES = ["a", "b", "c.txt", "D", "é", "x y", "#%?&", "日本"]
SIZES = [0, 1, 10, 5_000, 700_000]


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with world(clock=FakeClock()) as made:
        yield made


class Person:
    """Changes a drive at random, as a person might within a day."""

    def __init__(self, drive: Any, seed: int) -> None:
        self.drive, self.random = drive, random.Random(seed)
        self.deleted: list[Any] = []

    def act(self) -> None:
        action = self.random.choices(
            [self.write, self.edit, self.make, self.rename, self.move, self.delete, self.swap, self.recreate],
            [6, 5, 3, 4, 5, 3, 2, 2],
        )[0]
        action()

    def folder(self) -> str:
        return self.random.choice(["", *(path for path, _ in self.drive.folders())])

    def any_path(self) -> str | None:
        paths = [path for path, _ in [*self.drive.files(), *self.drive.folders()]]
        return self.random.choice(paths) if paths else None

    def content(self) -> bytes:
        return self.random.randbytes(self.random.choice(SIZES))

    def free(self, folder: str) -> str | None:
        taken = {name.lower() for name in self.drive.listing(self.drive.item(folder))}
        names = [name for name in NAMES if name.lower() not in taken]
        return f"{folder}/{self.random.choice(names)}" if names else None

    def write(self) -> None:
        if path := self.free(self.folder()):
            self.drive.put_file(path, self.content())

    def edit(self) -> None:
        if files := self.drive.files():
            self.drive.put_file(self.random.choice(files)[0], self.content())

    def make(self) -> None:
        if path := self.free(self.folder()):
            self.drive.make_folder(path)

    def rename(self) -> None:
        path = self.any_path()
        if path and (new := self.free(path.rpartition("/")[0])):
            self.drive.rename(path, new.rpartition("/")[2])

    def move(self) -> None:
        path, folder = self.any_path(), self.folder()
        if not path or f"{folder}/".lower().startswith(f"{path}/".lower()):
            return
        taken = {name.lower() for name in self.drive.listing(self.drive.item(folder))}
        if path.rpartition("/")[2].lower() not in taken:
            self.drive.move(path, folder)

    def delete(self) -> None:
        if path := self.any_path():
            self.drive.delete(path)

    def swap(self) -> None:
        files = self.drive.files()
        if len(files) < 2:
            return
        (one, _), (other, _) = self.random.sample(files, 2)
        if one.rpartition("/")[0] != other.rpartition("/")[0]:
            return
        name, other_name = one.rpartition("/")[2], other.rpartition("/")[2]
        self.drive.rename(one, "between")
        self.drive.rename(other, name)
        self.drive.rename(f"{one.rpartition('/')[0]}/between", other_name)

    def recreate(self) -> None:
        path = self.any_path()
        if path:
            self.drive.delete(path)
            self.drive.put_file(path, self.content())


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
