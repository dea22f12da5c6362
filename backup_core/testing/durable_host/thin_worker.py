"""Runs the functions in this process with the converters of azure-functions itself, on any Python that drivekeep knows.

It does not check annotations as the worker of Azure does while it loads an app; `runtime_worker.py` does.
"""

import asyncio
import importlib
import inspect
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.functions as func
from azure.functions import meta

from backup_core.errors import DrivekeepError
from backup_core.testing.durable_host.worker import FunctionFailed, FunctionInfo, HttpCall, HttpReply, Payload, overdue


class ThinWorker:
    """One process, one app: Python keeps the module `function_app` for good."""

    instances = 1

    def __init__(self, folder: Path, threads: int) -> None:
        """`threads`: how many plain (not async) functions run at a time, orchestrators among them."""
        self._folder = folder.resolve()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")
        self._converters = func.get_binding_registry()  # type: ignore[no-untyped-call]
        self._code: dict[str, Callable[..., Any]] = {}
        self.functions: dict[str, FunctionInfo] = {}

    async def start(self) -> None:
        # Azure's workers call the converters in the same way; and that answers come twice is how queues are.
        warnings.filterwarnings("ignore", "azure.functions df_loads", DeprecationWarning)
        warnings.filterwarnings("ignore", "Potential duplicate Task completion", UserWarning)
        for function in _load(self._folder):
            name = str(function.get_function_name())
            bindings = [json.loads(binding) for binding in function.get_raw_bindings()]
            self.functions[name] = FunctionInfo(name, bindings)
            self._code[name] = function.get_user_function()

    async def call(self, name: str, inputs: Mapping[str, Payload], seconds_max: float) -> Payload | None:
        try:
            async with asyncio.timeout(seconds_max):
                return await self._run(name, inputs)
        except TimeoutError:  # its thread cannot be stopped from outside: it ends by itself, and nobody hears of it
            raise overdue(name, seconds_max) from None

    async def _run(self, name: str, inputs: Mapping[str, Payload]) -> Payload | None:
        code = self._code[name]
        try:
            arguments = {parameter: self._decoded(name, parameter, *value) for parameter, value in inputs.items()}
            if "context" in inspect.signature(code).parameters and "context" not in arguments:
                arguments["context"] = SimpleNamespace(function_name=name, function_directory=str(self._folder))
            if inspect.iscoroutinefunction(code):
                result = await code(**arguments)
            else:
                result = await asyncio.get_running_loop().run_in_executor(self._pool, lambda: code(**arguments))
            return self._encoded(self.functions[name], result)
        except Exception as error:
            raise FunctionFailed(f"{type(error).__name__}: {error}", traceback.format_exc()) from None

    async def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        await close_client_session()

    def _decoded(self, name: str, parameter: str, kind: str, value: Any) -> Any:
        binding = next(each for each in self.functions[name].bindings if each["name"] == parameter)
        converter = self._converters.get(binding["type"])
        datum = _http_datum(value) if kind == "http" else meta.Datum(value, kind)
        # A durable client has no converter of its own: the worker passes its text on, and the SDK's decorator reads it.
        return converter.decode(datum, trigger_metadata={}) if converter else datum.value

    def _encoded(self, function: FunctionInfo, result: Any) -> Payload | None:
        if function.kind == "timerTrigger":
            if result is not None:
                raise TypeError("a function that a timer starts returns nothing")
            return None
        converter = self._converters.get("http" if function.kind == "httpTrigger" else function.kind)
        datum = converter.encode(result, expected_type=None)
        if datum is None or datum.type is None:
            return None
        return ("http", _reply(datum.value)) if datum.type == "http" else (datum.type, datum.value)


async def close_client_session() -> None:
    """The SDK keeps one HTTP session per process, tied to the event loop that first used it; the next loop needs a
    new one."""
    module = sys.modules.get("azure.durable_functions.models.utils.http_utils")
    session = getattr(module, "_client_session", None)
    if session is not None:
        await session.close()
        module._client_session = None  # type: ignore[union-attr]


def _load(folder: Path) -> list[Any]:
    """The functions of function_app.py, found as the worker finds them: by the only app object of that module."""
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))
    sys.modules.pop("function_app", None)  # tests load several apps, one after the other
    try:
        module = importlib.import_module("function_app")
        apps = {id(value): value for value in vars(module).values() if isinstance(value, func.FunctionRegister)}
        functions = [function for app in apps.values() for function in app.get_functions()]
    except Exception as error:
        raise DrivekeepError(
            f"{folder / 'function_app.py'} cannot be loaded: {type(error).__name__}: {error}",
            why=_origin(error),
            remedy="In Azure not one function of the app would start either. Repair that line and start again.",
        ) from error
    if len(apps) != 1:
        raise DrivekeepError(
            f"{folder / 'function_app.py'} holds {len(apps)} function apps; exactly one is needed.",
            remedy="Keep one FunctionApp or DFApp in it, and register blueprints with that.",
        )
    return functions


def _origin(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"It was raised in {frames[-1].filename}, line {frames[-1].lineno}." if frames else ""


def _http_datum(call: HttpCall) -> meta.Datum:
    def texts(values: Mapping[str, str]) -> dict[str, meta.Datum]:
        return {name: meta.Datum(value, "string") for name, value in values.items()}

    parts = {
        "method": meta.Datum(call.method, "string"),
        "url": meta.Datum(call.url, "string"),
        "headers": texts(call.headers),
        "params": texts(call.route),
        "query": texts(call.query),
        "body": meta.Datum(call.body, "bytes"),
    }
    return meta.Datum(parts, "http")


def _reply(parts: Mapping[str, Any]) -> HttpReply:
    headers = {name: value.value for name, value in parts["headers"].items()}
    cookies = [morsel.OutputString() for cookie in parts["cookies"] or [] for morsel in cookie.values()]
    return HttpReply(int(parts["status_code"].value), headers, cookies, bytes(parts["body"].value))
