"""Moments in keys, locks and snapshots: written as Go writes them, read from any time zone."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.repository import times

MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(MOMENTS)
def test_a_moment_comes_back(moment: datetime) -> None:
    """Every moment is read as it was written, to the microsecond."""
    assert times.from_text(times.to_text(moment)) == moment


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), "2023-11-14T22:13:20Z"),
        (datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC), "2023-11-14T22:13:20.5Z"),
        (datetime(2023, 11, 15, 0, 13, 20, 1, tzinfo=timezone(timedelta(hours=2))), "2023-11-14T22:13:20.000001Z"),
    ],
)
def test_a_moment_is_written_as_go_writes_it(moment: datetime, text: str) -> None:
    """In UTC, without trailing zeros."""
    assert times.to_text(moment) == text


@pytest.mark.parametrize(
    "text", ["2023-11-14T22:13:20.123456789Z", "2023-11-15T00:13:20.123456+02:00", "2023-11-14T16:43:20.123456-05:30"]
)
def test_any_zone_and_any_number_of_digits_is_read(text: str) -> None:
    """The same moment from another zone, or with more digits, is the same moment."""
    assert times.from_text(text) == datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2023-11-14", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """Half a time, or a month that there is not, is an error and not some other moment."""
    with pytest.raises(ValueError):
        times.from_text(text)
