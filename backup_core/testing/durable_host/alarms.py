"""Things that happen at a time: durable timers and late messages. In a test, time can pass as soon as nobody works.

Schedules of timer functions are not here: they follow the wall clock, see `schedule.py`.
"""

import asyncio
import datetime
import heapq
import itertools
from collections.abc import Callable

from backup_core.clock import Clock

_LONGEST_WAIT_SECONDS = 30.0  # a machine that slept or whose clock was set is noticed within that


class Alarms:
    """`skip`, where it is set, makes that many seconds pass at once (FakeClock.advance); None waits like anybody."""

    def __init__(self, clock: Clock, idle: Callable[[], bool], skip: Callable[[float], None] | None = None) -> None:
        """`idle` says whether nothing is at work that could still set an earlier alarm."""
        self._clock = clock
        self._idle = idle
        self.skip = skip
        self._heap: list[tuple[datetime.datetime, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._woken = asyncio.Event()

    def set(self, moment: datetime.datetime, ring: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (moment, next(self._order), ring))
        self._woken.set()

    def wake(self) -> None:
        """Look again: somebody has finished, or the clock was moved."""
        self._woken.set()

    async def run(self) -> None:
        """Ring, until cancelled."""
        while True:
            self._woken.clear()
            while self._heap and self._heap[0][0] <= self._clock.now():
                heapq.heappop(self._heap)[2]()
            if self._heap and self.skip and self._idle():
                self.skip(max(0.0, self._seconds_left()))
                continue
            try:
                async with asyncio.timeout(self._wait_seconds()):  # wait_for of Python 3.11 can swallow a cancellation
                    await self._woken.wait()
            except TimeoutError:
                pass

    def _seconds_left(self) -> float:
        return (self._heap[0][0] - self._clock.now()).total_seconds()

    def _wait_seconds(self) -> float | None:
        if not self._heap or self.skip:
            return None
        return min(max(0.0, self._seconds_left()), _LONGEST_WAIT_SECONDS)
