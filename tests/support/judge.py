"""Stock restic, which nobody here wrote: what it says of a repository is what counts."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

PROGRAM = shutil.which("restic")
_SECONDS = 120


class Judge:
    """Runs restic on one repository, given as restic names it. Whatever it is asked must succeed."""

    def __init__(self, repository: str | Path, password: str, settings: Mapping[str, str] | None = None) -> None:
        self.repository = str(repository)
        self._settings = {"RESTIC_PASSWORD": password, **(settings or {})}

    def __call__(self, *words: object) -> str:
        """Its stdout."""
        command = [PROGRAM or "restic", "--no-cache", "--repo", self.repository, *(str(word) for word in words)]
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **self._settings}
        done = subprocess.run(command, env=environment, capture_output=True, timeout=_SECONDS, check=False)
        out, err = (stream.decode("utf-8", "backslashreplace") for stream in (done.stdout, done.stderr))
        assert done.returncode == 0, f"restic {words} ended with {done.returncode}:\n{out}{err}"
        return out

    def check(self) -> None:
        """Every structure and every byte."""
        assert "no errors were found" in self("check", "--read-data")

    def restore(self, snapshot: str, target: Path) -> Path:
        """The restored folder that stands for the drive's root."""
        self("restore", snapshot, "--target", target)
        (top,) = target.iterdir()
        return top


def require_restic() -> None:
    """Without restic a test is skipped, but on a CI machine it fails."""
    if PROGRAM is None:
        assert os.environ.get("CI") != "true", "stock restic must be there on a CI machine: `make test` installs it"
        pytest.skip("stock restic is not installed")


@pytest.fixture
def judge() -> Any:
    """The class Judge, where restic is installed."""
    require_restic()
    return Judge
