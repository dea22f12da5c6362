"""The request log: what arrived at each origin and what went back, for tests to read."""

import datetime
import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import overload

from backup_core.clock import Clock, SystemClock
from backup_core.testing.m365.parties import Party
from backup_core.testing.m365.traffic import Arrival, Traffic
from backup_core.testing.m365.wire import Origin, Request

_IN_FLIGHT_SECONDS = 0.5  # a request that was under way when the refusal left could not know of it

_CREDENTIALS = frozenset({"authorization", "x-identity-header"})


@dataclass
class Logged:
    """One request. `status` 0: the connection was closed without an answer. `sent_bytes` counts the body alone.

    `tenant`, `app` and `drive` are ids, "" where unknown. `early_by` and `known_for`: see `Arrival`.
    """

    origin: Origin
    method: str
    path: str
    query: str
    headers: dict[str, str]  # names in lower case; a credential is shown as a short digest
    status: int
    sent_bytes: int
    at: datetime.datetime
    tenant: str = ""
    app: str = ""
    drive: str = ""
    early_by: float = 0.0
    known_for: float = 0.0


class RequestLog(Sequence[Logged]):
    """Thread-safe; an entry is there before its answer leaves. `keep`: only so many of the newest."""

    def __init__(
        self, keep: int | None = None, clock: Clock | None = None, party_of: Callable[[Request], Party] | None = None
    ) -> None:
        self._entries: deque[Logged] = deque(maxlen=keep)
        self._lock = threading.Lock()
        self._traffic = Traffic(clock or SystemClock())
        self._party_of = party_of

    def arrive(self, request: Request) -> Arrival:
        """To be called when the request has been read, and `leave` before the client can have its whole answer."""
        return self._traffic.arrive(request, self._party_of(request) if self._party_of else Party())

    def leave(self, arrival: Arrival) -> None:
        self._traffic.leave(arrival)

    def add(self, arrival: Arrival, status: int, at: datetime.datetime, retry_after: str | None = None) -> Logged:
        request = arrival.request
        self._traffic.announce(arrival, retry_after)
        headers = dict(request.headers)
        for name in _CREDENTIALS & headers.keys():
            headers[name] = _masked(headers[name])
        entry = Logged(
            *(request.origin, request.method, request.path, request.raw_query, headers, status, 0, at),
            *arrival.party,
            early_by=arrival.early_by,
            known_for=arrival.known_for,
        )
        with self._lock:
            self._entries.append(entry)
        return entry

    def early(self, grace: float = _IN_FLIGHT_SECONDS) -> list[Logged]:
        """Requests that came before a Retry-After which had been sent to their tenant over `grace` seconds earlier."""
        return [entry for entry in self._snapshot() if entry.early_by > 0 and entry.known_for > grace]

    def peak(self, tenant_id: str) -> int:
        """The greatest number of the tenant's requests to Graph and the content host that were in flight at once."""
        return self._traffic.peak(tenant_id)

    def peak_drives(self, tenant_id: str) -> int:
        """The greatest number of the tenant's drives that were being read at once, each from the first request that
        names it to the last one in the log: `clear` the log between two backups of one drive."""
        span: dict[str, tuple[int, int]] = {}
        for place, entry in enumerate(self._snapshot()):
            if entry.tenant == tenant_id and entry.drive:
                span[entry.drive] = span.get(entry.drive, (place, place))[0], place
        steps = Counter(first for first, _ in span.values())
        steps.subtract(last + 1 for _, last in span.values())
        return max(accumulate(steps[place] for place in sorted(steps)), default=0)

    def downloads(self) -> Counter[str]:
        """How many bodies, whole or in part, the content host has sent of each drive."""
        sent = (entry.drive for entry in self._snapshot() if entry.origin == "content" and entry.status in (200, 206))
        return Counter(sent)

    def of(self, origin: Origin) -> list[Logged]:
        return [entry for entry in self._snapshot() if entry.origin == origin]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
        self._traffic.forget()

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
    scheme, space, secret = credential.rpartition(" ")
    return f"{scheme}{space}sha256:{hashlib.sha256(secret.encode()).hexdigest()[:8]}"
