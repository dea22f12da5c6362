"""`drivekeep demo`, as a person runs it, and what it does when a restore is not what it should be."""

import json
import os
import re
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

from backup_core.cli.demo import organisation, verb
from backup_core.cli.demo.story import Figures
from backup_core.cli.main import main
from backup_core.cli.shell import Ran
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
    """Real commands, a real app and its pages: all that comes back is equal, and nothing is changed or left."""
    before = _state_of(own_folder)
    with _running(tmp_path / "scratch", "--drive", str(own_folder), "--users", "7") as process:
        said, errors = process.communicate(timeout=240)
    assert process.returncode == 0, said + errors
    assert "Everything came back as it was" in said
    typed = [line.split()[2] for line in said.splitlines() if line.startswith("$ drivekeep")]
    assert typed == ["backup", "backup", "snapshots", "restore", "restore", "serve", "accounts", "restore"]
    assert "files 3 new" in said and "files 1 new, 1 changed, 1 unmodified, 1 deleted" in said
    assert [line.split()[0] for line in said.splitlines() if line.startswith("  ")][:4] == [
        "edited", "deleted", "added", "renamed",
    ]  # fmt: skip
    assert "DRIVEKEEP_CLIENT_SECRET=..." in said
    for line in (
        "/v2.0/adminconsent",
        "       Your organisation is connected",
        "3 of 3 drives",
        "202, Location: /api/runs/",
    ):
        assert line in said
    assert re.search(r"no licence, drive still there *\n.*never opened OneDrive", said)
    assert "Compared with alex's drive: every byte is equal" in said
    assert not re.search("[?&](state|tenant)=", said)
    assert _state_of(own_folder) == before
    assert list((tmp_path / "scratch").iterdir()) == []
    assert _started_for(tmp_path / "scratch") == []


@pytest.mark.parametrize(("moment", "works"), [("$ drivekeep backup", "backup"), ("Listening on", "serve")])
def test_a_stopped_demo_leaves_nothing(
    moment: str, works: str, own_folder: Path, tmp_path: Path, azurite: object
) -> None:
    """SIGTERM while a command or the app runs ends that, Azurite and the simulation, and removes every file."""
    scratch = tmp_path / "scratch"
    with _running(scratch, "--drive", str(own_folder), "--users", "7") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(moment):
                break
        end = time.monotonic() + 30
        while not any(works in each.cmdline() for each in _started_for(scratch)):
            assert time.monotonic() < end, "the command was not seen"
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

    class NoOrganisation:
        outcome, states = "connected", {"protected": 1}
        results = ({"account": "ada", "state": "complete", "files": 5, "bytes": 6, "seconds": 0.1},)
        figures = (Figures("scheduled run", 5, 6, 3, 8, 9, 0.7),)

        def __init__(self, stage: object, users: int) -> None:
            self.differences = ["a lie of the app"] if users == 13 else []

        def play(self) -> None:
            pass

    monkeypatch.setattr(organisation, "WholeOrganisation", NoOrganisation)
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


def test_a_lie_of_the_app_is_exit_code_1(own_folder: Path, pretended: list[Restore], capsys: Capture) -> None:
    """What the app says wrongly is named, and the demo fails, though every file came back as it was."""
    assert main(["demo", "--drive", str(own_folder), "--users", "13"]) == 1
    said = capsys.readouterr().out
    assert "DIFFERENT: a lie of the app" in said
    assert "Everything came back" not in said


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
    service = summary["service"]
    assert (service["outcome"], service["accounts"]) == ("connected", {"protected": 1})
    assert [row["run"] for row in service["runs"]] == ["scheduled run"]
    assert service["results"] == [{"account": "ada", "state": "complete", "files": 5, "bytes": 6, "seconds": 0.1}]
    assert "$ drivekeep backup" in err


def test_the_table_fits_a_terminal(own_folder: Path, pretended: list[Restore], capsys: Capture) -> None:
    """With -q only the table is left; its lines are whole within 80 columns, and give bytes by stored bytes."""
    assert main(["demo", "-q", "--drive", str(own_folder)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert max(map(len, lines)) <= 100 and max(len(line) for line in lines[:-1]) <= 80
    assert lines[0].split() == ["run", "files", "bytes", "stored", "dedup", "Graph", "store", "seconds"]
    assert lines[2].split() == ["first", "backup", "3", "293.5", "KiB", "100", "B", "3005.9", "0", "9", "1.5"]
    assert "restore abababab" in lines[5]
    assert lines[6].split() == ["scheduled", "run", "5", "6", "B", "3", "B", "2.0", "8", "9", "0.7"]
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


def test_too_few_users_are_refused(capsys: Capture) -> None:
    """An organisation without one user of each kind is refused before anything starts."""
    assert main(["demo", "--users", "6"]) == 2
    assert "at least 7 users" in capsys.readouterr().err


def test_a_folder_with_the_demos_own_files_is_refused(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """What the demo writes must not turn up in the drive that it backs up."""
    monkeypatch.setattr("tempfile.tempdir", str(own_folder / "Work" / "empty"))
    assert main(["demo", "--drive", str(own_folder)]) == 2
    assert "temporary files" in capsys.readouterr().err


def test_an_unreadable_file_is_named(own_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """A file that the user may not read is told at once, and not found out by a failing backup."""
    monkeypatch.setattr(verb.os, "access", lambda path, mode: Path(path).name != "photo")
    assert main(["demo", "--drive", str(own_folder)]) == 2
    assert "photo cannot be read" in capsys.readouterr().err
