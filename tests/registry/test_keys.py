"""How ids and times become parts of keys."""

import datetime

from hypothesis import given
from hypothesis import strategies as st

from backup_core.registry import keys
from backup_core.registry.table import check_keys

_MOMENTS = st.datetimes(
    datetime.datetime(1990, 1, 1), datetime.datetime(2200, 1, 1), timezones=st.just(datetime.UTC)
).map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))


@given(st.text(), st.text())
def test_any_id_is_a_part_of_a_key_and_no_two_are_the_same(one: str, two: str) -> None:
    """Whatever somebody types as an id can be looked for, and finds only what has that id."""
    check_keys(keys.ACCOUNTS + keys.part(one))
    assert (keys.part(one) == keys.part(two)) == (one.lower() == two.lower())


def test_an_id_of_an_escaped_look_is_not_the_id_that_it_looks_like() -> None:
    """No id can be written so that it becomes the key of another."""
    ids = [
        "a/b",
        "a~2f~b",
        "a~~2f~~b",
        "~2f~",
        "/",
        "~",
        "~~",
        "x" * 300,
        "x" * 301,
        keys.part("x" * 300),
        "",
        ":",
        "a:b",
    ]
    assert len({keys.part(each) for each in ids}) == len(ids)
    assert all(":" not in keys.part(each) for each in ids)


@given(_MOMENTS, _MOMENTS)
def test_times_sort_as_keys_and_come_back(one: datetime.datetime, two: datetime.datetime) -> None:
    """Text sorts as time does, the inverted one the other way round."""
    assert keys.moment(keys.stamp(one)) == one
    assert (keys.stamp(one) < keys.stamp(two)) == (one < two)
    assert (keys.inverted(one) < keys.inverted(two)) == (one > two)
    assert len(keys.inverted(one)) == 12


def test_times_are_in_utc_and_cut_to_milliseconds() -> None:
    """The form is the one that the API shows."""
    east = datetime.timezone(datetime.timedelta(hours=2))
    assert keys.stamp(datetime.datetime(2026, 1, 2, 1, 0, 5, 999999, east)) == "2026-01-01T23:00:05.999Z"
