"""A limit on how fast content is downloaded, for all threads together."""

import threading

from backup_core.clock import Clock
from backup_core.graph.gate import pause


class RateLimit:
    """So many bytes a second. A thread pays for what it has read by waiting before it reads on."""

    def __init__(self, bytes_per_second: float, clock: Clock) -> None:
        self._rate, self._clock = bytes_per_second, clock
        self._lock = threading.Lock()
        self._paid_until = clock.monotonic()
        # A quarter of a second's worth: larger pieces would make a slow limit a stop-and-go that servers hang up on.
        self.piece_bytes = max(1024, int(bytes_per_second / 4))

    def take(self, count: int) -> None:
        """Account for `count` bytes and wait until they are paid for. Time in which nobody read is not saved up."""
        with self._lock:
            now = self._clock.monotonic()
            self._paid_until = max(self._paid_until, now) + count / self._rate
            owed = self._paid_until - now
        pause(self._clock, owed)
