"""Spreads calls over worker processes, as Azure spreads them over instances; a process that dies is replaced.

What a dead process was at is lost, and its callers are told so: the hub delivers it again.
"""

import asyncio
import itertools
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from backup_core.errors import DrivekeepError
from backup_core.testing.durable_host.frames import Answer, Ready, call_of, framed, payload_of, receive_frame
from backup_core.testing.durable_host.worker import FunctionFailed, FunctionInfo, Payload, WorkerLost, overdue

_log = logging.getLogger(__name__)
_PAUSE_SECONDS_MAX = 30.0  # between two tries to start a process that does not come up
_STOP_SECONDS = 2.0


class ProcessWorkers:
    """`instances` processes, each with its own interpreter and its own copy of the app."""

    def __init__(self, folder: Path, processes: int, threads: int) -> None:
        """`threads`: of each process, see ThinWorker."""
        self.instances = processes
        self.functions: dict[str, FunctionInfo] = {}
        self._processes = [_Process(folder, threads) for _ in range(processes)]
        self._keepers: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()

    @property
    def process_ids(self) -> list[int]:
        """Of the processes that are alive."""
        return [process.pid for process in self._processes if process.alive]

    async def start(self) -> None:
        started = await asyncio.gather(*(process.start() for process in self._processes), return_exceptions=True)
        for outcome in started:
            if isinstance(outcome, BaseException):
                raise outcome
            self.functions = outcome
        self._keepers = [asyncio.create_task(self._keep(process)) for process in self._processes]

    async def call(self, name: str, inputs: Mapping[str, Payload], seconds_max: float) -> Payload | None:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self.process_ids))
        heavy = self.functions[name].kind == "activityTrigger"
        process = min((each for each in self._processes if each.alive), key=lambda each: each.load(heavy))
        return await process.call(name, inputs, seconds_max, heavy=heavy)

    async def stop(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*(process.stop() for process in self._processes))

    async def _keep(self, process: "_Process") -> None:
        """Replace it whenever it dies."""
        pause = 1.0
        while True:
            await process.ended()
            _log.warning("A worker process has died; another takes its place.")
            while not process.alive:
                try:
                    await process.start()
                    pause = 1.0
                except DrivekeepError as error:
                    _log.warning("A worker process does not start: %s", error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _PAUSE_SECONDS_MAX)
            async with self._changed:
                self._changed.notify_all()


class _Process:
    """One place for a process; it holds one after another."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._command = [sys.executable, "-m", f"{__package__}.worker_process", str(folder), str(threads)]
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._activities = 0
        self._served = 0
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self._reader is not None and not self._reader.done()

    @property
    def pid(self) -> int:
        return self._child.pid if self._child else 0

    def load(self, heavy: bool) -> tuple[int, int]:
        """What is compared to find who is free: activities for an activity, else all calls; then who did the least."""
        return (self._activities if heavy else len(self._waiting), self._served)

    async def start(self) -> dict[str, FunctionInfo]:
        """The app's functions, by name. Raises DrivekeepError where the app cannot be loaded."""
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        self._child = child
        assert child.stdout
        data = await receive_frame(child.stdout)
        if not data:
            raise DrivekeepError("A worker process ended while it loaded the app.", remedy="See what it printed above.")
        ready = msgspec.msgpack.decode(data, type=Ready)
        if ready.failure:
            what, why, remedy = ready.failure
            raise DrivekeepError(what, why=why, remedy=remedy)
        self._reader = asyncio.create_task(self._read(child.stdout))
        return {function.name: function for function in ready.functions}

    async def ended(self) -> None:
        if self._reader:
            await asyncio.wait([self._reader])

    async def call(
        self, name: str, inputs: Mapping[str, Payload], seconds_max: float, *, heavy: bool
    ) -> Payload | None:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._activities += heavy
        self._served += 1
        try:
            await self._send(framed(call_of(number, name, inputs)))
            async with asyncio.timeout(seconds_max):
                return _result(await answer)
        except TimeoutError:
            self._kill()  # as Azure does, and with it whatever else runs there
            raise overdue(name, seconds_max) from None
        finally:
            self._activities -= heavy
            del self._waiting[number]

    async def stop(self) -> None:
        """Its standard input ends, and so does it, whatever it is at."""
        if self._child is None or self._child.returncode is not None:
            return
        assert self._child.stdin
        self._child.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._child.wait()
        except TimeoutError:
            self._kill()
            await self._child.wait()
        await self.ended()

    async def _send(self, frame: bytes) -> None:
        assert self._child and self._child.stdin
        try:
            self._child.stdin.write(frame)
            await self._child.stdin.drain()
        except (ConnectionError, RuntimeError):
            raise WorkerLost(str(self._child.pid)) from None

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while data := await receive_frame(stream):
            answer = msgspec.msgpack.decode(data, type=Answer)
            waiting = self._waiting.get(answer.number)
            if waiting and not waiting.done():
                waiting.set_result(answer)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(WorkerLost(str(self.pid)))
        self._kill()  # it may have closed its pipe and yet live on

    def _kill(self) -> None:
        if self._child and self._child.returncode is None:
            self._child.kill()


def _result(answer: Answer) -> Payload | None:
    if answer.failure:
        raise FunctionFailed(*answer.failure)
    return payload_of(answer)
