"""The app as each worker loads it, in a process of its own."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_WORKER_PYTHON = Path(os.environ.get("WORKER_PYTHON", ROOT / ".venv313" / "bin" / "python"))

Ask = Callable[..., dict[str, Any]]


@functools.cache
def _run(program: str, kind: str, *words: str) -> dict[str, Any]:
    python = sys.executable if kind == "thin" else str(_WORKER_PYTHON)
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    command = [python, str(Path(__file__).parent / program), kind, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise AssertionError(done.stderr[-2000:])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.fixture(params=["thin", "runtime"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which worker; a test that asks for it runs once with each."""
    if request.param == "runtime" and not _WORKER_PYTHON.exists():
        pytest.skip("Python 3.13 is not on this machine, or tools/make_worker_venv.sh has not been run.")
    return str(request.param)


@pytest.fixture
def ask(kind: str) -> Ask:
    """`ask(*calls, folder=...)`: what the worker found in the app's folder, and what its functions answered."""

    def ask(*calls: tuple[str, str], folder: Path = ROOT) -> dict[str, Any]:
        return _run("app_index.py", kind, str(folder), json.dumps(calls))

    return ask


@pytest.fixture
def orchestrated(kind: str) -> dict[str, Any]:
    """What became of the sample app's orchestrations on that worker."""
    return _run("run_orchestrations.py", kind, str(ROOT / "tests" / "host" / "sample_app"))
