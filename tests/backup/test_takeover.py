"""What one process leaves to the next, whatever it was doing: unfinished runs of other jobs, damaged records, and two
processes that write the same records at the same moment.
"""

import datetime
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.world import World

from backup_core.backup import plan_writer
from backup_core.backup.batches import cut_batches, save_batch
from backup_core.backup.commit import commit_snapshot
from backup_core.backup.feed import plan_changes
from backup_core.backup.job import BackupJob
from backup_core.backup.progress import NoProgress
from backup_core.backup.run import Run
from backup_core.errors import AccessDenied, Inconsistent, Locked
from backup_core.graph.drives import user_drive
from backup_core.repository import layout
from backup_core.repository.index import load_index
from backup_core.storage.store import Buffer, Store
from backup_core.testing.m365.faults import Status

QUIET = NoProgress()
LATER = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)


def begin_run(fresh: World, **job: Any) -> Run:
    parts = fresh.components()
    return Run.begin(parts, BackupJob(user_drive(parts.graph, fresh.m365.users[0].upn), **job))


def leave_unfinished(fresh: World, **job: Any) -> None:
    """A run that dies when all files are saved, before the snapshot."""
    with begin_run(fresh, **job) as run:
        plan_changes(run, QUIET)
        for number in cut_batches(run).batches:
            save_batch(run, number, 2, QUIET)


