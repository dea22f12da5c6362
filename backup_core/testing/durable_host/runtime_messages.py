"""Plain stand-ins for the protobuf messages that azure_functions_runtime is handed; no protobuf, no gRPC.

The library is given its message classes by whoever drives it, and uses of them only what stands here.
"""

from types import SimpleNamespace
from typing import Any


class Message(SimpleNamespace):
    """Fields that were not set read as None, as unset ones of protobuf read as empty."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "TypedData":  # the library probes for the latter to tell messages apart
            raise AttributeError(name)
        return None


class TypedData(Message):
    """One value of one kind; the kinds are `string`, `json`, `bytes`, `http` and others."""

    def WhichOneof(self, _: str) -> str | None:
        return next(iter(vars(self)), None)


class ParameterBinding(Message):
    def WhichOneof(self, _: str) -> str | None:
        return "data" if "data" in vars(self) else None


class BindingInfo(Message):
    undefined, string, binary, stream = range(4)
    out, inout = 1, 2


setattr(BindingInfo, "in", 0)  # a keyword of Python, a member of the message


class StatusResult(Message):
    Failure, Success, Cancelled = range(3)


class SameSite:
    Lax, Strict, ExplicitNone = 1, 2, 3


setattr(SameSite, "None", 0)
SAME_SITE_WORDS = {SameSite.Lax: "Lax", SameSite.Strict: "Strict", SameSite.ExplicitNone: "None"}


class RpcHttpCookie(Message):
    SameSite = SameSite


_BARE = (
    "WorkerInitResponse",
    "WorkerMetadata",
    "FunctionMetadataResponse",
    "FunctionLoadResponse",
    "FunctionEnvironmentReloadResponse",
    "RpcFunctionMetadata",
    "RpcRetryOptions",
    "InvocationResponse",
    "RpcException",
    "RpcHttp",
    "NullableString",
    "NullableBool",
    "NullableDouble",
    "NullableTimestamp",
)

MESSAGES = SimpleNamespace(
    TypedData=TypedData,
    ParameterBinding=ParameterBinding,
    BindingInfo=BindingInfo,
    StatusResult=StatusResult,
    RpcHttpCookie=RpcHttpCookie,
    **{name: type(name, (Message,), {}) for name in _BARE},
)
