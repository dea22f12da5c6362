"""A program: loads the app in a folder with one of the workers, and prints in JSON what it found, and what it answered.

Each Python can load one app once, and the tests' own Python may not be the one that is asked about.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from backup_core.testing.durable_host.worker import FunctionFailed, HttpCall, Worker


def make_worker(kind: str, folder: Path) -> Worker:
    """`thin` or `runtime`: see the modules of these names."""
    if kind == "thin":
        from backup_core.testing.durable_host.thin_worker import ThinWorker

        return ThinWorker(folder, 4)
    from backup_core.testing.durable_host.runtime_worker import RuntimeWorker

    return RuntimeWorker(folder)


async def _calls(worker: Worker, wanted: list[Any]) -> list[Any]:
    """`wanted`: pairs of a function's name and a path (a GET request), or the JSON text for its trigger."""
    answers: list[Any] = []
    for name, told in wanted:
        trigger = worker.functions[name].trigger["name"]
        payload: Any = ("json", told)
        if worker.functions[name].kind == "httpTrigger":
            payload = ("http", HttpCall("GET", f"http://127.0.0.1{told}", {"host": "127.0.0.1"}, {}, {}, b""))
        try:
            answer = await worker.call(name, {trigger: payload}, 30)
        except FunctionFailed as error:
            answers.append({"failed": error.message})
            continue
        value = answer[1] if answer else None
        if answer and answer[0] == "http":
            value = {"status": value.status, "headers": value.headers, "cookies": value.cookies}
        answers.append(value)
    return answers


async def _main(kind: str, folder: str, wanted: str) -> None:
    started = time.perf_counter()
    worker = make_worker(kind, Path(folder))
    await worker.start()
    seconds = time.perf_counter() - started
    functions = {name: each.bindings for name, each in worker.functions.items()}
    answers = await _calls(worker, json.loads(wanted))
    await worker.stop()
    print(json.dumps({"seconds": seconds, "functions": functions, "answers": answers}))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
