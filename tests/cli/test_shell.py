"""The demo's shell: commands of this very program with only the settings that they are given, and one that serves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from backup_core.cli.shell import Shell
from backup_core.clock import SystemClock
from backup_core.errors import DrivekeepError, Interrupted


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


def _served_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Shell:
    """A shell in which every command is this shell script."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return Shell({}, tmp_path, SystemClock(), lambda typed: None)


def test_a_served_command_ends_with_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs as long as the `with`, is told to stop then, and what it complains of is in its log alone."""
    script = "trap 'echo over >&2; exit 0' TERM; echo busy >&2; echo Ready; while :; do sleep 0.05; done"
    shell = _served_by(tmp_path, monkeypatch, script)
    with shell.serving("serve", log=tmp_path / "log") as line:
        assert line == "Ready"
    assert (tmp_path / "log").read_text() == "busy\nover\n"


_LATE = "trap 'echo no port >&2; exit 2' TERM; echo Ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize("script", ["echo no port >&2; exit 2", _LATE])
def test_a_served_command_that_fails_ends_the_demo(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether at its start or at its end: its code and its last words are told."""
    with (
        pytest.raises(DrivekeepError, match=r"`drivekeep serve` ended with exit code 2.*no port"),
        _served_by(tmp_path, monkeypatch, script).serving("serve", log=tmp_path / "log"),
    ):
        pass


def test_a_served_command_is_ended_with_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong inside the block is what is told, and the command does not outlive it."""
    shell = _served_by(tmp_path, monkeypatch, "echo Ready; exec sleep 20")
    begun = time.monotonic()
    with pytest.raises(Interrupted), shell.serving("serve", log=tmp_path / "log"):
        raise Interrupted("Terminated before the end.", exit_code=143)
    assert time.monotonic() - begun < 10
    assert [child.pid for child in psutil.Process().children() if child.name() in ("program", "sleep")] == []
