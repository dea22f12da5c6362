"""Runs beside and after each other: who takes over from whom, who is refused, and what a dry run leaves alone."""

import threading
from typing import Any

import pytest
from support.world import World

from backup_core.backup.batches import cut_batches, save_batch
from backup_core.backup.commit import commit_snapshot, is_suspicious
from backup_core.backup.feed import plan_changes
from backup_core.backup.job import BackupJob
from backup_core.backup.progress import NoProgress
from backup_core.backup.run import Run
from backup_core.errors import Locked, Usage
from backup_core.graph.drives import user_drive
from backup_core.repository import layout
from backup_core.repository.lock import RepositoryLock
from backup_core.repository.snapshot import load_snapshot

QUIET = NoProgress()


def furnish(fresh: World, count: int = 10) -> None:
    for number in range(count):
        fresh.drive.put_file(f"/d{number % 3}/file{number}.txt", b"content %d" % number)


def begin(fresh: World, **job: Any) -> Run:
    parts = fresh.components()
    return Run.begin(parts, BackupJob(user_drive(parts.graph, fresh.m365.users[0].upn), **job))


def test_every_step_in_a_process_of_its_own(fresh: World) -> None:
    """The steps share nothing but what is stored: each finds the run again, and the end is the same."""
    furnish(fresh)
    for edited in ("d1", "e1"):
        with begin(fresh) as run:
            assert plan_changes(run, QUIET) is False
        with begin(fresh) as run:
            batches = cut_batches(run).batches
        for number in batches:
            with begin(fresh) as run:
                save_batch(run, number, 2, QUIET)
        with begin(fresh) as run:
            summary = commit_snapshot(run, QUIET)
        assert summary is not None
        fresh.assert_same(summary)
        fresh.drive.put_file("/d0/file0.txt", b"other")
        fresh.drive.rename(f"/{edited}", "e1" if edited == "d1" else "f1")


def test_a_step_done_twice(fresh: World) -> None:
    """A batch that is saved twice has one record, and the run's result is the same."""
    furnish(fresh)
    with begin(fresh) as run:
        plan_changes(run, QUIET)
        (number,) = cut_batches(run).batches
        first = save_batch(run, number, 2, QUIET)
        assert save_batch(run, number, 2, QUIET) == first
        summary = commit_snapshot(run, QUIET)
    assert summary is not None
    fresh.assert_same(summary)


def test_plan_with_a_deadline_goes_on_where_it_stopped(fresh: World) -> None:
    """A feed that is read in many portions is one plan, and no page is read twice."""
    furnish(fresh, 30)
    fresh.m365.switches.page_size = 3
    portions = 0
    more = True
    while more:
        with begin(fresh) as run:
            more = plan_changes(run, QUIET, deadline=run.clock.monotonic())
        portions += 1
    assert portions > 5
    asked = [each.query for each in fresh.m365.log if each.path.endswith("/delta")]
    assert len(asked) == len(set(asked))
    fresh.assert_same(fresh.back_up())


@pytest.mark.parametrize("source", ["onedrive-changes", "onedrive"])
def test_a_run_that_is_taken_over_catches_up(fresh: World, source: Any) -> None:
    """What changed after a run died is in the snapshot of the run that finishes its work."""
    furnish(fresh)
    with begin(fresh, source=source) as run:
        plan_changes(run, QUIET)
        for number in cut_batches(run).batches:
            save_batch(run, number, 2, QUIET)
    fresh.drive.put_file("/d0/file0.txt", b"changed since")
    fresh.drive.delete("/d1")
    fresh.m365.log.clear()
    summary = fresh.back_up(source=source)
    fresh.assert_same(summary)
    assert summary.complete, summary.items_failed
    assert len(fresh.downloads()) == 1


def test_packs_that_a_prune_took_are_saved_again(fresh: World) -> None:
    """Content that was saved and then pruned before a snapshot named it is fetched again, not named blindly."""
    furnish(fresh)
    with begin(fresh) as run:
        plan_changes(run, QUIET)
        for number in cut_batches(run).batches:
            save_batch(run, number, 2, QUIET)
    for folder in (layout.INDEX, layout.DATA):
        for entry in list(fresh.store.list(folder)):
            fresh.store.delete(entry.name)
    with begin(fresh) as run:
        assert commit_snapshot(run, QUIET) is None
        for number in cut_batches(run).batches:
            save_batch(run, number, 2, QUIET)
        summary = commit_snapshot(run, QUIET)
    assert summary is not None
    fresh.assert_same(summary)


