"""Ctrl-C and SIGTERM: the command ends within seconds, gives its lock back, and the next one goes on."""

import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.commands import CommandLine, Ran, finished
from support.places import LocalPlace, Place
from support.traffic import fetched

from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.faults import Slow, Status
from backup_core.testing.restored_folder import compare

PASSWORD = "signals"
SOON_SECONDS = 8.0  # on two slow cores that others use too; the waits that are cut short are of minutes
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
ITEM = r"GET graph .*/items/[^/]+\?"  # of one file, before its content is asked for
WAIT = Status(429, {"error": {"code": "activityLimitReached"}}, {"Retry-After": "300"})


@pytest.fixture
def m365() -> Iterator[Simulation]:
    with Simulation() as simulation:
        for number in range(40):
            simulation.users[0].drive.put_file(f"/Folder/file {number}.txt", b"content %d" % number)
        yield simulation


@pytest.fixture
def command(m365: Simulation, place: Place, home: Path) -> CommandLine:
    where = {"DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": PASSWORD}
    return CommandLine(home, {**m365.environment(), **place.settings, **where})


def stopped(process: "subprocess.Popen[str]", when: Callable[[], object], *signals: int) -> Ran:
    """How it ends where it gets these signals once something has happened; it must be soon."""
    end = time.monotonic() + 60
    while not when():
        assert process.poll() is None, finished(process)
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.2)  # until the answer has arrived over there, and the wait has begun
    for number in signals:
        process.send_signal(number)
    return finished(process, SOON_SECONDS)


def assert_interrupted(ran: Ran, code: int) -> None:
    assert ran.code == code, ran.err
    assert ran.err.count("drivekeep: ") == 1 and "Traceback" not in ran.err
    assert ran.last["code"] == code and ran.last["reason"] == "interrupted" and ran.last["remedy"]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_in_the_middle(
    number: int, code: int, m365: Simulation, place: Place, command: CommandLine, tmp_path: Path
) -> None:
    """In the middle of downloads: the contract's exit code, no lock left, nothing lost, and the next run completes."""
    m365.faults.add("GET content", Slow(1), nth=20)
    ran = stopped(command.start("backup", "--json"), m365.faults.fired, number)
    assert_interrupted(ran, code)
    assert not [name for name in place.names() if name.startswith(("locks/", "snapshots/"))]
    m365.log.clear()
    assert command.ok("backup")["complete"]
    command.ok("restore", "latest", "--target", tmp_path / "out")
    assert compare(tmp_path / "out", m365.users[0].drive.snapshot()).differences == []


@pytest.mark.parametrize("place", ["local"], indirect=True)
@pytest.mark.parametrize(
    "match", ["GET graph .*/me", "GET graph .*/delta", "GET graph .*/items/", "GET content", "POST login"]
)
def test_ctrl_c_while_microsoft_asks_to_wait(match: str, m365: Simulation, place: Place, command: CommandLine) -> None:
    """Microsoft wants five minutes of silence, and its user does not want to wait: it ends within seconds."""
    m365.faults.add(match, WAIT)
    ran = stopped(command.start("backup", "--json"), m365.faults.fired, signal.SIGINT)
    assert_interrupted(ran, 130)
    assert not [name for name in place.names() if name.startswith("locks/")]


