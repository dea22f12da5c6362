"""A clock that moves only when somebody sleeps or a test says so, so that hours of waiting pass in no time."""

import datetime
import threading


class FakeClock:
    """Safe for many threads; time is the sum of all their sleeps."""

    def __init__(self, now: datetime.datetime | None = None) -> None:
        self._start = now or datetime.datetime(2026, 11, 2, 8, 0, tzinfo=datetime.UTC)
        self._passed = 0.0
        self._lock = threading.Lock()
        self.sleeps: list[float] = []  # every wait that was asked for, in seconds

    def now(self) -> datetime.datetime:
        return self._start + datetime.timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._passed

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.sleeps.append(seconds)
            self._passed += max(0.0, seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass without anybody waiting."""
        with self._lock:
            self._passed += seconds