def flip(store: Store, name: str) -> None:
    data = bytearray(store.get(name))
    data[len(data) // 2] ^= 1
    store.delete(name)
    store.put_new(name, bytes(data))


def stored_names(store: Store, part: str) -> list[str]:
    return [entry.name for entry in store.list() if part in entry.name]


class MeanwhileStore(Store):
    """Calls `act` once, before the first change of an object whose name has `part` in it."""

    def __init__(self, inner: Store, part: str, act: Callable[[], None]) -> None:
        self.inner, self.part, self.act = inner, part, act
        self.acted = False

    def put_new(self, name: str, data: Buffer) -> None:
        if self.part in name and not self.acted:
            self.acted = True
            self.act()
        self.inner.put_new(name, data)

    def get(self, name: str) -> bytes:
        return self.inner.get(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        return self.inner.get_range(name, offset, length)

    def size(self, name: str) -> int:
        return self.inner.size(name)

    def list(self, prefix: str = "") -> Any:
        return self.inner.list(prefix)

    def delete(self, name: str) -> None:
        self.inner.delete(name)


def test_content_that_came_back_is_the_content_of_now(fresh: World) -> None:
    """A file that was read as its second version, and has its first one again, is not saved as the second one."""
    fresh.drive.put_file("/a.txt", b"version one")
    with begin_run(fresh) as run:
        plan_changes(run, QUIET)
        fresh.drive.put_file("/a.txt", b"version two, longer")
        for number in cut_batches(run).batches:
            save_batch(run, number, 2, QUIET)
    fresh.drive.put_file("/a.txt", b"version one")
    fresh.assert_same(fresh.back_up())


def test_new_date_of_a_file_that_was_saved_before(fresh: World) -> None:
    """A file that is given another date after a killed run has saved it has that date in the snapshot."""
    fresh.drive.put_file("/a.txt", b"content")
    leave_unfinished(fresh)
    fresh.drive.set_modified("/a.txt", LATER)
    fresh.m365.log.clear()
    fresh.assert_same(fresh.back_up())
    assert not fresh.downloads()


def test_content_newer_than_the_plan_keeps_its_own_facts(fresh: World) -> None:
    """What was read instead of what was planned is described as what it is, until the feed tells of it."""
    fresh.drive.put_file("/a.txt", b"version one")
    with begin_run(fresh) as run:
        plan_changes(run, QUIET)
        fresh.drive.put_file("/a.txt", b"version two, longer", modified=LATER)
        for number in cut_batches(run).batches:
            save_batch(run, number, 2, QUIET)
        summary = commit_snapshot(run, QUIET)
    assert summary is not None
    fresh.assert_same(summary)
    fresh.m365.log.clear()
    fresh.assert_same(fresh.back_up())
    assert not fresh.downloads()


@pytest.mark.parametrize("kind", ["/plan-", "/batch-", "/saved-"])
def test_damaged_record_of_an_unfinished_run(fresh: World, kind: str) -> None:
    """A damaged record of a run that died costs its work, and does not stop every later run."""
    fresh.drive.put_file("/a/one.txt", b"one")
    fresh.drive.put_file("/two.txt", b"two")
    leave_unfinished(fresh)
    for name in stored_names(fresh.store, kind):
        flip(fresh.store, name)
    fresh.assert_same(fresh.back_up())


def test_unfinished_folder_is_not_the_drive(fresh: World) -> None:
    """A first backup of one folder that died is not taken for a backup of the whole drive."""
    fresh.drive.put_file("/inside/one.txt", b"one")
    fresh.drive.put_file("/outside.txt", b"two")
    leave_unfinished(fresh, root_path="inside")
    fresh.m365.log.clear()
    fresh.assert_same(fresh.back_up())
    assert len(fresh.downloads()) == 1, "what was saved of the folder is used"
    fresh.drive.put_file("/new.txt", b"three")
    fresh.assert_same(fresh.back_up())


def test_unfinished_backup_of_a_folder_that_was_replaced(fresh: World) -> None:
    """A folder that stands at the path of another one is backed up itself, though a run of the other one died."""
    fresh.drive.put_file("/root/one.txt", b"one")
    leave_unfinished(fresh, root_path="root")
    fresh.drive.rename("/root", "former")
    fresh.drive.put_file("/root/other.txt", b"other")
    summary = fresh.back_up(root_path="root")
    assert list(fresh.contents(str(summary.snapshot_id))) == ["other.txt"]


@pytest.mark.parametrize("changed", [True, False])
def test_state_lost_beside_an_unfinished_delta(fresh: World, changed: bool) -> None:
    """A plan of changes is worth nothing without the state that it was made for: the totals stay true."""
    for number in range(5):
        fresh.drive.put_file(f"/d/{number}.txt", b"%d" % number)
    fresh.back_up()
    if changed:
        fresh.drive.put_file("/top.txt", b"new")
    leave_unfinished(fresh)
    for name in stored_names(fresh.store, layout.HEADS):
        flip(fresh.store, name)
    summary = fresh.back_up()
    fresh.assert_same(summary)
    assert summary.mode == "resync"


def test_two_readers_of_one_feed(fresh: World) -> None:
    """Who has read the feed to its end, and finds that another has stored less of it, goes on from there."""
    fresh.m365.switches.page_size = 2
    for number in range(9):
        fresh.drive.put_file(f"/{number}.txt", b"%d" % number)
    inner = fresh.store
    fresh.open_repository()

    def other_process() -> None:
        fresh.store = inner
        with begin_run(fresh) as run:
            assert plan_changes(run, QUIET, deadline=run.clock.monotonic()), "it stops after a page"

    fresh.store = MeanwhileStore(inner, "/plan-", other_process)
    summary = fresh.back_up()
    fresh.store = inner
    fresh.assert_same(summary)
    begun = [each for each in fresh.m365.log if each.path.endswith("/delta") and "token" not in each.query]
    assert len(begun) == 2, "each has begun once, and nobody anew"
    assert fresh.back_up().mode == "delta"


@pytest.mark.parametrize("dies", [True, False])
def test_two_full_scans_at_once(fresh: World, monkeypatch: pytest.MonkeyPatch, dies: bool) -> None:
    """Two scans that began at the same moment never make one plan of two halves."""
    for number in range(12):
        fresh.drive.put_file(f"/d{number % 4}/{number}.txt", b"%d" % number)
    inner = fresh.store
    fresh.open_repository()
    monkeypatch.setattr(plan_writer, "PART_ITEMS", 1)

    def die() -> None:
        if dies:
            raise Locked("This process ends here.")

    def other_process() -> None:
        fresh.store = MeanwhileStore(inner, "/plan-00002", die)
        fresh.m365.switches.page_size = 2  # so that its parts are cut elsewhere
        try:
            with begin_run(fresh, source="onedrive") as run:
                plan_changes(run, QUIET)
        except Locked:
            assert dies
        fresh.m365.switches.page_size = 200

    fresh.store = MeanwhileStore(inner, "/plan-", other_process)
    with pytest.raises(Locked) as locked:
        fresh.back_up(source="onedrive")
    assert (locked.value.exit_code, locked.value.reason) == (11, "another-run")
    fresh.store = inner
    fresh.assert_same(fresh.back_up(source="onedrive"))


def test_packs_that_vanish_during_a_run(fresh: World) -> None:
    """Content that is taken away between saving and the snapshot is saved again by the same process."""
    fresh.drive.put_file("/a.bin", bytes(range(256)) * 100)
    inner = fresh.store
    fresh.open_repository()

    def prune() -> None:
        for folder in (layout.INDEX, layout.DATA):
            for entry in list(inner.list(folder)):
                inner.delete(entry.name)

    store = MeanwhileStore(inner, "/saved-", prune)
    fresh.store = store
    summary = fresh.back_up()
    assert store.acted
    fresh.assert_same(summary)


def test_first_enumeration_that_begins_again_is_still_the_first(fresh: World) -> None:
    """A first backup whose place in the feed is lost half-way is called `full`, not `resync`."""
    fresh.m365.switches.page_size = 2
    for number in range(6):
        fresh.drive.put_file(f"/{number}.txt", b"%d" % number)
    gone = Status(410, {"error": {"code": "resyncRequired", "message": "x"}})
    fresh.m365.faults.add(match=r"GET graph .*/delta\?.*token", fault=gone)
    summary = fresh.back_up()
    assert summary.mode == "full"
    fresh.assert_same(summary)


def test_the_error_that_stopped_the_others_is_told(fresh: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several batches that end because one of them failed, the failure is what a person sees."""
    from backup_core.backup import runner

    waiting = threading.Event()

    def save(run: Run, number: int, threads: int, progress: Any) -> Any:
        if number == 1:
            waiting.wait(10)
            run.stop.set()
            other_ended.wait(10)
            raise AccessDenied("consent was taken back")
        waiting.set()
        run.stop.wait(10)
        try:
            run.check_stop()
        finally:
            other_ended.set()

    other_ended = threading.Event()
    monkeypatch.setattr("backup_core.backup.batches.BATCH_FILES", 1)
    monkeypatch.setattr(runner, "save_batch", save)
    for number in range(2):
        fresh.drive.put_file(f"/{number}.txt", b"%d" % number)
    with pytest.raises(AccessDenied):
        fresh.back_up()


def test_damaged_index_file(fresh: World) -> None:
    """What a damaged index file names counts as not stored: it is fetched again, and no later run fails for it."""
    fresh.drive.put_file("/d/a.txt", b"first")
    fresh.back_up()
    for name in stored_names(fresh.store, layout.INDEX):
        flip(fresh.store, name)
    for name in stored_names(fresh.store, layout.STATE):
        fresh.store.delete(name)
    fresh.drive.put_file("/d/b.txt", b"second")
    damaged = set(stored_names(fresh.store, layout.INDEX))
    summary = fresh.back_up()
    for name in damaged:
        fresh.store.delete(name)
    fresh.assert_same(summary)
    fresh.assert_same(fresh.back_up())


@pytest.mark.parametrize("lose_state", [False, True])
def test_damaged_index_file_of_somebody_else(fresh: World, lose_state: bool) -> None:
    """A damaged index file that no state covers stops no run, and changes nothing."""
    fresh.drive.put_file("/d/a.txt", b"first")
    fresh.back_up()
    if lose_state:
        for name in stored_names(fresh.store, layout.STATE):
            fresh.store.delete(name)
    fresh.store.put_new(layout.index_name("ab" * 32), b"no index at all")
    fresh.drive.put_file("/d/b.txt", b"second")
    for mode in ("resync" if lose_state else "delta", "delta"):
        summary = fresh.back_up()
        assert summary.mode == mode
        assert set(fresh.expected()) == {"d", "d/a.txt", "d/b.txt"} and summary.files_total == 2
    fresh.store.delete(layout.index_name("ab" * 32))
    fresh.assert_same(summary)


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_missing_part_of_an_unfinished_plan(fresh: World, monkeypatch: pytest.MonkeyPatch, missing: int) -> None:
    """A plan of which one part is gone is no plan: what stood in that part must not count as deleted."""
    monkeypatch.setattr(plan_writer, "PART_ITEMS", 2)
    fresh.m365.switches.page_size = 2
    for number in range(9):
        fresh.drive.put_file(f"/{number}.txt", b"%d" % number)
    leave_unfinished(fresh)
    (name,) = stored_names(fresh.store, f"/plan-{missing:05d}")
    fresh.store.delete(name)
    fresh.assert_same(fresh.back_up())


def test_delta_and_enumeration_at_once(fresh: World) -> None:
    """A run that reads changes, beside one that lists the whole drive, does not take its list for changes or the other
    way round.
    """
    for number in range(4):
        fresh.drive.put_file(f"/d/{number}.txt", b"%d" % number)
    fresh.back_up()
    fresh.drive.delete("/d/0.txt")
    inner = fresh.store

    def other_process() -> None:
        fresh.store = inner
        parts = fresh.components()
        job = BackupJob(user_drive(parts.graph, fresh.m365.users[0].upn))
        with Run.begin(parts, job, trust_state=False, start_over=True) as run:
            assert run.mode == "resync"
            plan_changes(run, QUIET)

    fresh.store = MeanwhileStore(inner, "/plan-", other_process)
    with pytest.raises(Locked) as locked:
        fresh.back_up()
    assert locked.value.exit_code == 11
    fresh.store = inner
    fresh.assert_same(fresh.back_up())


def test_plan_that_is_not_whole_is_not_committed(fresh: World) -> None:
    """Before the feed was read to its end there is nothing to save: files not listed yet would count as deleted."""
    fresh.m365.switches.page_size = 2
    for number in range(6):
        fresh.drive.put_file(f"/{number}.txt", b"%d" % number)
    with begin_run(fresh) as run:
        assert plan_changes(run, QUIET, deadline=run.clock.monotonic())
        with pytest.raises(Inconsistent):
            commit_snapshot(run, QUIET)
    assert not stored_names(fresh.store, layout.SNAPSHOTS)


def test_index_file_gone_and_another_one_damaged(fresh: World) -> None:
    """What a state believes of an index file that is gone is not believed, also where another one cannot be read."""
    fresh.drive.put_file("/a.txt", b"content")
    fresh.back_up()
    repository = fresh.open_repository()
    for index in repository.ids("index"):
        (pack,) = load_index(repository, index)
        if not pack.blobs[0].tree:
            fresh.store.delete(layout.index_name(index))
            fresh.store.delete(layout.pack_name(pack.id.hex()))
    fresh.store.put_new(layout.index_name("ab" * 32), b"no index at all")
    fresh.drive.set_modified("/a.txt", LATER)
    summary = fresh.back_up()
    fresh.store.delete(layout.index_name("ab" * 32))
    fresh.assert_same(summary)
