"""How requests lie in time: how many of a tenant are in flight, and which came while the tenant was asked to wait.

It counts only; `log.py` keeps the requests themselves.
"""

import threading
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from backup_core.clock import Clock
from backup_core.testing.m365.parties import Party
from backup_core.testing.m365.wire import Origin, Request

_WAKE_SECONDS = 0.05  # a system may wake a sleeper this much too soon


@dataclass(eq=False)
class Arrival:
    """`early_by`: seconds that an announced Retry-After still had to run, 0 where there was none; `known_for`: seconds
    since the longest-known of those announcements was sent."""

    request: Request
    party: Party
    early_by: float = 0.0
    known_for: float = 0.0
    left: bool = False


class _Announced(NamedTuple):
    since: float
    until: float


class Traffic:
    """Thread-safe. Tenants are told apart, and so are the hosts: what Graph asks for does not bind the content host."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._announced: dict[tuple[Origin, str, str], list[_Announced]] = {}
        self._in_flight: Counter[str] = Counter()
        self._peak: Counter[str] = Counter()

    def arrive(self, request: Request, party: Party) -> Arrival:
        now, key = self._clock.monotonic(), _key(request, party)
        with self._lock:
            if request.origin in ("graph", "content"):
                self._in_flight[party.tenant] += 1
                self._peak[party.tenant] = max(self._peak[party.tenant], self._in_flight[party.tenant])
            waiting = [one for one in self._announced.get(key, ()) if one.until - now > _WAKE_SECONDS]
            if not waiting:
                self._announced.pop(key, None)
                return Arrival(request, party)
            self._announced[key] = waiting
            left, known = max(one.until for one in waiting) - now, now - min(one.since for one in waiting)
            return Arrival(request, party, left, known)

    def announce(self, arrival: Arrival, retry_after: str | None) -> None:
        """The answer that is about to leave asks the tenant to wait. A date, which this simulation never sends, is no
        number of seconds and counts for nothing."""
        try:
            seconds = float(retry_after or 0)
        except ValueError:
            return
        if seconds > 0 and arrival.party.tenant:
            now = self._clock.monotonic()
            with self._lock:
                key = _key(arrival.request, arrival.party)
                self._announced.setdefault(key, []).append(_Announced(now, now + seconds))

    def leave(self, arrival: Arrival) -> None:
        """May be called twice."""
        with self._lock:
            if arrival.request.origin in ("graph", "content") and not arrival.left:
                self._in_flight[arrival.party.tenant] -= 1
            arrival.left = True

    def peak(self, tenant_id: str) -> int:
        with self._lock:
            return self._peak[tenant_id]

    def forget(self) -> None:
        """Peaks begin anew; what was announced still holds."""
        with self._lock:
            self._peak.clear()


def _key(request: Request, party: Party) -> tuple[Origin, str, str]:
    return request.origin, party.tenant, party.app
