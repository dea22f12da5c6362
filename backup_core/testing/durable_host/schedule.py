"""Timer functions: when a run is due by an NCRONTAB of six fields in UTC, and the runs themselves, never two at once.

A run that was missed while the machine slept is made up for by one, which is told that it is late.
"""

import asyncio
import datetime
import json
from collections.abc import Awaitable, Callable

from croniter import croniter

from backup_core.clock import Clock
from backup_core.errors import Usage

_LONGEST_WAIT_SECONDS = 30.0  # a clock that was set, or a machine that slept, is noticed within that
_LATE_SECONDS = 60.0  # from when on a run counts as past due
_NOT_NOW = datetime.timedelta(seconds=5)


class Schedule:
    """Six fields, seconds first, as Azure reads them: UTC, so that no change to summer time skips or doubles a run."""

    def __init__(self, text: str) -> None:
        """Raises Usage for what is no schedule."""
        if len(text.split()) != 6 or not croniter.is_valid(text, second_at_beginning=True):
            raise Usage(
                f"{text!r} is no schedule for a timer.",
                why="A timer has six fields: second, minute, hour, day, month, day of the week.",
                remedy="Every quarter of an hour, for instance, is 0 */15 * * * *.",
            )
        self._text = text

    def after(self, moment: datetime.datetime) -> datetime.datetime:
        """The first time that is later than that."""
        following = croniter(self._text, moment, second_at_beginning=True).get_next(datetime.datetime)
        assert isinstance(following, datetime.datetime)
        return following


class Timer:
    """One timer function. `fire` runs it with the given TimerInfo, in JSON."""

    def __init__(self, schedule: Schedule, clock: Clock, fire: Callable[[str], Awaitable[None]]) -> None:
        self._schedule = schedule
        self._clock = clock
        self._fire = fire
        self._turn = asyncio.Lock()
        self._asked = 0
        self._last = clock.now()
        self.next = schedule.after(self._last)

    async def run(self) -> None:
        """Fire whenever it is due, until cancelled."""
        while True:
            wait = (self.next - self._clock.now()).total_seconds()
            if wait > 0:
                await asyncio.sleep(min(wait, _LONGEST_WAIT_SECONDS))
                continue
            await self._once(past_due=-wait > _LATE_SECONDS)
            # A clock that was set back must not repeat a run; a run longer than the interval skips what it overlaps.
            self._last, self.next = self.next, self._schedule.after(max(self._clock.now(), self.next))

    async def run_now(self) -> None:
        """By hand. Whoever asks while another asker waits shares the run, which begins after both have asked."""
        if self._asked == 0:
            self._asked += 1
            await self._once(past_due=False, by_hand=True)

    async def _once(self, *, past_due: bool, by_hand: bool = False) -> None:
        async with self._turn:
            if by_hand:
                self._asked -= 1
            await self._fire(self._info(past_due, by_hand))

    def _info(self, past_due: bool, by_hand: bool) -> str:
        """As Azure's monitor keeps it: `Next` is the run that is due, so a run by hand sees a `Next` in the future.

        That holds here also where no timer runs that would move it on.
        """
        following = self.next
        if by_hand:
            following = max(following, self._schedule.after(self._clock.now() + _NOT_NOW))
        status = {"Last": self._last.isoformat(), "Next": following.isoformat(), "LastUpdated": self._last.isoformat()}
        return json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due})