@pytest.mark.parametrize("place", ["local"], indirect=True)
@pytest.mark.parametrize(
    ("match", "source"),
    [("GET graph .*/children", "onedrive"), ("GET graph .*/delta", "onedrive-changes"), (ITEM, "onedrive-changes")],
)
def test_ctrl_c_while_an_answer_hangs(
    match: str, source: str, m365: Simulation, place: Place, command: CommandLine
) -> None:
    """Microsoft has taken a request and says nothing for a minute: who presses Ctrl-C does not wait for that."""
    m365.faults.add(match, Slow(60))
    ran = stopped(command.start("backup", "--json", "-source", source), m365.faults.fired, signal.SIGINT)
    assert_interrupted(ran, 130)
    assert not [name for name in place.names() if name.startswith("locks/")]


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_ctrl_c_while_the_store_is_out_of_reach(m365: Simulation, place: Place, command: CommandLine) -> None:
    """A store that does not answer is tried again for a while; Ctrl-C ends that, too."""
    refused = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:9/x;"
    )
    lost = command.but(
        DRIVEKEEP_REPOSITORY="azure:box:/p", AZURE_STORAGE_CONNECTION_STRING=refused, DRIVEKEEP_HTTP_RETRIES="20"
    )
    began = time.monotonic()
    ran = stopped(lost.start("snapshots", "--json"), lambda: time.monotonic() - began > 3, signal.SIGINT)
    assert_interrupted(ran, 130)


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_two_of_them_end_it_at_once(m365: Simulation, place: Place, command: CommandLine) -> None:
    """Who presses Ctrl-C twice wants it now: the second one ends the process without any tidying."""
    m365.faults.add("GET content", Slow(30), times=8)
    process = command.start("backup", "--json")
    stopped_at = time.monotonic()
    ran = stopped(process, lambda: m365.faults.fired() == 8, signal.SIGINT, signal.SIGINT)
    assert ran.code == 130
    assert time.monotonic() - stopped_at < 30
    command.ok("unlock")
    assert not [name for name in place.names() if name.startswith("locks/")]


@pytest.mark.parametrize("place", ["local"], indirect=True)
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_restore_that_is_stopped(
    number: int, code: int, m365: Simulation, place: Place, command: CommandLine, tmp_path: Path
) -> None:
    """What is restored by then is whole, no half file bears a name of the drive, and the next restore does the rest."""
    drive = m365.users[0].drive
    drive.put_synthetic("/Large/noise.bin", 48 << 20, 1)
    command.ok("backup")
    target = tmp_path / "out"
    began = lambda: target.exists() and any(target.rglob("*"))  # noqa: E731
    process = command.start("restore", "latest", "--target", target, "--json")
    end = time.monotonic() + 30
    while not began() and time.monotonic() < end:
        time.sleep(0.001)
    process.send_signal(number)
    ran = finished(process, SOON_SECONDS)
    assert ran.code in (code, 0), ran.err
    assert not [name for name in place.names() if name.startswith("locks/")]
    expected = drive.snapshot()
    for path in target.rglob("*"):
        entry = expected.get(str(path.relative_to(target)))
        assert entry is not None, f"{path} is left behind"
        assert entry.kind == "folder" or path.stat().st_size == entry.size
    summary = command.ok("restore", "latest", "--target", target)
    assert summary["files_failed"] == []
    assert compare(target, expected).differences == []


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_ctrl_c_on_a_terminal(m365: Simulation, place: Place, command: CommandLine) -> None:
    """On a terminal with a progress bar, a typed Ctrl-C gives the screen back: one message, the cursor shown again."""
    m365.faults.add("GET content", Slow(1), nth=10)
    near, far = pty.openpty()
    process = command.start("backup", stdin=far, stdout=far, stderr=far, text=False, start_new_session=True)
    os.close(far)
    end = time.monotonic() + 60
    while not m365.faults.fired():
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    shown = _read_all(near)
    assert process.wait(SOON_SECONDS) == 130
    assert shown.count(b"Interrupted before the end.") == 1 and b"Traceback" not in shown
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h"), "the cursor is hidden still"


def _read_all(terminal: int) -> bytes:
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux says so where the other side has closed
            piece = b""
        if not piece:
            os.close(terminal)
            return shown
        shown += piece


def test_what_was_saved_before_the_signal_is_not_fetched_again(m365: Simulation, tmp_path: Path, home: Path) -> None:
    """A first backup that is stopped while a download hangs ends soon, and leaves its batches to the next run."""
    drive = m365.users[0].drive
    for number in range(600):
        drive.put_file(f"/Many/{number}.txt", b"%d" % number)
    place = LocalPlace(tmp_path / "repository")
    where = {"DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": PASSWORD}
    command = CommandLine(home, {**m365.environment(), **where})

    m365.faults.add("GET content", Slow(30), nth=600)  # of the third batch; the first two are saved by then
    process = command.start("backup", "--json")
    ran = stopped(process, lambda: m365.faults.fired() and _saved(place) == 2, signal.SIGTERM)
    assert_interrupted(ran, 143)
    m365.log.clear()
    assert command.ok("backup")["complete"]
    assert len(fetched(m365)) == 640 - 512


def _saved(place: Place) -> int:
    """How many batches have left their record."""
    return sum("/saved-" in name for name in place.names())
