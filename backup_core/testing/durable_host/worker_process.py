"""The program that one worker process runs: it loads the app and answers calls until the host goes away.

It ends with the host however that ends, because its standard input ends then.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import BinaryIO

import msgspec

from backup_core.errors import DrivekeepError
from backup_core.testing.durable_host.frames import Answer, Call, Ready, answer_of, framed, inputs_of, read_frame
from backup_core.testing.durable_host.thin_worker import ThinWorker
from backup_core.testing.durable_host.worker import FunctionFailed, Worker

_NO_LIMIT_SECONDS = 1e7  # the host watches the time, and ends this whole process when a function outlives it


def main(folder: str, threads: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal goes to every process: the host decides
    host = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what an app prints must not end up among the answers
    _log_to_stderr()
    asyncio.run(_Process(ThinWorker(Path(folder), int(threads)), host).serve())


class _Process:
    def __init__(self, worker: Worker, host: BinaryIO) -> None:
        self._worker = worker
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        try:
            await self._worker.start()
        except DrivekeepError as error:
            self._tell(Ready([], (error.what, error.why, error.remedy)))
            return
        self._tell(Ready(list(self._worker.functions.values())))
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, args=(loop,), daemon=True).start()
        await asyncio.Event().wait()  # for ever: _listen ends the process

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while data := read_frame(sys.stdin.buffer):
                loop.call_soon_threadsafe(self._begin, msgspec.msgpack.decode(data, type=Call))
        finally:
            os._exit(0)  # the host is gone, and nobody would hear what the activities at work come to

    def _begin(self, call: Call) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Call) -> None:
        try:
            payload = await self._worker.call(call.name, inputs_of(call), _NO_LIMIT_SECONDS)
            answer = answer_of(call.number, payload)
        except FunctionFailed as error:
            answer = Answer(call.number, failure=(error.message, error.stack))
        except Exception as error:  # a fault of this host; the caller must not wait for ever
            answer = Answer(call.number, failure=(repr(error), traceback.format_exc()))
        self._tell(answer)

    def _tell(self, message: msgspec.Struct) -> None:
        self._host.write(framed(message))
        self._host.flush()


def _log_to_stderr() -> None:
    """What the rooms say of themselves; lines of foreign libraries may hold an address with a token in it."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(f"[{os.getpid()}] %(message)s"))
    logging.getLogger("backup_core").addHandler(handler)
    logging.getLogger("backup_core").setLevel(logging.INFO)
    logging.getLogger().addHandler(logging.NullHandler())


class _OneLine(logging.Formatter):
    """No name of a file or person can forge a line or move the cursor. Stacks stay out: they may quote secrets."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(self._filled(record))
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)

    @staticmethod
    def _filled(record: logging.LogRecord) -> logging.LogRecord:
        record.message = record.getMessage()
        return record


if __name__ == "__main__":
    main(*sys.argv[1:])
