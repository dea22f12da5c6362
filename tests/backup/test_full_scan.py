"""A full scan that takes longer than one process may: it goes on where it stood, and misses nothing."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.world import World, world

from backup_core.backup import plan_writer
from backup_core.backup.batches import cut_batches, save_batch
from backup_core.backup.commit import commit_snapshot
from backup_core.backup.feed import plan_changes
from backup_core.backup.job import BackupJob, Summary
from backup_core.backup.progress import NoProgress
from backup_core.backup.run import Run
from backup_core.graph import children
from backup_core.graph.drives import user_drive
from backup_core.graph.refusals import Forbidden
from backup_core.testing.m365 import Status


@pytest.fixture
def here() -> Iterator[World]:
    with world() as made:
        for folder in range(12):
            for number in range(3):
                made.drive.put_file(f"/{folder}/below/{number}.txt", b"%d" % (folder * 10 + number))
        yield made


def step(here: World, act: Any) -> Any:
    """In what might be a process of its own."""
    parts = here.components(retries=0)
    job = BackupJob(drive=user_drive(parts.graph, here.m365.users[0].upn), source="onedrive", threads=2)
    with Run.begin(parts, job) as run:
        return act(run)


def plan(here: World) -> bool:
    """One activity's share, whose time is up as soon as it begins: what is begun is ended. Whether more is left."""
    return bool(step(here, lambda run: plan_changes(run, NoProgress(), run.clock.monotonic())))


def carried_out(here: World) -> Summary:
    def act(run: Run) -> Any:
        for number in cut_batches(run).batches:
            save_batch(run, number, 2, NoProgress())
        return commit_snapshot(run, NoProgress())

    summary = step(here, act)
    assert isinstance(summary, Summary)
    return summary


def listed(here: World) -> Counter[str]:
    """How often each folder was asked for its children."""
    return Counter(each.path for each in here.m365.log if each.path.endswith("/children"))


def test_scan_in_many_short_shares(here: World) -> None:
    """Every share ends in time, no folder is listed twice, and the snapshot is the drive."""
    shares = 1
    while plan(here):
        shares += 1
        assert shares < 60
    assert shares > 5
    assert set(listed(here).values()) == {1}
    here.assert_same(carried_out(here))


def test_scan_that_is_killed_goes_on(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process that died has written down is not listed again, but for the folders in its hands."""
    monkeypatch.setattr(plan_writer, "PART_ITEMS", 1)
    here.m365.faults.add(match=r"GET graph .*/children", nth=14, times=1, fault=Status(403))
    with pytest.raises(Forbidden):
        step(here, lambda run: plan_changes(run, NoProgress()))
    before = listed(here)
    while plan(here):
        pass
    assert sum((listed(here) - Counter(dict.fromkeys(listed(here), 1))).values()) <= 3
    assert len(before) >= 10
    here.assert_same(carried_out(here))


def test_drive_that_changes_between_shares(here: World) -> None:
    """Whatever moves out of the scan's way, or vanishes, between two shares: the snapshot is the drive at the end."""
    assert plan(here)
    assert plan(here)
    for folder in range(0, 12, 2):
        here.drive.rename(f"/{folder}", f"moved {folder}")
    here.drive.delete("/3")
    here.drive.put_file("/new/deep/down.txt", b"new")
    while plan(here):
        pass
    here.assert_same(carried_out(here))


def pending(here: World) -> set[str]:
    """Names of the folders at the top that are still to be listed."""
    ids = set(step(here, lambda run: run.last_plan_part()[1].pending))
    return {path.strip("/") for path, folder in here.drive.folders() if folder.id in ids and "/" not in path.strip("/")}


def test_folder_that_moves_out_of_the_way(here: World) -> None:
    """Its new place was listed before it came, its old one after it went. The feed tells of it, not what it holds."""
    assert plan(here)
    assert plan(here)
    left = pending(here)
    done = {str(number) for number in range(12)} - left
    assert left
    assert done
    here.drive.rename(f"/{min(left)}/below", "moved")
    here.drive.move(f"/{min(left)}/moved", f"/{min(done)}")
    while plan(here):
        pass
    here.assert_same(carried_out(here))


@pytest.mark.parametrize("nth", range(3, 24, 3))
def test_folder_that_was_listed_in_part(here: World, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder whose second page did not come nothing but its first is written down: it is listed again."""
    monkeypatch.setattr(children, "PAGE_ITEMS", 2)
    monkeypatch.setattr(plan_writer, "PART_ITEMS", 1)
    here.m365.faults.add(match=r"GET graph .*/children", nth=nth, times=1, fault=Status(403))
    with pytest.raises(Forbidden):
        step(here, lambda run: plan_changes(run, NoProgress()))
    while plan(here):
        pass
    here.assert_same(carried_out(here))


def test_scan_whose_position_is_lost_begins_again(here: World) -> None:
    """The changes since its begin can no longer be told: it is no use."""
    while plan(here):
        pass
    here.drive.put_file("/later.txt", b"later")
    here.m365.faults.add(match=r"GET graph .*/delta", times=1, fault=Status(410))
    while plan(here):
        pass
    here.assert_same(carried_out(here))


def test_scan_that_is_whole_adds_nothing(here: World) -> None:
    """A step that runs again after the end looks for changes, and writes no part for none."""
    while plan(here):
        pass
    numbers = step(here, lambda run: run.log.numbers()["plan"])
    assert not plan(here)
    assert step(here, lambda run: run.log.numbers()["plan"]) == numbers


@given(st.lists(st.sampled_from(["plan", "rename", "move", "delete", "add"]), max_size=12), st.randoms())
def test_any_changes_between_any_shares(deeds: list[str], chance: Any) -> None:
    """In whatever order shares and changes come, nothing is missed and nothing is kept that is gone."""
    with world() as here:
        for number in range(5):
            here.drive.put_file(f"/{number}/a/b/{number}.txt", b"%d" % number)
        for count, deed in enumerate(deeds):
            folders = sorted(path for path, _ in here.drive.folders())
            folder = chance.choice(folders) if folders else ""
            if deed == "plan":
                plan(here)
            elif deed == "add" or not folder:
                here.drive.put_file(f"{folder}/new {count}.txt", b"%d" % count)
            elif deed == "rename":
                here.drive.rename(folder, f"renamed {count}")
            elif deed == "delete":
                here.drive.delete(folder)
            else:
                target = chance.choice(folders)
                if not f"{target}/".startswith(f"{folder}/") and target != folder.rpartition("/")[0]:
                    here.drive.rename(folder, f"moved {count}")
                    here.drive.move(f"{folder.rpartition('/')[0]}/moved {count}", target)
        while plan(here):
            pass
        here.assert_same(carried_out(here))
