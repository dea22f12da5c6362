"""The gate that every request to a tenant passes: when Microsoft asks one thread to wait, all of them wait.

It decides when the next request may be sent, not whether one is sent again: that is `attempts.py`.
"""

import math
import random
import threading
from collections.abc import Callable

from backup_core.clock import Clock
from backup_core.errors import Interrupted, Temporary

BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_MAX_SECONDS = 30.0  # a longer pause only makes sense where the server asks for it
CLOSED_MAX_SECONDS = 3600.0  # 315 s have been seen; a demand for years is nonsense and must not hold a run for years
REPORTED_FROM_SECONDS = 1.0  # a person need not read of shorter waits
_EARLY_SECONDS = 0.05  # an operating system may wake a sleeper this much too soon


class Gate:
    """One per tenant, shared by all threads. `on_wait(seconds)` is called once for each time the gate holds."""

    def __init__(
        self,
        clock: Clock,
        on_wait: Callable[[float], None] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock
        self._on_wait = on_wait
        self._jitter = jitter
        self._lock = threading.Lock()
        self._closed_at = self._opens_at = clock.monotonic()
        self._reported = self._opens_at
        self._held_before = 0.0

    def wait(self, patience: float = math.inf) -> float:
        """Return when a request may be sent: the seconds waited. Temporary where that is longer than `patience`."""
        waited = 0.0
        while (left := self._left()) > 0:
            if waited + left > patience:
                raise throttled(left)
            self._report(left)
            pause(self.clock, left)
            waited += left
        return waited

    def close_for(self, seconds: float) -> None:
        """Nothing passes for so long from now; a closing that ends later stays as it is."""
        self._close(seconds)

    def _close(self, seconds: float) -> None:
        with self._lock:
            now = self.clock.monotonic()
            if now >= self._opens_at:
                self._held_before += self._opens_at - self._closed_at
                self._closed_at = self._opens_at = now
            self._opens_at = max(self._opens_at, now + min(max(0.0, seconds), CLOSED_MAX_SECONDS))

    def heed(self, limit: float, remaining: float, reset: float) -> None:
        """Go slower before Microsoft has to ask: what is left of the budget is spread over the time until it is new."""
        if 0 <= remaining < 0.2 * limit and reset > 0:
            self._close(min(reset / max(1.0, remaining), 60.0))

    def backoff(self, tries: int) -> float:
        """Seconds before another try where nobody said how long: growing, and never the same for two threads."""
        longest = min(BACKOFF_FIRST_SECONDS * 2.0 ** min(tries - 1, 10), BACKOFF_MAX_SECONDS)
        return longest * (0.5 + 0.5 * self._jitter())

    @property
    def throttled_seconds(self) -> float:
        """Time of the clock on the wall during which the gate was closed, however many threads stood before it."""
        with self._lock:
            return self._held_before + min(self.clock.monotonic(), self._opens_at) - self._closed_at

    @property
    def closed_seconds(self) -> float:
        """For how long from now nothing passes; 0 where it is open."""
        return max(0.0, self._left())

    def _left(self) -> float:
        with self._lock:
            return self._opens_at - self.clock.monotonic()

    def _report(self, left: float) -> None:
        with self._lock:
            new, self._reported = self._opens_at > self._reported, max(self._reported, self._opens_at)
        if new and self._on_wait is not None and left >= REPORTED_FROM_SECONDS:
            self._on_wait(left)


def pause(clock: Clock, seconds: float) -> None:
    """Wait to the end. Interrupted where the clock ends the wait early, which it does when the program shall stop."""
    end = clock.monotonic() + seconds
    clock.sleep(seconds)
    if end - clock.monotonic() > _EARLY_SECONDS:
        raise Interrupted("The program was asked to stop while it waited for Microsoft.")


def throttled(retry_after: float) -> Temporary:
    """What a request ends with when it would have to wait longer than it may."""
    return Temporary(
        "Microsoft answers 429 Too Many Requests.",
        why=f"It wants a pause of {math.ceil(retry_after)} s more, and this request has no patience left for it"
        " (DRIVEKEEP_THROTTLE_PATIENCE).",
        remedy="Requests are retried automatically; wait a while and run the same command again."
        " `-source onedrive-changes` asks for much less than a full scan.",
        reason="throttled",
        retry_after=retry_after,
    )
