"""A request and a response of the simulated Microsoft 365, free of sockets, so that a route is a plain function."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl

Origin = Literal["graph", "login", "content", "identity"]


class BodySource(Protocol):
    """Bytes that need not lie in memory: a file of the machine, or a made-up body of many gigabytes."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...


@dataclass(frozen=True)
class Request:
    origin: Origin
    method: str
    path: str  # percent-encoded, as it came
    raw_query: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    def bearer(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" and token else None


@dataclass
class Response:
    """`body` from a source is sent piece by piece; `first` and `count` choose the part of it that is sent."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    source: BodySource | None = None
    first: int = 0
    count: int | None = None

    @classmethod
    def of_json(cls, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> "Response":
        text = json.dumps(value, ensure_ascii=False).encode()
        return cls(status, {"content-type": "application/json; charset=utf-8", **(headers or {})}, text)
