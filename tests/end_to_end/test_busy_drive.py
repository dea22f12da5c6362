"""A drive that somebody works in while it is backed up, and a disk that is full before the end."""

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.commands import CommandLine, finished
from support.judge import Judge
from support.person import Person
from support.places import LocalPlace, Place
from support.traffic import fetched

from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.drive import Drive
from backup_core.testing.restored_folder import compare

PASSWORD = "busy"
PAUSE_SECONDS = 0.004  # between two changes: some hundred of them during a backup


@pytest.fixture
def m365() -> Iterator[Simulation]:
    with Simulation() as simulation:
        simulation.switches.page_size = 10
        for number in range(60):
            simulation.users[0].drive.put_file(f"/Folder {number % 6}/{number}.txt", b"content %d" % number)
        yield simulation


@contextmanager
def at_work(drive: Drive, seed: int) -> Iterator[None]:
    """Inside the block somebody changes the drive all the time."""
    person, leave = Person(drive, seed), threading.Event()

    def work() -> None:
        while not leave.is_set():
            person.act()
            time.sleep(PAUSE_SECONDS)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        leave.set()
        thread.join()


def test_changes_while_a_backup_runs(
    m365: Simulation, place: Place, home: Path, tmp_path: Path, judge: type[Judge]
) -> None:
    """Each run ends well, whichever of the two was first; once nobody works, one delta has the drive as it is."""
    settings = {**m365.environment(None), **place.settings}
    settings |= {"DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": PASSWORD}
    command, words = CommandLine(home, settings), ["backup", "--account", m365.users[0].upn]
    with at_work(m365.users[0].drive, seed=8):
        for _ in range(3):
            ran = command.run(*words, "--json")
            assert ran.code in (0, 4), ran.err
            assert {item["reason"] for item in ran.last["items_skipped"]} <= {"gone"}
    assert command.run(*words).code in (0, 4)
    m365.log.clear()
    assert command.ok(*words)["bytes_downloaded"] == 0
    assert fetched(m365) == []
    command.ok("restore", "latest", "--target", tmp_path / "out")
    assert compare(tmp_path / "out", m365.users[0].drive.snapshot()).differences == []
    judge(place.folder(tmp_path), PASSWORD).check()


def test_disk_that_takes_no_large_file(m365: Simulation, home: Path, tmp_path: Path) -> None:
    """A pack that cannot be written ends the run with a message and a remedy, without a half object or a lock; once
    there is room the next run completes. A restore names the file that has no room, and leaves no part of it.
    """
    drive = m365.users[0].drive
    drive.put_synthetic("/large.bin", 24 << 20, 1)
    place = LocalPlace(tmp_path / "repository")
    settings = {**m365.environment(None), "DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": PASSWORD}
    command, words = CommandLine(home, settings), ["backup", "--account", m365.users[0].upn, "--json"]

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))

    ran = finished(command.start(*words, preexec_fn=small_files_only))
    assert (ran.code, ran.last["message_type"]) == (1, "error")
    assert "File too large" in ran.err and ran.last["remedy"]
    assert not [name for name in place.names() if name.startswith(("locks/", "snapshots/", "data/")) or "tmp" in name]
    assert command.ok(*words)["complete"]

    restore = ["restore", "latest", "--target", tmp_path / "out", "--json"]
    ran = finished(command.start(*restore, preexec_fn=small_files_only))
    assert (ran.code, [item["path"] for item in ran.last["files_failed"]]) == (3, ["large.bin"])
    assert not list((tmp_path / "out").glob("*large*"))
    assert command.ok(*restore)["files_restored"] == 1
    assert compare(tmp_path / "out", drive.snapshot()).differences == []
