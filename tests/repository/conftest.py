"""A repository in memory for tests of the format, and stock restic for those that it judges."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_core.repository.crypto import Keys
from backup_core.repository.repository import Repository
from backup_core.storage.memory import MemoryStore
from backup_core.testing.fake_clock import FakeClock

Restic = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def memory_repository(clock: FakeClock) -> Repository:
    """Version 2, without `config` and key files: those cost a scrypt, and most tests do not look at them."""
    store = MemoryStore(clock)
    return Repository(store, Keys.random(), "0" * 64, 2, store)


@pytest.fixture
def restic() -> Restic:
    """`restic(folder, *arguments)` runs stock restic with password "pw"; it must succeed unless `fails=True`."""
    program = shutil.which("restic")
    if program is None:
        assert os.environ.get("CI") != "true", "stock restic is the judge of the format: CI must have it"
        pytest.skip("stock restic is not installed")

    def run(
        folder: Path, *arguments: str, password: str = "pw", fails: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [program, "--repo", str(folder), "--no-cache", *arguments],
            env={**os.environ, "RESTIC_PASSWORD": password},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert fails == (done.returncode != 0), f"restic {arguments}: {done.stdout}{done.stderr}"
        return done

    return run
