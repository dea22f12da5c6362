"""The gate: waiting as long as Microsoft asks, for all threads, and no longer than a request may."""

import threading

import pytest

from backup_core.errors import Interrupted, Temporary
from backup_core.graph.gate import Gate, pause
from backup_core.testing.fake_clock import FakeClock


def test_open_gate_costs_nothing() -> None:
    """Nobody waits while nobody was asked to."""
    clock = FakeClock()
    gate = Gate(clock)
    assert (gate.wait(), clock.sleeps, gate.throttled_seconds) == (0.0, [], 0.0)


def test_waits_until_it_opens() -> None:
    """Whoever comes while it is closed waits for what is left of the time, and says so once."""
    clock, waits = FakeClock(), []
    gate = Gate(clock, waits.append)
    gate.close_for(31)
    clock.advance(11)
    assert gate.wait() == 20
    assert waits == [20]


def test_a_shorter_closing_opens_nothing() -> None:
    """A demand for one second does not shorten an earlier one for a hundred."""
    clock = FakeClock()
    gate = Gate(clock)
    gate.close_for(100)
    gate.close_for(1)
    assert gate.wait() == 100


def test_impatient_request_does_not_wait() -> None:
    """What may not wait long enough ends at once, with the time that remains, and slept nothing."""
    clock = FakeClock()
    gate = Gate(clock)
    gate.close_for(1000)
    with pytest.raises(Temporary) as caught:
        gate.wait(patience=900)
    assert (caught.value.reason, caught.value.retry_after) == ("throttled", 1000)
    assert clock.sleeps == []
    for said in ("429 Too Many Requests", "automatically", "wait", "onedrive-changes"):
        assert said in str(caught.value)


def test_absurd_demands_are_capped() -> None:
    """A demand for thirty years closes the gate for an hour."""
    gate = Gate(FakeClock())
    gate.close_for(1e9)
    assert gate.wait() == 3600


def test_throttled_time_is_time_of_the_wall() -> None:
    """Overlapping closings count once, time between closings not at all, however many threads waited."""
    clock = FakeClock()
    gate = Gate(clock)
    gate.close_for(10)
    clock.advance(5)
    gate.close_for(10)
    assert gate.throttled_seconds == 5
    clock.advance(100)
    assert gate.throttled_seconds == 15
    gate.close_for(7)
    clock.advance(2)
    assert gate.throttled_seconds == 17


def test_all_threads_wait_and_one_speaks() -> None:
    """Eight threads before a closed gate: none passes early, and a person hears of it once."""
    clock, waits, early = FakeClock(), [], []
    gate = Gate(clock, waits.append)
    gate.close_for(30)

    def pass_gate() -> None:
        gate.wait()
        if clock.monotonic() < 30:
            early.append(clock.monotonic())

    threads = [threading.Thread(target=pass_gate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (early, len(waits), gate.throttled_seconds) == ([], 1, 30)


def test_backoff_grows_is_jittered_and_capped() -> None:
    """Waits that nobody prescribed double, differ between threads, and stop at half a minute."""
    slow, quick = (Gate(FakeClock(), jitter=lambda at=at: at) for at in (1.0, 0.0))
    assert [slow.backoff(tries) for tries in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert [quick.backoff(tries) for tries in range(1, 8)] == [0.5, 1, 2, 4, 8, 15, 15]
    assert slow.backoff(5000) == 30


def test_slows_down_before_it_is_throttled() -> None:
    """With less than a fifth of the budget left, requests are spread over the time until it is new."""
    waits: list[float] = []
    gate = Gate(FakeClock(), waits.append)
    gate.heed(limit=1200, remaining=240, reset=5)
    assert gate.wait() == 0
    gate.heed(limit=1200, remaining=100, reset=5)
    assert pytest.approx(0.05) == gate.wait()
    gate.heed(limit=1200, remaining=0, reset=5)
    assert gate.wait() == 5
    assert waits == [5]  # nobody wants to read of the twentieth of a second


class _StoppedClock(FakeClock):
    def sleep(self, seconds: float) -> None:
        """As the machine's clock does once the program was asked to stop: it returns at once."""


def test_a_stop_ends_every_wait() -> None:
    """A wait that the clock cuts short is a request to stop, and never a busy loop."""
    with pytest.raises(Interrupted):
        pause(_StoppedClock(), 10)
    gate = Gate(_StoppedClock())
    gate.close_for(10)
    with pytest.raises(Interrupted):
        gate.wait()
