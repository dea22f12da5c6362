"""What a tenant's gates tell each other through the registry, in the gates' own terms."""

import datetime

from backup_core.clock import Clock
from backup_core.registry.throttle import TenantThrottle


class SharedPause:
    """The `NotBefore` of a SharedGate. Processes agree on the time of day to within what Azure's clocks differ."""

    def __init__(self, throttle: TenantThrottle, clock: Clock) -> None:
        self._throttle, self._clock = throttle, clock

    def seconds_left(self) -> float:
        until = self._throttle.read()
        return (until - self._clock.now()).total_seconds() if until is not None else 0.0

    def extend(self, seconds: float) -> None:
        self._throttle.write(self._clock.now() + datetime.timedelta(seconds=seconds))
