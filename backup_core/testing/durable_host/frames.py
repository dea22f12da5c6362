"""The messages between the host and its worker processes: MessagePack behind a length of four bytes, over a pipe."""

import asyncio
from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec

from backup_core.testing.durable_host.worker import FunctionInfo, HttpCall, HttpReply, Payload

_LENGTH_BYTES = 4

Plain = tuple[str, Any]  # MessagePack itself keeps text and bytes apart


class Call(msgspec.Struct):
    """`http` holds the inputs that are requests, `plain` all others."""

    number: int
    name: str
    plain: dict[str, Plain]
    http: dict[str, HttpCall]


class Answer(msgspec.Struct):
    """To the call of that number: one of `plain`, `http` and `failure` (message and stack), or nothing."""

    number: int
    plain: Plain | None = None
    http: HttpReply | None = None
    failure: tuple[str, str] | None = None


class Ready(msgspec.Struct):
    """The first message of a process: its functions, or what (what, why, remedy) keeps it from starting."""

    functions: list[FunctionInfo]
    failure: tuple[str, str, str] | None = None


def call_of(number: int, name: str, inputs: Mapping[str, Payload]) -> Call:
    http = {parameter: value for parameter, (kind, value) in inputs.items() if kind == "http"}
    plain = {parameter: payload for parameter, payload in inputs.items() if payload[0] != "http"}
    return Call(number, name, plain, http)


def inputs_of(call: Call) -> dict[str, Payload]:
    return {**call.plain, **{parameter: ("http", value) for parameter, value in call.http.items()}}


def answer_of(number: int, payload: Payload | None) -> Answer:
    if payload is not None and payload[0] == "http":
        return Answer(number, http=payload[1])
    return Answer(number, plain=payload)


def payload_of(answer: Answer) -> Payload | None:
    return ("http", answer.http) if answer.http else answer.plain


def framed(message: msgspec.Struct) -> bytes:
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def read_frame(stream: BinaryIO) -> bytes:
    """The next message; nothing where the other side is gone, in the middle of one too."""
    length = stream.read(_LENGTH_BYTES)
    if len(length) < _LENGTH_BYTES:
        return b""
    data = stream.read(int.from_bytes(length, "big"))
    return data if len(data) == int.from_bytes(length, "big") else b""


async def receive_frame(stream: asyncio.StreamReader) -> bytes:
    """The same, without blocking the event loop."""
    try:
        length = await stream.readexactly(_LENGTH_BYTES)
        return await stream.readexactly(int.from_bytes(length, "big"))
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
