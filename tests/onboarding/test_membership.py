"""What becomes of an account by what the list of users says: every row of the rules, and what never changes."""

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.graph.users import User, UsersDrive
from backup_core.onboarding.membership import after_leaving, after_reading, asks_for_drive
from backup_core.registry.accounts import STATES, Account

NOW = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
READABLE, NONE, CLOSED, GONE = UsersDrive("readable", "d"), UsersDrive("none"), UsersDrive("closed"), UsersDrive("gone")


def user(**facts: Any) -> User:
    return User(**{"id": "u", "upn": "ann@x.example", "display_name": "Ann", "guest": False, **facts})


def account(state: str = "protected", **facts: Any) -> Account:
    return Account("u", "t", "ann@x.example", "Ann", state=state, created_at=NOW - 9 * DAY, **facts)


def state_of(before: Account | None, drive: UsersDrive | None, enrol: str = "all", **facts: Any) -> str | None:
    after = after_reading(user(**facts), before, drive, "t", enrol, NOW)
    return after and after.state


@pytest.mark.parametrize(
    ("drive", "expected"), [(READABLE, "protected"), (NONE, "no-drive"), (CLOSED, "no-drive"), (GONE, None)]
)
def test_new_member(drive: UsersDrive, expected: str | None) -> None:
    """Who is new is asked about, and protected exactly if there is a drive that can be read."""
    assert asks_for_drive(user(), None, "all", NOW)
    assert state_of(None, drive) == expected


def test_new_and_protected_is_due_at_once() -> None:
    """An account that was never backed up waits for no schedule."""
    after = after_reading(user(), None, READABLE, "t", "all", NOW)
    assert after is not None
    assert (after.due_at, after.drive_id, after.tenant, after.created_at) == (NOW, "d", "t", NOW)


@pytest.mark.parametrize("state", [None, *STATES])
@pytest.mark.parametrize("included", [True, False])
def test_guest(state: str | None, included: bool) -> None:
    """A guest is a guest whatever was before, and nobody is asked for a drive."""
    before = account(state, included=included) if state else None
    assert not asks_for_drive(user(guest=True), before, "all", NOW)
    assert state_of(before, None, guest=True) == "guest"


@pytest.mark.parametrize("state", STATES)
def test_left_out_by_an_operator(state: str) -> None:
    """Who is left out stays left out, also after having left and come back; nothing is asked."""
    before = account(state, included=False)
    assert not asks_for_drive(user(), before, "all", NOW)
    assert state_of(before, None) == "excluded"


def test_enrol_none() -> None:
    """Where an operator chooses, a new user is excluded and not included, unasked; one who was chosen stays."""
    assert not asks_for_drive(user(), None, "none", NOW)
    new = after_reading(user(), None, None, "t", "none", NOW)
    assert new is not None
    assert (new.state, new.included, new.due_at) == ("excluded", False, None)
    assert state_of(account(), None, "none") == "protected"
    assert asks_for_drive(user(), account("no-drive"), "none", NOW)


def test_a_guest_who_becomes_a_member_where_an_operator_chooses() -> None:
    """Is not protected behind the operator's back."""
    guest = after_reading(user(guest=True), None, None, "t", "none", NOW)
    assert state_of(guest, None, "none") == "excluded"


def test_protected_is_not_asked_about() -> None:
    """Ten thousand requests an hour would be asked for nothing: its own backups find out."""
    assert not asks_for_drive(user(), account(), "all", NOW)
    assert after_reading(user(), account(), None, "t", "all", NOW) == account()


@pytest.mark.parametrize(("hours", "expected"), [(None, True), (23, False), (24, True), (100, True)])
def test_without_a_drive_asked_once_a_day(hours: int | None, expected: bool) -> None:
    """And when a drive has come, it is protected and due."""
    checked = None if hours is None else NOW - datetime.timedelta(hours=hours)
    before = account("no-drive", no_drive_checked_at=checked)
    assert asks_for_drive(user(), before, "all", NOW) == expected
    after = after_reading(user(), before, READABLE, "t", "all", NOW)
    assert after is not None
    assert (after.state, after.no_drive_checked_at, after.due_at) == ("protected", None, NOW)
    still = after_reading(user(), before, NONE, "t", "all", NOW)
    assert still is not None
    assert (still.state, still.no_drive_checked_at) == ("no-drive", NOW)


def test_return_of_a_leaver() -> None:
    """Is as it was: the same account, due when it was due, closed drive or not; without a drive it has none."""
    before = account(
        "protected", next_due_at=NOW - DAY, drive_id="d", repository="r", schedule="0 1 * * *", tags=("x",)
    )
    left = after_leaving(before)
    assert (left.state, left.due_at, left.repository) == ("left", None, "r")
    assert asks_for_drive(user(), left, "all", NOW)
    for drive in (READABLE, CLOSED):
        assert after_reading(user(), left, drive, "t", "all", NOW) == before
    assert state_of(left, NONE) == "no-drive"
    assert state_of(after_leaving(account("no-drive")), CLOSED) == "no-drive"
    assert after_leaving(left) == left


@pytest.mark.parametrize("state", ["pending", "sign-in-again", "guest"])
def test_known_otherwise_before(state: str) -> None:
    """Who connected alone, or was a guest, is asked about like somebody new once the organisation is read."""
    before = account(state)
    assert asks_for_drive(user(), before, "all", NOW)
    assert state_of(before, READABLE) == "protected"


def test_names_are_followed() -> None:
    """A new name is taken over whatever the state, and cut where a directory would cut it."""
    for state in STATES:
        after = after_reading(user(upn="b@x.example", display_name="B" * 999), account(state), None, "t", "all", NOW)
        assert after is not None
        assert (after.upn, after.display_name) == ("b@x.example", "B" * 256)


@given(
    state=st.sampled_from(STATES),
    included=st.booleans(),
    guest=st.booleans(),
    enrol=st.sampled_from(["all", "none"]),
    drive=st.sampled_from([READABLE, NONE, CLOSED, GONE]),
    checked=st.sampled_from([None, NOW, NOW - DAY]),
    was=st.sampled_from(["", *STATES]),
)
def test_reading_twice_changes_nothing_more(
    state: str, included: bool, guest: bool, enrol: str, drive: UsersDrive, checked: Any, was: str
) -> None:
    """Whatever an account is like: after a reading the same list changes nothing, and what is its own stays."""
    before = account(state, included=included, no_drive_checked_at=checked, state_before=was if state == "left" else "")
    someone = user(guest=guest)

    def read(known: Account) -> Account:
        found = drive if asks_for_drive(someone, known, enrol, NOW) else None
        after = after_reading(someone, known, found, "t", enrol, NOW)
        assert after is not None
        return after

    first = read(before)
    assert read(first) == first
    own = {"included": first.included, "created_at": first.created_at, "schedule": first.schedule, "id": first.id}
    assert own == {name: getattr(before, name) for name in own}
    if first.state == "protected":
        assert first.included
        assert not guest
        assert before.state == "protected" or drive is READABLE or (drive is CLOSED and was == "protected")
