"""The steps of a drive's backup as activities: done twice, by several processes, without a claim, cut short."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, bench
from support.judge import require_restic

from backup_core.backup import batches, commit
from backup_core.errors import Temporary
from backup_core.runs.runs import Runs
from backup_core.service import steps, work
from backup_core.testing.restored_folder import compare

AWAY = Temporary("The storage could not be reached.", reason="storage-unreachable")


@pytest.fixture
def here(tmp_path: Path) -> Any:
    with bench(tmp_path) as made:
        yield made


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One file a batch, so that a drive of some files needs every step."""
    monkeypatch.setattr(batches, "BATCH_FILES", 1)


def planned(here: Bench) -> tuple[Any, dict[str, Any]]:
    """A run, and its claim whose batches are saved."""
    run, claim = here.ask(), here.claim()
    told = here.step("plan", claim)
    assert told["count"] == 3, told
    for number in range(told["first"], told["first"] + told["count"]):
        assert here.step("save", claim, batch=number)["whole"]
    return run, claim


@pytest.mark.usefixtures("small_batches")
def test_commit_that_is_delivered_twice_is_one_snapshot(here: Bench) -> None:
    """An activity whose answer was lost runs again: it answers the same, and makes nothing a second time."""
    _, claim = planned(here)
    first = here.step("commit", claim)
    assert first["committed"]
    assert here.step("commit", claim) == first
    assert here.snapshots() == 1


def test_plan_that_is_delivered_twice_is_one_snapshot(here: Bench) -> None:
    """So it is with a drive that needs no second activity: its result says what the first try has saved."""
    run, claim = here.ask(), here.claim()
    first = here.step("plan", claim)
    assert first["summary"]["files_new"] == 3
    second = here.step("plan", claim)
    assert second["summary"] == first["summary"]
    here.finish(claim, end="done", **second)
    assert (here.outcome(run).snapshot_id, here.snapshots()) == (first["summary"]["snapshot_id"], 1)


def test_lane_that_dies_after_the_commit_tells_its_result_later(here: Bench) -> None:
    """Whoever takes the claim from a dead lane finds the snapshot made, and reports that one."""
    run, claim = here.ask(), here.claim()
    first = here.step("plan", claim)
    (held,) = here.service.runs.active(here.tenant)
    here.service.runs.free(held, "its process died")
    again = here.claim("lane-1")
    second = here.step("plan", again)
    assert second["summary"] == first["summary"]
    here.finish(again, end="done", **second)
    assert (here.outcome(run).state, here.snapshots()) == ("complete", 1)


