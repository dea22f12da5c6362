"""What the host asks of whoever runs the functions; it does not say how they are loaded, nor in which process."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

Payload = tuple[str, Any]
"""A kind and its value: ("json", text), ("string", text), ("bytes", bytes), ("http", HttpCall or HttpReply)."""


class HttpCall(msgspec.Struct, frozen=True):
    """One request, as a worker is told of it: header names in lower case, several values of a name joined."""

    method: str
    url: str
    headers: dict[str, str]
    query: dict[str, str]
    route: dict[str, str]
    body: bytes


class HttpReply(msgspec.Struct, frozen=True):
    """One answer; `cookies` are the values of its Set-Cookie headers, one each."""

    status: int
    headers: dict[str, str]
    cookies: list[str]
    body: bytes


class FunctionInfo(msgspec.Struct, frozen=True):
    """One function as the worker indexed it."""

    name: str
    bindings: list[dict[str, Any]]

    @property
    def trigger(self) -> dict[str, Any]:
        """The one binding that starts it."""
        return next(binding for binding in self.bindings if binding["type"].lower().endswith("trigger"))

    @property
    def kind(self) -> str:
        """`httpTrigger`, `timerTrigger`, `orchestrationTrigger` or `activityTrigger`."""
        return str(self.trigger["type"])

    @property
    def clients(self) -> list[str]:
        """The parameters that want a durable client."""
        return [binding["name"] for binding in self.bindings if binding["type"] == "durableClient"]


class FunctionFailed(Exception):
    """The function raised; `stack` is for the log of the host alone."""

    def __init__(self, message: str, stack: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.stack = stack


def overdue(name: str, seconds_max: float) -> FunctionFailed:
    """What a function that outlived its time is said to have died of, in the words of the Functions host."""
    return FunctionFailed(f"Timeout value of {seconds_max:.0f} s was exceeded by function: {name}")


class WorkerLost(Exception):
    """The process that ran the function died before it answered: nobody knows how far it came."""


class Worker(Protocol):
    """`instances`: how many processes share the calls; the host's limits hold for each of them."""

    functions: dict[str, FunctionInfo]
    instances: int

    async def start(self) -> None:
        """Load the app and index its functions. Raises DrivekeepError where it cannot be loaded."""

    async def call(self, name: str, inputs: Mapping[str, Payload], seconds_max: float) -> Payload | None:
        """What the function returned, or None. Raises FunctionFailed, also when the time is up, and WorkerLost."""

    async def stop(self) -> None:
        """End what is running as far as that can be done, within two seconds."""
