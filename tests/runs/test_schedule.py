"""Schedules: times of a cron against a plain count of minutes, the spread, and what is no schedule."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Usage
from backup_core.runs.schedule import next_due, valid_cron

TENANT, ACCOUNT = "t", "a"
MINUTE = timedelta(minutes=1)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _base(cron: str, after: datetime, period: timedelta) -> datetime:
    """The cron's own time: without the spread, which is found as the least of many accounts."""
    times = [next_due(cron, after, TENANT, str(number)) for number in range(400)]
    assert max(times) - min(times) <= min(period / 4, timedelta(hours=4))
    return min(times)


@pytest.mark.parametrize(
    ("cron", "after", "expected", "period"),
    [
        ("0 2 * * *", "2026-11-25T12:00", "2026-11-26T02:00", timedelta(days=1)),
        ("0 2 * * *", "2026-12-31T12:00", "2027-01-01T02:00", timedelta(days=1)),
        ("*/5 * * * *", "2026-11-25T12:03:59", "2026-11-25T12:05", timedelta(minutes=5)),
        ("0 0 29 2 *", "2026-03-01T00:00", "2028-02-29T00:00", timedelta(days=1461)),
        ("30 3 31 * *", "2026-11-01T00:00", "2026-12-31T03:30", timedelta(days=31)),
        ("0 2 l * *", "2027-02-01T02:00", "2027-02-28T02:00", timedelta(days=28)),
        ("0 2 28-31 2 *", "2028-02-28T12:00", "2028-02-29T02:00", timedelta(days=1)),
        ("0 2 * * 1-5", "2026-11-27T12:00", "2026-11-30T02:00", timedelta(days=1)),
        ("15 */6 * * *", "2026-11-25T21:00", "2026-11-26T00:15", timedelta(hours=6)),
    ],
)
def test_times_of_a_cron(cron: str, after: str, expected: str, period: timedelta) -> None:
    """Month ends, leap days and weekdays come when the calendar says; the spread is at most a quarter of the period."""
    found = _base(cron, _at(after), period)
    assert timedelta(0) <= found - _at(expected) < min(period / 4, timedelta(hours=4)) / 50


_MINUTES = st.one_of(st.just("*"), st.integers(1, 59).map("*/{}".format), st.integers(0, 59).map(str))
_HOURS = st.one_of(st.just("*"), st.integers(1, 23).map("*/{}".format), st.integers(0, 23).map(str))
_DAYS = st.one_of(st.just("*"), st.integers(1, 28).map(str))


def _matches(field: str, value: int) -> bool:
    if field.startswith("*/"):
        return value % int(field[2:]) == 0
    return field == "*" or value == int(field)


@given(
    _MINUTES,
    _HOURS,
    st.datetimes(datetime(2026, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC)),
    st.text("0123456789abcdef", min_size=1, max_size=8),
)
def test_every_due_time_belongs_to_one_time_of_the_cron(minute: str, hour: str, after: datetime, account: str) -> None:
    """Due times are later than asked for, follow each other, and lie within a quarter of the period after a match."""
    cron = f"{minute} {hour} * * *"
    first = next_due(cron, after, TENANT, account)
    second = next_due(cron, first, TENANT, account)
    assert after < first < second
    bases = []
    for due in (first, second):
        base = due.replace(second=0, microsecond=0)
        while not (_matches(minute, base.minute) and _matches(hour, base.hour)):
            base -= MINUTE
        bases.append(base)
        following = base + MINUTE
        while not (_matches(minute, following.minute) and _matches(hour, following.hour)):
            following += MINUTE
        assert due - base <= min((following - base) / 4, timedelta(hours=4))
    assert bases[0] < bases[1]
    between = bases[0] + MINUTE
    while between < bases[1]:
        assert not (_matches(minute, between.minute) and _matches(hour, between.hour))
        between += MINUTE


def test_the_place_in_the_spread_is_the_account_s_own() -> None:
    """The same account is due at the same time of every day, in any case of its id; accounts lie evenly."""
    after = _at("2026-11-25T12:00")
    one = next_due("0 2 * * *", after, TENANT, "ab")
    assert next_due("0 2 * * *", after + timedelta(days=1), TENANT, "AB") == one + timedelta(days=1)
    hours = [next_due("0 2 * * *", after, TENANT, str(number)).hour for number in range(400)]
    assert set(hours) == {2, 3, 4, 5}
    assert all(60 < hours.count(hour) < 140 for hour in (2, 3, 4, 5))


def test_a_late_question_skips_nothing() -> None:
    """Asked between the cron's time and the account's place in its spread, that place still counts."""
    day = _base("0 2 * * *", _at("2026-11-25T12:00"), timedelta(days=1)).replace(minute=0, second=0)
    late = max((next_due("0 2 * * *", day, TENANT, str(number)), str(number)) for number in range(50))
    assert late[0] - day < timedelta(hours=4)
    assert next_due("0 2 * * *", day + timedelta(hours=1), TENANT, late[1]) == late[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "*/0 * * * *",
        "0 0 30 2 *",
        "0 0 31 feb *",
        "@daily",
        "r r * * *",
        "h * * * *",
        "0 2 * * 8",
        "٣ * * * *",
        "0 2 * * *; drop",
        "-1 * * * *",
        "1,,2 * * * *",
        "* * * * " + "1," * 200 + "1",
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    """Too few or too many fields, impossible dates, random and named schedules: Usage, with an example."""
    with pytest.raises(Usage) as refused:
        valid_cron(text)
    assert "0 2 * * *" in refused.value.remedy


def test_a_schedule_is_kept_in_one_spelling() -> None:
    """Names of months and days and wild spaces are accepted."""
    assert valid_cron("  0  2 * JAN  Mon ") == "0 2 * jan mon"