@pytest.mark.parametrize("late", ["beat", "waiting"])
def test_registry_that_goes_away_after_the_commit(here: Bench, late: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose work is done says so, whatever the registry has to say after it."""
    _, claim = here.ask(), here.claim()
    made = commit_of(monkeypatch)
    method = getattr(Runs, late)

    def failing(*words: Any, **more: Any) -> Any:
        if made.is_set():
            raise AWAY
        return method(*words, **more)

    monkeypatch.setattr(Runs, late, failing)
    assert here.step("plan", claim)["committed"]


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("name", ["cut", "save", "commit"])
def test_step_of_a_plan_that_somebody_else_has_carried_out(here: Bench, name: str) -> None:
    """A claim whose run another process has committed plans again from there. The drive is not listed anew for that."""
    planned(here)
    here.lose_claim()
    other = here.claim("lane-1")
    assert here.step("commit", other)["committed"]
    here.finish(other, end="done", **here.step("commit", other))
    here.ask()
    third = here.claim()
    told = here.step(name, third, batch=2)
    assert (told["ok"], told["reason"], told["again"]) == (False, "unplanned", False)


def commit_of(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a snapshot and its state are stored."""
    made = threading.Event()
    carry_out = commit.commit_snapshot

    def committing(*words: Any, **more: Any) -> Any:
        summary = carry_out(*words, **more)
        made.set()
        return summary

    monkeypatch.setattr(steps, "commit_snapshot", committing)
    return made


@pytest.mark.usefixtures("small_batches")
def test_drive_whose_claim_was_taken_stops(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has lost the claim stops within moments, in the middle of a batch too."""
    monkeypatch.setattr(work, "BEAT_SECONDS", 0.02)
    _, claim = here.ask(), here.claim()
    told = here.step("plan", claim)
    result = here.step_while_reading(monkeypatch, claim, told["first"], here.lose_claim)
    assert (result["ok"], result["reason"]) == (False, "claim-lost")


@pytest.mark.usefixtures("small_batches")
def test_run_that_is_cancelled_in_the_middle_of_a_batch_says_so(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that it was interrupted."""
    monkeypatch.setattr(work, "BEAT_SECONDS", 0.02)
    run, claim = here.ask(), here.claim()
    told = here.step("plan", claim)
    result = here.step_while_reading(
        monkeypatch, claim, told["first"], lambda: here.service.runs.cancel(run.id, "test")
    )
    assert (result["ok"], result["reason"]) == (False, "cancelled")


def test_claim_that_is_lost_during_the_commit_publishes_nothing(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is looked at once more just before the snapshot: what takes minutes is done by then."""
    _, claim = here.ask(), here.claim()
    write = commit.NewTree.write

    def losing(self: Any) -> Any:
        here.lose_claim()
        return write(self)

    monkeypatch.setattr(commit.NewTree, "write", losing)
    result = here.step("plan", claim)
    assert (result["ok"], result["reason"]) == (False, "claim-lost")
    assert here.snapshots() == 0


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("where", ["packs", "trees"])
def test_process_that_slept_longer_than_its_lock_names_nothing(
    here: Bench, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock counts as dead by then, and a prune may have taken what it stored: no index and no snapshot names it."""
    _, claim = here.ask(), here.claim()
    told = here.step("plan", claim)
    room = batches if where == "packs" else commit
    finish = room.Packer.finish

    def sleeping(self: Any) -> Any:
        packs = finish(self)
        here.clock.hop(3600)
        return packs

    if where == "trees":
        for number in range(told["first"], told["first"] + told["count"]):
            here.step("save", claim, batch=number)
    before = len(list((here.folder / "index").glob("*")))
    monkeypatch.setattr(room.Packer, "finish", sleeping)
    result = here.step("save", claim, batch=told["first"]) if where == "packs" else here.step("commit", claim)
    assert (result["ok"], result["reason"], result["again"]) == (False, "locked", True)
    assert len(list((here.folder / "index").glob("*"))) == before
    assert here.snapshots() == 0


@pytest.mark.usefixtures("small_batches")
def test_total_is_what_there_is_to_do(here: Bench) -> None:
    """However often what is left is cut anew, each file counts once."""
    run, claim = here.ask(), here.claim()
    told = here.step("plan", claim)
    here.step("save", claim, batch=told["first"])
    for _ in range(3):
        here.step("cut", claim)
    shown = here.service.runs.get(run.id).progress
    assert (shown.items_done, shown.items_total) == (1, 3)


@pytest.mark.usefixtures("small_batches")
def test_cut_of_a_huge_drive_is_bounded(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more batches are written down than a turn can save, and the rest comes after them; the total is the whole."""
    monkeypatch.setattr(steps, "BATCHES_MAX", 2)
    run, claim = here.ask(), here.claim()
    told = here.step("plan", claim)
    assert told["count"] == 2
    assert here.service.runs.get(run.id).progress.items_total == 3
    for number in (told["first"], told["first"] + 1):
        here.step("save", claim, batch=number)
    assert not here.step("commit", claim)["committed"]
    assert here.step("cut", claim)["count"] == 1


def test_whole_way_is_sound(here: Bench, tmp_path: Path) -> None:
    """What these tests do by hand is a backup: stock restic restores the drive from it."""
    require_restic()
    run, claim = here.ask(tags=("x",)), here.claim()
    here.finish(claim, end="done", **here.step("plan", claim))
    assert here.outcome(run).state == "complete"
    restic = here.judge()
    restic.check()
    assert compare(restic.restore("latest", tmp_path / "out"), here.user.drive.snapshot()).differences == []
    assert json.loads(restic("snapshots", "--json"))[0]["tags"] == ["x"]
