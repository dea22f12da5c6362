"""Runs the functions through azure_functions_runtime, the library that Azure's worker of Python 3.13 loads an app with.

It rejects what Azure rejects: one bad annotation, and not one function of the app is there. Needs Python 3.13.
"""

import asyncio
import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import azure_functions_runtime as runtime  # type: ignore[import-not-found,unused-ignore]

from backup_core.errors import DrivekeepError
from backup_core.testing.durable_host.runtime_messages import MESSAGES, SAME_SITE_WORDS, Message, TypedData
from backup_core.testing.durable_host.thin_worker import close_client_session
from backup_core.testing.durable_host.worker import (
    FunctionFailed,
    FunctionInfo,
    HttpCall,
    HttpReply,
    Payload,
    overdue,
)


class RuntimeWorker:
    """One process, one app: the library keeps what it has loaded for good."""

    instances = 1

    def __init__(self, folder: Path) -> None:
        """How many plain functions run at a time is PYTHON_THREADPOOL_THREAD_COUNT's affair."""
        self._folder = folder.resolve()
        self._ids: dict[str, str] = {}
        self.functions: dict[str, FunctionInfo] = {}

    async def start(self) -> None:
        sys.path.insert(0, str(self._folder))
        runtime.start_threadpool_executor()
        start = Message(capabilities={}, function_app_directory=str(self._folder))
        answer = await runtime.worker_init_request(_request(worker_init_request=start))
        _check_loaded(answer.result)
        found = await runtime.functions_metadata_request(_request())
        _check_loaded(found.result)
        for each in found.function_metadata_results:
            self._ids[each.name] = each.function_id
            self.functions[each.name] = FunctionInfo(each.name, [json.loads(text) for text in each.raw_bindings])

    async def call(self, name: str, inputs: Mapping[str, Payload], seconds_max: float) -> Payload | None:
        data = [MESSAGES.ParameterBinding(name=name, data=_data(*value)) for name, value in inputs.items()]
        call = Message(
            invocation_id=secrets.token_hex(16),
            function_id=self._ids[name],
            input_data=data,
            trigger_metadata={},
            trace_context=Message(trace_parent="", trace_state="", attributes={}),
            retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
        )
        try:
            async with asyncio.timeout(seconds_max):
                answer = await runtime.invocation_request(_request(invocation_request=call))
        except TimeoutError:
            raise overdue(name, seconds_max) from None
        if answer.result.status != MESSAGES.StatusResult.Success:
            raise FunctionFailed(answer.result.exception.message, answer.result.exception.stack_trace or "")
        return _payload(answer.return_value)

    async def stop(self) -> None:
        await close_client_session()


def _request(**parts: Any) -> Message:
    return Message(request=Message(**parts), properties={"host": "127.0.0.1", "protos": MESSAGES})


def _check_loaded(result: Any) -> None:
    if result.status != MESSAGES.StatusResult.Success:
        raise DrivekeepError(
            f"Azure's worker would not load this app: {result.exception.message}",
            remedy="Repair what it names: in Azure, not one function of the app would be there.",
        )


def _data(kind: str, value: Any) -> TypedData:
    if kind != "http":
        return TypedData(**{kind: value})
    call: HttpCall = value
    return TypedData(
        http=MESSAGES.RpcHttp(
            method=call.method,
            url=call.url,
            headers=call.headers,
            query=call.query,
            params=call.route,
            body=TypedData(bytes=call.body),
        )
    )


def _payload(data: Any) -> Payload | None:
    kind = data.WhichOneof("data") if data is not None else None
    if kind is None:
        return None
    return ("http", _reply(data.http)) if kind == "http" else (kind, getattr(data, kind))


def _reply(answer: Any) -> HttpReply:
    body = answer.body.bytes if answer.body.bytes is not None else (answer.body.string or "").encode()
    cookies = [_cookie_text(cookie) for cookie in answer.cookies or []]
    return HttpReply(int(answer.status_code), dict(answer.headers), cookies, bytes(body))


def _cookie_text(cookie: Any) -> str:
    """As the Functions host writes it."""
    parts = [f"{cookie.name}={cookie.value}"]
    for word, field in (("Domain", cookie.domain), ("Path", cookie.path), ("Max-Age", cookie.max_age)):
        if field is not None and field.value not in (None, ""):
            value = int(field.value) if word == "Max-Age" else field.value
            parts.append(f"{word}={value}")
    parts.extend(word for word, field in (("Secure", cookie.secure), ("HttpOnly", cookie.http_only)) if _true(field))
    if cookie.same_site in SAME_SITE_WORDS:
        parts.append(f"SameSite={SAME_SITE_WORDS[cookie.same_site]}")
    return "; ".join(parts)


def _true(field: Any) -> bool:
    return bool(field is not None and field.value)
