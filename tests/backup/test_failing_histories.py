"""Random histories in which files are infected, locked and healed: what is had is saved, what is not is reported."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.world import World, clear, world

from backup_core.drive_state.head import choose_head
from backup_core.storage.memory import MemoryStore
from backup_core.testing.fake_clock import FakeClock

FOLDERS = ["", "/a", "/b", "/a/c"]


@pytest.fixture(scope="module")
def troubled() -> Iterator[World]:
    with world(clock=FakeClock()) as made:
        yield made


class Trouble:
    """Changes a drive at random, and makes single files fail."""

    def __init__(self, drive: Any, seed: int) -> None:
        self.drive, self.random, self.made = drive, random.Random(seed), 0

    def act(self) -> None:
        what = [self.write, self.edit, self.infect, self.lock, self.heal, self.move, self.rename, self.delete]
        self.random.choices(what, [5, 6, 4, 4, 4, 4, 3, 3])[0]()

    def file(self) -> str | None:
        files = [path for path, _ in self.drive.files()]
        return self.random.choice(files) if files else None

    def write(self) -> None:
        self.made += 1
        self.drive.put_file(f"{self.random.choice(FOLDERS)}/{self.made}.bin", self.content())

    def content(self) -> bytes:
        return self.random.randbytes(self.random.choice([0, 3, 3_000]))

    def edit(self) -> None:
        if path := self.file():
            self.drive.put_file(path, self.content())

    def infect(self) -> None:
        if path := self.file():
            self.drive.set_malware(path)

    def lock(self) -> None:
        if path := self.file():
            self.drive.set_locked(path)

    def heal(self) -> None:
        for path, item in self.drive.files():
            if (item.malware or item.locked) and self.random.random() < 0.7:
                self.drive.set_malware(path, None)
                self.drive.set_locked(path, False)

    def move(self) -> None:
        if path := self.file():
            self.drive.move(path, self.random.choice(FOLDERS))

    def rename(self) -> None:
        folders = [path for path, _ in self.drive.folders()]
        if path := self.random.choice(folders) if folders else None:
            self.made += 1
            self.drive.rename(path, f"folder {self.made}")

    def delete(self) -> None:
        folders = [path for path, _ in self.drive.folders()]
        path = self.random.choice(folders) if folders and self.random.random() < 0.3 else self.file()
        if path:
            self.drive.delete(path)


Saved = dict[str, tuple[str, int]]  # item id -> SHA-256 and date of the version that was had last


def expect(drive: Any, now: dict[str, Any], saved: Saved) -> tuple[dict[str, Any], dict[str, str]]:
    """What a snapshot made now must hold, and what must be reported; `saved` is brought up to date."""
    holds, fails = dict(now), {}
    known: Saved = {}
    for path, item in drive.files():
        _, digest, modified = now[path]
        before = saved.get(item.id)
        same = before is not None and before[0] == digest
        if item.malware or (item.locked and item.size and not same):
            fails[path] = "malware" if item.malware else "locked"
        else:
            before = digest, modified
        if before is None:
            del holds[path]
        else:
            known[item.id] = before
            holds[path] = "file", *before
    saved.clear()
    saved.update(known)
    return holds, fails


@given(
    seed=st.integers(0, 1 << 32),
    actions=st.lists(st.integers(0, 6), min_size=3, max_size=6),
    sources=st.lists(st.sampled_from(["onedrive-changes"] * 3 + ["onedrive"]), min_size=6, max_size=6),
    expire=st.lists(st.sampled_from([False, False, True]), min_size=6, max_size=6),
)
def test_what_fails_is_reported_and_what_is_known_stays(
    troubled: World, seed: int, actions: list[int], sources: list[str], expire: list[bool]
) -> None:
    """Whatever fails and whenever it heals: the snapshot, the report and the totals that are carried on are exact."""
    troubled.store = MemoryStore(troubled.clock)
    clear(troubled.drive)
    trouble, saved = Trouble(troubled.drive, seed), {}
    for count, source, expired in zip([10, *actions], sources, expire, strict=False):
        for _ in range(count):
            trouble.act()
        if expired:
            troubled.m365.switches.expire_positions()
        expected, fails = expect(troubled.drive, troubled.expected(), saved)
        dry = troubled.back_up(source=source, dry_run=True)
        summary = troubled.back_up(source=source)
        found = troubled.contents(str(summary.snapshot_id))
        assert found == expected
        assert {item.path: item.reason for item in summary.items_failed} == fails
        assert not summary.items_skipped
        files = sum(kind == "file" for kind, *_ in expected.values())
        head = choose_head(troubled.open_repository()).head
        assert head is not None
        assert (head.totals.files, head.totals.folders) == (files, len(expected) - files)
        assert summary.files_total == files == summary.files_new + summary.files_changed + summary.files_unmodified
        assert (dry.mode, dry.files_deleted, dry.folders_new) == (
            summary.mode,
            summary.files_deleted,
            summary.folders_new,
        )
        assert head.totals.bytes == summary.bytes_total
