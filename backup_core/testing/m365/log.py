"""The request log: what arrived at each origin and what went back, for tests to read."""

import datetime
import hashlib
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from backup_core.testing.m365.wire import Origin, Request


@dataclass
class Logged:
    """One request. `status` 0: the connection was closed without an answer. `sent_bytes` counts the body alone."""

    origin: Origin
    method: str
    path: str
    query: str
    headers: dict[str, str]  # names in lower case; a credential is shown as a short digest
    status: int
    sent_bytes: int
    at: datetime.datetime


class RequestLog(Sequence[Logged]):
    """Thread-safe; an entry is there before its answer leaves. `keep`: only so many of the newest."""

    def __init__(self, keep: int | None = None) -> None:
        self._entries: deque[Logged] = deque(maxlen=keep)
        self._lock = threading.Lock()

    def add(self, request: Request, status: int, at: datetime.datetime) -> Logged:
        headers = dict(request.headers)
        if "authorization" in headers:
            headers["authorization"] = _masked(headers["authorization"])
        entry = Logged(request.origin, request.method, request.path, request.raw_query, headers, status, 0, at)
        with self._lock:
            self._entries.append(entry)
        return entry

    def of(self, origin: Origin) -> list[Logged]:
        return [entry for entry in self._snapshot() if entry.origin == origin]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Logged: ...
    @overload
    def __getitem__(self, index: slice) -> list[Logged]: ...
    def __getitem__(self, index: int | slice) -> Logged | list[Logged]:
        return self._snapshot()[index]

    def __iter__(self) -> Iterator[Logged]:
        return iter(self._snapshot())

    def _snapshot(self) -> list[Logged]:
        with self._lock:
            return list(self._entries)


def _masked(credential: str) -> str:
    """Two requests with one token still look alike."""
    scheme, _, secret = credential.partition(" ")
    return f"{scheme} sha256:{hashlib.sha256(secret.encode()).hexdigest()[:8]}"
