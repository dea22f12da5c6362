"""How many requests pass."""

from hypothesis import given
from hypothesis import strategies as st

from backup_core.testing.fake_clock import FakeClock
from backup_core.triggers import rate_limit
from backup_core.triggers.http import _limits
from backup_core.triggers.rate_limit import RateLimit


@given(st.lists(st.floats(0, 3), max_size=200))
def test_never_more_than_the_rate(pauses: list[float]) -> None:
    """In any time, at most the burst and what has flowed in; who waits as told passes."""
    clock = FakeClock()
    limit = RateLimit(clock, per_second=2, burst=3)
    passed = 0
    for pause in pauses:
        clock.advance(pause)
        wait = limit.take("a")
        passed += not wait
        assert passed <= 3 + clock.monotonic() * 2 + 1e-6
        if wait:
            clock.advance(wait)
            assert limit.take("a") == 0
            passed += 1


def test_twenty_a_second_always_pass() -> None:
    """What every client was promised, for an hour."""
    clock = FakeClock()
    limit = RateLimit(clock, per_second=_limits._per_second, burst=_limits._burst)
    for _ in range(20 * 3600):
        assert limit.take("a") == 0
        clock.advance(1 / 20)


def test_many_clients_cost_no_more_memory() -> None:
    """The ones that were quiet longest are forgotten."""
    limit = RateLimit(FakeClock(), per_second=1, burst=1)
    for number in range(rate_limit._CLIENTS_MAX + 50):
        limit.take(str(number))
    assert len(limit._buckets) == rate_limit._CLIENTS_MAX
    assert limit.take(str(rate_limit._CLIENTS_MAX + 49)) == 1
