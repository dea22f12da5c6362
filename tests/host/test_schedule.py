"""When timers run: by six fields in UTC, one at a time, and once for all that was missed."""

import asyncio
import datetime
import json
from typing import Any

import pytest

from backup_core.errors import Usage
from backup_core.testing.durable_host.schedule import Schedule, Timer
from backup_core.testing.fake_clock import FakeClock


def _utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("schedule", "moment", "following"),
    [
        ("0 */15 * * * *", "2026-11-25T16:48:25", "2026-11-25T17:00:00"),
        ("0 */15 * * * *", "2026-11-25T17:00:00", "2026-11-25T17:15:00"),
        ("*/10 * * * * *", "2026-11-25T16:48:25", "2026-11-25T16:48:30"),
        ("30 0 2 * * *", "2026-11-25T16:48:25", "2026-11-26T02:00:30"),
        ("0 30 2 * * *", "2026-03-28T12:00:00", "2026-03-29T02:30:00"),  # does not exist in Berlin that night
        ("0 30 2 * * *", "2026-10-25T00:45:00", "2026-10-25T02:30:00"),  # twice in Berlin
        ("0 0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 9 * * 1-5", "2026-11-27T10:00:00", "2026-11-30T09:00:00"),
    ],
)
def test_the_next_time(schedule: str, moment: str, following: str) -> None:
    """Seconds come first, the time is UTC, and no change to summer time moves or doubles a run."""
    assert Schedule(schedule).after(_utc(moment)) == _utc(following)


@pytest.mark.parametrize("text", ["", "*/15 * * * *", "0 61 * * * *", "now and then", "0 * * * * * *"])
def test_what_is_no_schedule(text: str) -> None:
    """It is refused at the start, with an example: five fields are what people write by mistake."""
    with pytest.raises(Usage, match="no schedule"):
        Schedule(text)


class _Fired:
    """Remembers what a timer function was told; `seconds` is how long each run takes by the clock."""

    def __init__(self, clock: FakeClock, seconds: float = 0.0) -> None:
        self.clock = clock
        self.seconds = seconds
        self.told: list[Any] = []
        self.at_work = self.most_at_work = 0

    async def __call__(self, info: str) -> None:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.told.append((self.clock.now().strftime("%H:%M:%S"), json.loads(info)))
        self.clock.advance(self.seconds)
        for _ in range(5):
            await asyncio.sleep(0)
        self.at_work -= 1


def _run(clock: FakeClock, fired: _Fired, *moves: float) -> Timer:
    """The timer, after the clock has made each of these moves."""

    async def work() -> Timer:
        timer = Timer(Schedule("0 */15 * * * *"), clock, fired)
        for seconds in moves:
            clock.advance(seconds)
            task = asyncio.create_task(timer.run())
            for _ in range(20):
                await asyncio.sleep(0)
            task.cancel()
        return timer

    return asyncio.run(work())


def test_it_runs_when_it_is_due() -> None:
    """Not before; and it is told which run this is and when the last one was."""
    clock = FakeClock(_utc("2026-11-25T16:50:00"))
    fired = _Fired(clock)
    _run(clock, fired, 599, 1, 60, 840)
    assert [when for when, _ in fired.told] == ["17:00:00", "17:15:00"]
    info = fired.told[1][1]
    assert info["ScheduleStatus"]["Last"] == "2026-11-25T17:00:00+00:00"
    assert info["ScheduleStatus"]["Next"] == "2026-11-25T17:15:00+00:00"
    assert info["IsPastDue"] is False


def test_what_was_missed_is_made_up_for_once() -> None:
    """After hours of sleep there is one run, told that it is late; then the schedule goes on."""
    clock = FakeClock(_utc("2026-11-25T16:50:00"))
    fired = _Fired(clock)
    timer = _run(clock, fired, 4 * 3600)
    assert [(when, info["IsPastDue"]) for when, info in fired.told] == [("20:50:00", True)]
    assert timer.next == _utc("2026-11-25T21:00:00")


def test_a_long_run_overlaps_nothing() -> None:
    """A run of 40 minutes skips the runs that fall into it."""
    clock = FakeClock(_utc("2026-11-25T16:59:59"))
    fired = _Fired(clock, seconds=2400)
    timer = _run(clock, fired, 1)
    assert [when for when, _ in fired.told] == ["17:00:00"]
    assert timer.next == _utc("2026-11-25T17:45:00")


def test_by_hand_it_waits_its_turn() -> None:
    """Whoever asks while it runs gets a run of their own afterwards, shared by all who ask meanwhile."""
    clock = FakeClock(_utc("2026-11-25T16:50:00"))
    fired = _Fired(clock)

    async def work() -> None:
        timer = Timer(Schedule("0 */15 * * * *"), clock, fired)
        first = asyncio.create_task(timer.run_now())
        while not fired.at_work:
            await asyncio.sleep(0)
        await asyncio.gather(first, *(timer.run_now() for _ in range(5)))

    asyncio.run(work())
    assert len(fired.told) == 2
    assert fired.most_at_work == 1
    assert fired.told[0][1]["ScheduleStatus"]["Next"] == "2026-11-25T17:00:00+00:00"  # in the future: it is by hand
