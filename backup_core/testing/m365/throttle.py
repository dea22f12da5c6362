"""Resource units of an app in a tenant, window by window: what Microsoft counts before it answers 429."""

import math
import threading
from dataclasses import dataclass

from backup_core.clock import Clock
from backup_core.testing.m365.graph_errors import GraphError
from backup_core.testing.m365.switches import Switches
from backup_core.testing.m365.tokens import Grant

SHOWN_FROM = 0.8  # the share of the limit from which RateLimit headers are sent
FRACTION_SECONDS = 0.128  # Graph's own limit has been seen to answer `Retry-After: 2.128`


@dataclass
class _Window:
    began: float
    units: int = 0


class Throttle:
    """Thread-safe. Off where the switch `units_per_minute` is None."""

    def __init__(self, switches: Switches, clock: Clock) -> None:
        self._switches = switches
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}
        self._lock = threading.Lock()

    def charge(self, grant: Grant, units: int) -> dict[str, str]:
        """Count a request, a refused one too, and return headers for its answer. Raises GraphError 429."""
        limit = self._switches.units_per_minute
        if limit is None:
            return {}
        now, length = self._clock.now().timestamp(), self._switches.units_window_seconds
        with self._lock:
            window = self._windows.get((grant.app_id, grant.tenant_id))
            if window is None or now - window.began >= length:
                window = self._windows[grant.app_id, grant.tenant_id] = _Window(now)
            window.units += units
            used, reset = window.units, math.ceil(window.began + length - now)
        headers = {}
        if used >= SHOWN_FROM * limit and grant.user is None:
            remaining = max(0, limit - used)
            headers = {
                "ratelimit-limit": str(limit),
                "ratelimit-remaining": str(remaining),
                "ratelimit-reset": str(reset),
            }
        if used > limit:
            raise self._refusal(headers, reset)
        return headers

    def _refusal(self, headers: dict[str, str], reset: int) -> GraphError:
        wait = str(reset + FRACTION_SECONDS) if self._switches.fractional_retry_after else str(reset)
        return GraphError(
            429,
            "activityLimitReached",
            "The request has been throttled",
            inner=("throttledRequest", "quota"),
            headers={"retry-after": wait, **headers},
        )
