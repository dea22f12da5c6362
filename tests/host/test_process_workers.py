"""Worker processes: they share the work, and one that dies or hangs costs time, never work."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.sample_hub import SAMPLE_APP

from backup_core.clock import SystemClock
from backup_core.errors import DrivekeepError
from backup_core.testing.durable_host.hub import Limits, TaskHub
from backup_core.testing.durable_host.process_workers import ProcessWorkers
from backup_core.testing.durable_host.worker import FunctionFailed, HttpCall

Work = Callable[[ProcessWorkers, TaskHub], Awaitable[Any]]


def _with_processes(work: Work, limits: Limits | None = None, processes: int = 2) -> Any:
    async def run() -> Any:
        workers = ProcessWorkers(SAMPLE_APP, processes, 8)
        try:
            await workers.start()
            hub = TaskHub(workers, SystemClock(), limits=limits or Limits(activities=2, orchestrators=2))
            hub.start()
            try:
                return await work(workers, hub)
            finally:
                await hub.stop()
        finally:
            await workers.stop()

    return asyncio.run(run())


def test_they_share_the_activities(notes: Path) -> None:
    """Both processes work, evenly, each up to the limit of host.json; what they return comes back whole."""

    async def work(workers: ProcessWorkers, hub: TaskHub) -> None:
        hub.begin("fan", '{"count": 12, "seconds": 0.1}', "f")
        assert (await hub.ended("f")).output == sorted(workers.process_ids)
        assert hub.activities.most_running == 4
        assert set(Counter(line.split()[0] for line in notes.read_text().splitlines()).values()) == {6}
        call = HttpCall("POST", "http://127.0.0.1/echo/x", {}, {}, {"name": "x"}, bytes(range(256)))
        answer = await workers.call("echo", {"req": ("http", call)}, 10)
        assert answer
        assert answer[1].status == 200
        with pytest.raises(FunctionFailed, match="a secret of the inside") as failed:
            await workers.call("broken", {"req": ("http", call)}, 10)
        assert "function_app.py" in failed.value.stack

    _with_processes(work)


def test_a_process_that_dies_is_replaced(notes: Path) -> None:
    """What it was at is delivered again, to another one; the orchestration never hears of it."""

    async def work(workers: ProcessWorkers, hub: TaskHub) -> None:
        before = set(workers.process_ids)
        hub.begin("fan", '{"count": 6, "seconds": 0.2, "dies": 1}', "f")
        instance = await hub.ended("f", 60)
        assert instance.status == "Completed"
        assert "lost" in {run.outcome for run in hub.activities.log}
        numbers = Counter(line.split()[1] for line in notes.read_text().splitlines())
        assert set(numbers) == {str(number) for number in range(6)}
        assert numbers["1"] == 2
        while len(workers.process_ids) < 2:
            await asyncio.sleep(0.05)
        assert len(before & set(workers.process_ids)) == 1

    _with_processes(work)


def test_an_overdue_function_ends_its_process(notes: Path) -> None:
    """As in Azure: the function fails, the process is ended, and what else ran there is delivered again."""

    async def work(workers: ProcessWorkers, hub: TaskHub) -> None:
        before = set(workers.process_ids)
        hub.begin("fan", '{"count": 1, "seconds": 30}', "f")
        instance = await hub.ended("f", 30)
        assert "Timeout value of 1 s was exceeded by function: work" in instance.output
        while len(workers.process_ids) < 2 or before == set(workers.process_ids):
            await asyncio.sleep(0.05)
        hub.begin("one", "2", "o")
        assert (await hub.ended("o")).output == 4

    _with_processes(work, Limits(timeout_seconds=1.0))


def test_they_end_in_the_middle_of_work(notes: Path) -> None:
    """`stop` waits for no activity, and leaves no process behind."""
    found: list[int] = []

    async def work(workers: ProcessWorkers, hub: TaskHub) -> None:
        found.extend(workers.process_ids)
        hub.begin("fan", '{"count": 2, "seconds": 60}', "f")
        while not notes.exists():
            await asyncio.sleep(0.02)

    started = time.monotonic()
    _with_processes(work)
    assert time.monotonic() - started < 20
    for pid in found:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIG_DFL)


def test_an_app_that_cannot_be_loaded_is_explained(tmp_path: Path) -> None:
    """The line that fails is named, and nothing is tried again and again."""
    (tmp_path / "function_app.py").write_text("import nowhere_at_all\n")

    async def start() -> None:
        workers = ProcessWorkers(tmp_path, 2, 2)
        try:
            await workers.start()
        finally:
            await workers.stop()

    with pytest.raises(DrivekeepError, match="No module named 'nowhere_at_all'"):
        asyncio.run(start())
