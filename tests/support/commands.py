"""The command `drivekeep` as a person runs it: in this process where speed matters, else as a process of its own."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from backup_core.cli.main import main

ROOT = Path(__file__).parents[2]


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        """Every line of stdout, which must be JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> Any:
        """The last line of stdout: the summary, or the error."""
        return json.loads(self.out.splitlines()[-1])


class CommandLine:
    """A person with a home folder, some settings and nothing else in the environment."""

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        self.home, self.settings = home, settings

    def but(self, **changes: str | None) -> "CommandLine":
        """The same person with other settings; None takes one away."""
        changed = {name: value for name, value in {**self.settings, **changes}.items() if value is not None}
        return CommandLine(self.home, changed)

    @property
    def environment(self) -> dict[str, str]:
        """All of it: what the machine's owner has set for other programs stays outside."""
        plain = {"PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.home)}
        return {**plain, "LANG": "C.UTF-8", **self.settings}

    def run(self, *words: object) -> Ran:
        """In this process; the environment is that person's meanwhile, so only one may run at a time."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main([str(word) for word in words])
        return Ran(code, out.getvalue(), err.getvalue())

    def ok(self, *words: object) -> Any:
        """Run it with --json; it must succeed, and its last line of stdout is returned."""
        ran = self.run(*words, "--json")
        assert ran.code == 0, f"{words} ended with {ran.code}: {ran.err}{ran.out[-2000:]}"
        return ran.last

    def start(self, *words: object, **popen: Any) -> "subprocess.Popen[str]":
        """As a process of its own, with both its streams to be read."""
        command = [sys.executable, "-m", "backup_core.cli.main", *(str(word) for word in words)]
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, **{"text": True, **streams, **popen})


def finished(process: "subprocess.Popen[str]", seconds: float = 60) -> Ran:
    """Wait for its end. A process that does not end fails the test, and does not outlive it."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Ran(process.returncode, out, err)
