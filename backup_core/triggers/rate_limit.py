"""How many requests a client may send: a bucket of tokens each, in this process. It does not know who the client is."""

import math
import threading
from collections import OrderedDict
from typing import NamedTuple

from backup_core.clock import Clock

# A bucket is a few hundred bytes. Whoever sends from more addresses pushes out those that were quiet longest.
_CLIENTS_MAX = 10_000


class _Bucket(NamedTuple):
    tokens: float
    filled_at: float  # by the monotonic clock


class RateLimit:
    """`per_second` tokens flow into a client's bucket, which holds `burst`; a request takes one. Thread-safe."""

    def __init__(self, clock: Clock, *, per_second: float, burst: int) -> None:
        self._clock, self._per_second, self._burst = clock, per_second, burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, client: str) -> int:
        """0 where the request may pass, else the whole seconds after which another try makes sense."""
        now = self._clock.monotonic()
        with self._lock:
            bucket = self._buckets.pop(client, _Bucket(self._burst, now))
            tokens = min(self._burst, bucket.tokens + (now - bucket.filled_at) * self._per_second)
            passes = tokens >= 1
            self._buckets[client] = _Bucket(tokens - 1 if passes else tokens, now)
            if len(self._buckets) > _CLIENTS_MAX:
                self._buckets.popitem(last=False)
        return 0 if passes else math.ceil((1 - tokens) / self._per_second)
