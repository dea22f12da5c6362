"""`drivekeep demo`, as a person runs it, and what it does when a restore is not what it should be."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from backup_core.cli import demo
from backup_core.cli.main import main
from backup_core.cli.shell import Ran, Shell
from backup_core.clock import SystemClock
from backup_core.errors import DrivekeepError, Interrupted
from backup_core.testing import azurite as azurite_module
from backup_core.testing import m365 as m365_module
from backup_core.testing.m365 import Simulation

Capture = pytest.CaptureFixture[str]
_ROOT = Path(__file__).parents[2]


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A little folder of the user's."""
    folder = tmp_path / "mine"
    for name, content in {
        "Work/plan.txt": b"a plan" * 99,
        "Work/old/photo": b"\xff" * 300_000,
        "ünder.md": b"",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "Work/empty").mkdir()
    os.utime(folder / "Work/plan.txt", (1_000_000_000, 1_000_000_000))
    return folder


@contextmanager
def _running(scratch: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The demo with all temporary files in `scratch`."""
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "backup_core.cli.main", "demo", *words],
        env={"PATH": os.environ["PATH"], "HOME": str(scratch), "TMPDIR": str(scratch), "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _started_for(scratch: Path) -> list[psutil.Process]:
    """What works in the folder: Azurite by its arguments, commands by where they run."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(scratch) in f"{process.cmdline()} {process.cwd()}":
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def _state_of(folder: Path) -> dict[str, Any]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


def test_the_demo_holds_on_a_users_folder(own_folder: Path, tmp_path: Path, azurite: object) -> None:
    """Real commands back up, back up again and restore both states; all is equal, and nothing is changed or left."""
    before = _state_of(own_folder)
    with _running(tmp_path / "scratch", "--drive", str(own_folder)) as process:
        said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, said + errors
    assert "Everything came back as it was" in said
    typed = [line.split()[2] for line in said.splitlines() if line.startswith("$ drivekeep")]
    assert typed == ["backup", "backup", "snapshots", "restore", "restore"]
    assert "files 3 new" in said and "files 1 new, 1 changed, 1 unmodified, 1 deleted" in said
    assert [line.split()[0] for line in said.splitlines() if line.startswith("  ")][:4] == [
        "edited", "deleted", "added", "renamed",
    ]  # fmt: skip
    assert "DRIVEKEEP_CLIENT_SECRET=..." in said
    assert _state_of(own_folder) == before
    assert list((tmp_path / "scratch").iterdir()) == []
    assert _started_for(tmp_path / "scratch") == []


def test_a_stopped_demo_leaves_nothing(own_folder: Path, tmp_path: Path, azurite: object) -> None:
    """SIGTERM while a command runs ends that command, Azurite and the simulation, and removes every file."""
    scratch = tmp_path / "scratch"
    with _running(scratch, "--drive", str(own_folder)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("$ drivekeep backup"):
                break
        end = time.monotonic() + 30
        while len(_started_for(scratch)) < 2:
            assert time.monotonic() < end, "neither Azurite nor the command was seen"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert list(scratch.iterdir()) == []
    assert _started_for(scratch) == []


# -- what it says, with a shell that only pretends ---------------------------------------------------------------------


Restore = Callable[[Path, Any], None]


def _write_out(target: Path, drive: Any) -> None:
    """What a right restore of the drive as it is now leaves."""
    for path, entry in drive.snapshot().items():
        if entry.kind == "folder":
            (target / path).mkdir(parents=True)
        else:
            body = drive.item(path).body
            (target / path).write_bytes(body.read(0, body.size))
    for path, entry in reversed(drive.snapshot().items()):
        os.utime(target / path, (entry.modified.timestamp(),) * 2)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[Restore]:
    """Neither Azurite nor a process is started. The last of the list, if any, spoils what `restore latest` left."""
    spoilers: list[Restore] = []
    opened: list[Simulation] = []

    class SeenSimulation(Simulation):
        def __enter__(self) -> "SeenSimulation":
            opened.append(self)
            return super().__enter__()

    class Pretence:
        def __init__(self, settings: object, folder: Path, clock: object, show: Callable[[str], None]) -> None:
            self._folder, self._show = folder, show

        def run(self, *words: str, unseen: object = ()) -> Ran:
            self._show("$ drivekeep " + " ".join(words))
            drive = opened[-1].users[0].drive
            if words[0] == "backup":
                return Ran(['{"message_type":"status"}', json.dumps(self._summary(drive))], 1.5)
            if words[0] == "restore":
                target = self._folder / words[3]
                _write_out(target, drive)
                if words[1] == "latest" and spoilers:
                    spoilers[-1](target, drive)
            return Ran(["said"], 0.5)

        def _summary(self, drive: Any) -> dict[str, Any]:
            counts = dict.fromkeys(("files_new", "files_changed", "files_unmodified", "files_deleted"), 1)
            sizes = {"files_total": len(drive.files()), "bytes_total": drive.root.size, "bytes_downloaded": 7}
            return {**counts, **sizes, "bytes_added": 100, "store_requests": 9, "snapshot_id": "ab" * 32}

    monkeypatch.setattr(m365_module, "Simulation", SeenSimulation)
    monkeypatch.setattr("backup_core.cli.shell.Shell", Pretence)
    monkeypatch.setattr("backup_core.testing.demo_drive.change", lambda drive: ["nothing"])
    silent = SimpleNamespace(connection_string="UseDevelopmentStorage=true")
    monkeypatch.setattr(azurite_module, "Azurite", lambda **settings: nullcontext(silent))
    return spoilers


def _flip_a_bit(target: Path, drive: Any) -> None:
    path = target / "Work/old/photo"
    before = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[:-1] + b"\xfe")
    os.utime(path, ns=(before, before))


def test_one_wrong_bit_is_exit_code_1(own_folder: Path, pretended: list[Restore], capsys: Capture) -> None:
    """A restore that differs in one bit of one file is named, and the demo fails; a right one succeeds."""
    assert main(["demo", "--drive", str(own_folder)]) == 0
    assert "Everything came back" in capsys.readouterr().out
    pretended.append(_flip_a_bit)
    assert main(["demo", "--drive", str(own_folder)]) == 1
    said = capsys.readouterr().out
    assert "DIFFERENT: restored-latest/Work/old/photo: has other content" in said
    assert "Everything came back" not in said
    assert "$ export ONEDRIVE" not in said


def test_json_ends_with_a_summary(own_folder: Path, pretended: list[Restore], capsys: Capture) -> None:
    """stdout is one document with each command's figures and the differences; the story goes to stderr."""
    pretended.append(_flip_a_bit)
    assert main(["demo", "--json", "--drive", str(own_folder)]) == 1
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert (summary["message_type"], summary["complete"]) == ("summary", False)
    assert [row["run"] for row in summary["runs"]] == [
        "first backup", "second backup", "restore latest", "restore abababab",
    ]  # fmt: skip
    assert summary["runs"][0] == {
        "run": "first backup",
        "files": 3,
        "bytes": 300_594,
        "bytes_stored": 100,
        "graph_requests": 0,
        "store_requests": 9,
        "seconds": 1.5,
    }
    (difference,) = summary["differences"]
    assert difference.startswith("restored-latest/Work/old/photo: ")
    assert "$ drivekeep backup" in err


def test_the_table_fits_a_terminal(own_folder: Path, pretended: list[Restore], capsys: Capture) -> None:
    """With -q only the table is left; its lines are whole within 80 columns, and give bytes by stored bytes."""
    assert main(["demo", "-q", "--drive", str(own_folder)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert max(map(len, lines)) <= 100 and max(len(line) for line in lines[:-1]) <= 80
    assert lines[0].split() == ["run", "files", "bytes", "stored", "dedup", "Graph", "store", "seconds"]
    assert lines[2].split() == ["first", "backup", "3", "293.5", "KiB", "100", "B", "3005.9", "0", "9", "1.5"]
    assert "restore abababab" in lines[5]
    assert lines[4].split() == ["restore", "latest", "3", "293.5", "KiB", "-", "-", "0", "-", "0.5"]


def test_keep_leaves_what_was_restored(
    own_folder: Path, tmp_path: Path, pretended: list[Restore], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """With --keep the folder with the restored files stays, and its name is told."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    assert main(["demo", "--keep", "--drive", str(own_folder)]) == 0
    said = capsys.readouterr().out
    (kept,) = [path for path in (tmp_path / "scratch").iterdir() if path.name.startswith("drivekeep-demo")]
    assert f"kept in {kept}" in said
    assert (kept / "restored-first/Work/plan.txt").read_bytes() == b"a plan" * 99


@pytest.mark.parametrize("given", ["/nowhere/at/all", __file__])
def test_what_is_no_folder_is_refused(given: str, capsys: Capture) -> None:
    """A drive that is no folder is refused with a remedy before anything starts."""
    assert main(["demo", "--json", "--drive", given]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["reason"] == "usage" and answer["remedy"]


def test_a_folder_with_the_demos_own_files_is_refused(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """What the demo writes must not turn up in the drive that it backs up."""
    monkeypatch.setattr("tempfile.tempdir", str(own_folder / "Work" / "empty"))
    assert main(["demo", "--drive", str(own_folder)]) == 2
    assert "temporary files" in capsys.readouterr().err


def test_an_unreadable_file_is_named(own_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """A file that the user may not read is told at once, and not found out by a failing backup."""
    monkeypatch.setattr(demo.os, "access", lambda path, mode: Path(path).name != "photo")
    assert main(["demo", "--drive", str(own_folder)]) == 2
    assert "photo cannot be read" in capsys.readouterr().err


# -- the shell ---------------------------------------------------------------------------------------------------------


def test_a_typed_command_sees_only_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's own settings reaches it: neither environment nor config.toml. It is shown as typed."""
    folder = Path(os.environ["HOME"]) / ".config" / "drivekeep"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('access_tier = "cold"\n')
    monkeypatch.setenv("DRIVEKEEP_TENANT", "mine")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    shown: list[str] = []
    shell = Shell({"DRIVEKEEP_PASSWORD": "x"}, tmp_path, SystemClock(), shown.append)
    ran = shell.run("config", "show", "-r", "a b", unseen=["--json"])
    document = json.loads(ran.lines[-1])
    assert document["config_file"].startswith(str(tmp_path))
    rows = {row["name"]: row for row in document["settings"]}
    given = {name for name, row in rows.items() if row["origin"] in ("environment", "config.toml")}
    assert given == {"DRIVEKEEP_PASSWORD"}
    assert shown == ["$ drivekeep config show -r 'a b'"]
    assert ran.seconds > 0


def test_a_command_that_fails_ends_the_demo(tmp_path: Path) -> None:
    """An exit code other than 0 is an error that names the command and the code."""
    shell = Shell({}, tmp_path, SystemClock(), lambda typed: None)
    with pytest.raises(DrivekeepError, match="`drivekeep snapshots -q` ended with exit code 2"):
        shell.run("snapshots", "-q")


def test_a_command_is_ended_with_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that would run on does not outlive, or hold up, a demo that is stopped: it is told to end."""
    program = tmp_path / "long"
    program.write_text("#!/bin/sh\nexec sleep 20\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    begun: list[subprocess.Popen[str]] = []

    def interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
        begun.append(process)
        raise Interrupted("Terminated before the end.", exit_code=143)

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(Interrupted):
        Shell({}, tmp_path, SystemClock(), lambda typed: None).run("backup")
    assert begun[0].returncode == -signal.SIGTERM
