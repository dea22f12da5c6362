"""The gate that many processes share through a table."""

import pytest

from backup_core.errors import Temporary
from backup_core.graph.shared_gate import LOOK_SECONDS, SharedGate
from backup_core.testing.fake_clock import FakeClock


class Row:
    """The row of the table, with the clock of the test."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.until, self.looks, self.broken = clock, 0.0, 0, False

    def seconds_left(self) -> float:
        self.looks += 1
        if self.broken:
            raise Temporary("away")
        return self.until - self.clock.monotonic()

    def extend(self, seconds: float) -> None:
        if self.broken:
            raise Temporary("away")
        self.until = max(self.until, self.clock.monotonic() + seconds)


def test_what_one_is_told_the_other_hears() -> None:
    """A pause that Microsoft asks one process for holds the other at its next look."""
    clock = FakeClock()
    row = Row(clock)
    told, other = SharedGate(clock, row), SharedGate(clock, row)
    assert other.wait() == 0
    told.close_for(30)
    clock.advance(LOOK_SECONDS)
    assert other.wait() == 30 - LOOK_SECONDS


def test_table_is_asked_now_and_then() -> None:
    """A hundred requests in a second cost one look."""
    clock = FakeClock()
    row = Row(clock)
    gate = SharedGate(clock, row)
    for _ in range(100):
        gate.wait()
    assert row.looks == 1


def test_own_pace_is_not_told() -> None:
    """Going slower near the limit is each process's own matter."""
    clock = FakeClock()
    row = Row(clock)
    SharedGate(clock, row).heed(limit=100, remaining=1, reset=10)
    assert row.until == 0.0


def test_without_the_table_the_own_pause_holds() -> None:
    """A table that is away neither fails a request nor opens the gate."""
    clock = FakeClock()
    row = Row(clock)
    row.broken = True
    gate = SharedGate(clock, row)
    gate.close_for(7)
    assert gate.wait() == 7


def test_pause_longer_than_patience_ends_the_request() -> None:
    """What another process was told counts against the patience as well."""
    clock = FakeClock()
    row = Row(clock)
    row.extend(500)
    with pytest.raises(Temporary) as caught:
        SharedGate(clock, row).wait(patience=120)
    assert caught.value.retry_after == 500