def test_two_runs_at_once(fresh: World) -> None:
    """Of two runs that start from the same state one commits, the other is told so; nothing is lost either way."""
    furnish(fresh)
    fresh.back_up()
    fresh.drive.put_file("/d0/file0.txt", b"other")
    results: list[Any] = []

    def work() -> None:
        try:
            results.append(fresh.back_up())
        except Locked as error:
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    losers = [each for each in results if isinstance(each, Locked)]
    winners = [each for each in results if not isinstance(each, Locked)]
    assert winners
    assert all(each.exit_code == 11 and each.reason == "another-run" for each in losers)
    for entry in fresh.store.list(layout.SNAPSHOTS):
        snapshot = layout.last_part(entry.name)
        if load_snapshot(fresh.open_repository(), snapshot).parent:
            assert fresh.contents(snapshot) == fresh.expected()
    fresh.assert_same(fresh.back_up())


def test_another_drive_is_refused(fresh: World) -> None:
    """A repository holds one drive: another one, or another folder of it, is refused and nothing is written."""
    furnish(fresh)
    fresh.back_up()
    names = [entry.name for entry in fresh.store.list()]
    parts = fresh.components()
    drive = user_drive(parts.graph, fresh.m365.users[0].upn)
    from backup_core.backup.runner import back_up

    for job in (BackupJob(drive._replace(id="another")), BackupJob(drive, root_path="d0")):
        with pytest.raises(Usage) as refused:
            back_up(job, parts, QUIET)
        assert refused.value.exit_code == 2
        assert refused.value.remedy
    assert [entry.name for entry in fresh.store.list()] == names


def test_exclusive_lock_stops_a_backup(fresh: World) -> None:
    """While somebody prunes, a backup does not begin."""
    furnish(fresh)
    fresh.back_up()
    with (
        RepositoryLock(fresh.open_repository(), fresh.clock, "prune", exclusive=True),
        pytest.raises(Locked) as locked,
    ):
        fresh.back_up()
    assert locked.value.exit_code == 11


def test_dry_run_writes_nothing_and_tells_what_would_happen(fresh: World) -> None:
    """A dry run leaves every byte of the store alone, moves no position, and tells what the real run then does."""
    furnish(fresh)
    fresh.back_up()
    fresh.drive.put_file("/d0/file0.txt", b"changed")
    fresh.drive.put_file("/new.txt", b"new")
    fresh.drive.delete("/d1")
    before = {entry.name: fresh.store.get(entry.name) for entry in fresh.store.list()}
    told = fresh.back_up(dry_run=True)
    assert {entry.name: fresh.store.get(entry.name) for entry in fresh.store.list()} == before
    done = fresh.back_up()
    assert told.snapshot_id is None
    for count in (
        "mode",
        "files_new",
        "files_changed",
        "files_deleted",
        "files_unmodified",
        "folders_new",
        "files_total",
    ):
        assert getattr(told, count) == getattr(done, count), count
    assert told.bytes_downloaded == done.bytes_downloaded


@pytest.mark.parametrize(("before", "hit", "suspicious"), [(50, 26, True), (50, 25, False), (49, 49, False)])
def test_mass_change_rule(before: int, hit: int, suspicious: bool) -> None:
    """Over half of at least 50 files is suspicious; exactly half, or a small drive, is not."""
    assert is_suspicious(before, hit) is suspicious


@pytest.mark.parametrize("source", ["onedrive", "onedrive-changes"])
def test_mass_change_is_marked_and_kept(fresh: World, source: Any) -> None:
    """A drive that lost most of its files still gets its snapshot, marked, with exit code 4; moves do not count."""
    furnish(fresh, 60)
    fresh.back_up()
    for number in range(60):
        fresh.drive.rename(f"/d{number % 3}/file{number}.txt", f"renamed{number}.txt")
    assert fresh.back_up(source=source).exit_code == 0
    fresh.drive.delete("/d0")
    fresh.drive.delete("/d1")
    summary = fresh.back_up(source=source)
    assert (summary.suspicious, summary.exit_code, summary.files_deleted) == (True, 4, 40)
    fresh.assert_same(summary)


def test_names_stay_the_same_for_ever(fresh: World) -> None:
    """Host, user and path of the first snapshot are those of all later ones, whatever the account is called then."""
    furnish(fresh)
    first = load_snapshot(fresh.open_repository(), str(fresh.back_up(tags=("one", "two")).snapshot_id))
    parts = fresh.components()
    drive = user_drive(parts.graph, fresh.m365.users[0].upn)
    from backup_core.backup.runner import back_up

    renamed = drive._replace(name="Other", account=drive.account._replace(upn="married@elsewhere.example"))
    second = load_snapshot(fresh.open_repository(), str(back_up(BackupJob(renamed), parts, QUIET).snapshot_id))
    assert (first.hostname, first.username) == ("contoso.onmicrosoft.com", "alex@contoso.onmicrosoft.com")
    assert (first.hostname, first.username, first.paths) == (second.hostname, second.username, second.paths)
    assert first.tags == ["one", "two"] and second.tags == []
