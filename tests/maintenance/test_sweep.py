"""Sweeping the drive state: what no later run can ask for goes, everything else stays."""

import pytest
from support.world import world

from backup_core.clock import SystemClock
from backup_core.errors import Locked
from backup_core.maintenance.sweep import HEADS_KEPT, Swept, sweep
from backup_core.repository import layout
from backup_core.repository.lock import RepositoryLock


def test_sweep_keeps_three_heads_and_what_they_name() -> None:
    """After many runs the sweep leaves three heads, and the next run is still a small delta."""
    with world() as here:
        for number in range(6):
            here.drive.put_file(f"/{number}.txt", f"content {number}".encode())
            here.back_up()
        swept = sweep(here.open_repository(), here.clock, "sweep")
        assert swept.heads == 6 - HEADS_KEPT
        assert swept.run_objects > 0
        heads = [entry.name for entry in here.store.list(layout.HEADS)]
        assert len(heads) == HEADS_KEPT
        here.drive.put_file("/last.txt", b"last")
        summary = here.back_up()
        assert (summary.mode, summary.files_new) == ("delta", 1)
        here.assert_same(summary)
        assert sweep(here.open_repository(), here.clock, "sweep").heads == 1


def test_sweep_leaves_an_unfinished_run() -> None:
    """What a run that was killed has planned and saved waits for the next one."""
    with world() as here:
        here.drive.put_file("/a.txt", b"a")
        here.back_up()
        left = layout.plan_name("000000000001-0001", 1)
        here.store.put_new(left, b"an unfinished run that started from the newest head")
        sweep(here.open_repository(), here.clock, "sweep")
        assert left in [entry.name for entry in here.store.list(layout.RUNS)]


def test_damaged_head_stops_the_sweep() -> None:
    """Where a kept head cannot be read, nobody knows what it names: nothing is deleted."""
    with world() as here:
        for number in range(5):
            here.drive.put_file(f"/{number}.txt", f"content {number}".encode())
            here.back_up()
        newest = sorted(entry.name for entry in here.store.list(layout.HEADS))[-1]
        here.store.delete(newest)
        here.store.put_new(newest, b"damaged")
        before = [entry.name for entry in here.store.list("")]
        assert sweep(here.open_repository(), here.clock, "sweep") == Swept()
        assert [entry.name for entry in here.store.list("")] == before


def test_sweep_waits_for_whoever_works() -> None:
    """While a backup holds its lock, nothing is swept."""
    with world() as here:
        here.drive.put_file("/a.txt", b"a")
        here.back_up()
        repository = here.open_repository()
        with RepositoryLock(repository, SystemClock(), "other"), pytest.raises(Locked):
            sweep(repository, here.clock, "sweep")
