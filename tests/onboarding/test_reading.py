"""Reading a list of users that is long, slow, cut, refused or read twice at once: nothing is believed by halves."""

from collections import Counter
from typing import Any

import pytest
from support.enrolling import SlowDrives, asked_for_drives, assert_counts, home, listing, small_pages
from support.reception import Reception

from backup_core.graph.users import UsersPage
from backup_core.onboarding.enrolment import enrol_page
from backup_core.registry.table import Conflict
from backup_core.registry.tenants import CONNECTED, CONSENT_LOST
from backup_core.testing.m365.faults import Status

_DAY = 24 * 3600


def test_many_pages(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of several pages is read whole, each page once, and who is on any of them has not left."""
    small_pages(monkeypatch, 7)
    tenant = connected.m365.tenant
    for number in range(30):
        tenant.add_user(f"more{number:02d}")
    connected.read_users(tenant.id)
    assert len(connected.accounts(tenant.id)) == 33
    connected.m365.log.clear()
    tenant.remove(tenant.user("more11"))
    connected.clock.advance(60)
    (result,) = connected.read_users(tenant.id)
    lists = [each for each in connected.m365.log if each.path.endswith("/users")]
    assert (result["left"], len(lists), asked_for_drives(connected)) == (1, 5, [])
    assert Counter(connected.states(tenant.id).values()) == {"protected": 32, "left": 1}
    rows = connected.table.rows(tenant.id, "reading:", "reading;")
    assert list(rows) == []


def test_ends_within_a_minute(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes longer than a call may is handed back with a cursor; nobody is asked twice or forgotten."""
    small_pages(monkeypatch, 40)
    slow = SlowDrives(connected, monkeypatch, 1.0)
    tenant = connected.m365.tenant
    for number in range(97):
        tenant.add_user(f"more{number:02d}")
    cursor, calls, added = None, 0, 0
    while True:
        begun = connected.clock.monotonic()
        result = enrol_page(connected, tenant.id, cursor)
        assert connected.clock.monotonic() - begun <= 60
        calls, cursor, added = calls + 1, result["next"], added + result["added"]
        if cursor is None:
            break
        assert connected.tenant(tenant.id).users_read_at is None
    assert calls == 3
    assert set(slow.times.values()) == {1}
    assert added == len(slow.times) == len(connected.accounts(tenant.id)) == 100
    assert_counts(connected, tenant.id)


def test_slow_users_do_not_stop_it(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow: each call brings some users further."""
    SlowDrives(connected, monkeypatch, 50.0)
    for number in range(30):
        connected.m365.tenant.add_user(f"more{number:02d}")
    results = connected.read_users(home(connected))
    assert [result["added"] for result in results] == [16, 16, 1, 0]
    assert len(connected.accounts(home(connected))) == 33


def test_half_a_list_makes_nobody_leave(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the second page cannot be read nobody is marked; it goes on at that page, and then leavers are."""
    small_pages(monkeypatch, 2)
    tenant = connected.m365.tenant
    connected.read_users(tenant.id)
    tenant.remove(tenant.user("alex"))
    connected.clock.advance(60)
    connected.m365.faults.add(match=r"GET /v1\.0/users\?.*skiptoken", times=2, fault=Status(500))
    tenant.add_user("more1")
    result = enrol_page(connected, tenant.id, None)
    assert (result["ok"], result["reason"], result["retry_after"]) == (False, "unreachable", 30.0)
    assert "left" not in connected.states(tenant.id).values()
    assert connected.tenant(tenant.id).users_read_at < connected.clock.now()
    connected.read_users(tenant.id)
    assert connected.account(tenant.id, "alex").state == "left"


def test_an_empty_list_makes_nobody_leave(connected: Reception) -> None:
    """A list without anybody is no reason to end all backups."""
    connected.read_users(home(connected))
    connected.clock.advance(60)
    connected.m365.faults.add(match=r"GET /v1\.0/users\?", fault=Status(200, {"value": []}))
    connected.read_users(home(connected))
    assert set(connected.states(home(connected)).values()) == {"protected"}


def test_throttled(connected: Reception) -> None:
    """Throttling that lasts longer than a request waits comes back with the seconds to wait."""
    connected.m365.faults.add(match=r"GET /v1\.0/users\?", fault=Status(429, headers={"Retry-After": "300"}))
    result = enrol_page(connected, home(connected), None)
    assert (result["ok"], result["reason"], result["retry_after"]) == (False, "throttled", 300.0)


def test_a_list_that_goes_round(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends with a reason, not never; nobody is marked."""
    asked = listing(monkeypatch, UsersPage([], "again"), UsersPage([], "again"))
    result = enrol_page(connected, home(connected), None)
    assert (result["ok"], result["reason"], result["retry_after"]) == (False, "inconsistent", None)
    assert asked == ["", "again"]


def test_a_slow_registry_does_not_stop_it(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where reading what is known takes all of the time, each call brings some users further."""
    real = connected.registry.accounts.page

    def slow(*query: Any) -> Any:
        connected.clock.advance(50)
        return real(*query)

    monkeypatch.setattr(connected.registry.accounts, "page", slow)
    cursor = enrol_page(connected, home(connected), None)["next"]
    monkeypatch.undo()
    assert len(connected.accounts(home(connected))) == 3
    assert enrol_page(connected, home(connected), cursor)["next"] is None


def test_a_link_that_leads_elsewhere(connected: Reception) -> None:
    """No token goes to another host, whatever the list says."""
    page = {"value": [], "@odata.nextLink": "https://evil.example/v1.0/users"}
    connected.m365.faults.add(match=r"GET /v1\.0/users\?", fault=Status(200, page))
    result = enrol_page(connected, home(connected), None)
    assert (result["ok"], result["reason"]) == (False, "foreign-link")


def test_a_link_that_is_too_old(connected: Reception) -> None:
    """Is not tried again: the next reading begins anew."""
    body = {"error": {"code": "Directory_ExpiredPageToken", "message": "The specified page token has expired."}}
    connected.m365.faults.add(match=r"GET /v1\.0/users\?", fault=Status(400, body))
    result = enrol_page(connected, home(connected), None)
    assert (result["ok"], result["reason"], result["next"], result["retry_after"]) == (
        False,
        "inconsistent",
        None,
        None,
    )


def test_links_are_sealed(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """What leaves the activity, and what lies in the table, shows no link."""
    small_pages(monkeypatch, 2)
    SlowDrives(connected, monkeypatch, 50.0)
    result = enrol_page(connected, home(connected), None)
    assert result["next"]
    row = connected.table.get(home(connected), "reading")
    assert row is not None
    assert row.values["link"]
    for text in (str(result), str(row.values)):
        assert "http" not in text
        assert "skiptoken" not in text


def test_an_activity_that_runs_twice(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cursor used before goes on where the reading stands; one of a finished or replaced reading does nothing."""
    small_pages(monkeypatch, 2)
    slow = SlowDrives(connected, monkeypatch, 50.0)
    first = enrol_page(connected, home(connected), None)["next"]
    assert enrol_page(connected, home(connected), first)["next"] == first
    assert enrol_page(connected, home(connected), first)["next"] is None
    assert set(slow.times.values()) == {1}
    read_at = connected.tenant(home(connected)).users_read_at
    connected.clock.advance(60)
    row = connected.table.get(home(connected), "reading")
    assert enrol_page(connected, home(connected), first) == {
        "ok": True, "next": None, "users": 0, "added": 0, "changed": 0, "left": 0,
    }  # fmt: skip
    assert connected.tenant(home(connected)).users_read_at == read_at
    assert connected.table.get(home(connected), "reading") == row
    assert enrol_page(connected, home(connected), "of another")["next"] is None


def test_two_readings_at_once(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The later one takes the place of the earlier one, which ends without a word about leavers."""
    small_pages(monkeypatch, 2)
    SlowDrives(connected, monkeypatch, 50.0)
    first = enrol_page(connected, home(connected), None)["next"]
    second = enrol_page(connected, home(connected), None)["next"]
    row = connected.table.get(home(connected), "reading")
    assert enrol_page(connected, home(connected), first)["next"] is None
    assert connected.table.get(home(connected), "reading") == row
    while second:
        second = enrol_page(connected, home(connected), second)["next"]
    assert set(connected.states(home(connected)).values()) == {"protected"}


def test_busy_registry(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others are first again and again it is tried later, not given up."""

    def conflict(*_: Any) -> None:
        raise Conflict("Somebody else was first.")

    monkeypatch.setattr(connected.table, "transact", conflict)
    result = enrol_page(connected, home(connected), None)
    assert (result["ok"], result["reason"], result["retry_after"]) == (False, "conflict", 30.0)


def test_consent_that_was_lost(connected: Reception) -> None:
    """A tenant that has removed the app is marked, once; its accounts stay as they are."""
    tenant = connected.m365.tenant
    connected.read_users(tenant.id)
    connected.m365.consent.revoke(tenant)
    connected.clock.advance(2 * 3600)
    for _ in range(2):
        result = enrol_page(connected, tenant.id, None)
        if connected.tenant(tenant.id).state == CONNECTED:
            assert result["reason"] == "consent-lost"
    assert connected.tenant(tenant.id).state == CONSENT_LOST
    assert set(connected.states(tenant.id).values()) == {"protected"}
    assert [entry.what for entry in connected.audited(tenant.id)].count("tenant.consent-lost") == 1
    assert enrol_page(connected, tenant.id, None)["next"] is None


def test_consent_that_is_young(connected: Reception) -> None:
    """A server that does not know of the consent yet, within the hour, is asked again and costs nothing."""
    connected.m365.consent.revoke(connected.m365.tenant)
    result = enrol_page(connected, home(connected), None)
    assert (result["ok"], result["reason"], result["retry_after"]) == (False, "waiting", 30.0)
    assert connected.tenant(home(connected)).state == CONNECTED


def test_a_token_from_before_the_roles(connected: Reception) -> None:
    """A process that still has a token without roles gets a new one, and reads on."""
    tokens = connected.app_tokens(home(connected))
    roles, connected.m365.consent.roles = connected.m365.consent.roles, frozenset()
    connected.m365.consent.grant(connected.m365.tenant)
    tokens.token()
    connected.m365.consent.roles = roles
    connected.m365.consent.grant(connected.m365.tenant)
    connected.app_tokens = lambda _: tokens  # type: ignore[method-assign]
    (result,) = connected.read_users(home(connected))
    assert (result["ok"], result["added"]) == (True, 3)


def test_graph_refuses_for_good(connected: Reception) -> None:
    """A refusal that a new token does not cure is told, not tried for ever, and takes nobody's consent away."""
    connected.clock.advance(_DAY)
    connected.m365.faults.add(match=r"GET /v1\.0/users\?", times=2, fault=Status(403))
    result = enrol_page(connected, home(connected), None)
    assert (result["ok"], result["reason"], result["retry_after"]) == (False, "access-denied", None)
    assert connected.tenant(home(connected)).state == CONNECTED
