"""Reading an organisation's users: everybody is found once, in the right state, and nobody is lost."""

import threading
from collections import Counter
from typing import Any

import pytest
from support.enrolling import SlowDrives, asked_for_drives, assert_counts, home, listing, small_pages
from support.reception import Reception, reception

from backup_core.graph import users as graph_users
from backup_core.graph.items import normal_id
from backup_core.graph.users import UsersPage
from backup_core.onboarding import enrolment
from backup_core.onboarding.enrolment import enrol_page, may_be_read
from backup_core.registry.accounts import Account
from backup_core.registry.tenants import Tenant
from backup_core.testing.m365.faults import Status

_DAY = 24 * 3600


def test_everybody_with_a_drive(connected: Reception) -> None:
    """Members with a drive are protected, disabled and unlicensed ones too; guests and drive-less users are states."""
    tenant = connected.m365.tenant
    tenant.add_user("disabled", enabled=False)
    tenant.add_user("unlicensed", licensed=False)
    tenant.add_user("guest", guest=True, with_drive=False)
    for number, text in enumerate(("mysite-not-found", "mysite-url", "file-not-found", "no-licence")):
        tenant.add_user(f"none{number}", with_drive=False, no_drive_text=text)
    tenant.add_user("blocked").drive.blocked = True
    (result,) = connected.read_users(tenant.id)
    assert result == {"ok": True, "next": None, "users": 11, "added": 11, "changed": 0, "left": 0}
    states = connected.states(tenant.id)
    assert {name for name, state in states.items() if state == "no-drive"} == {
        "none0", "none1", "none2", "none3", "blocked",
    }  # fmt: skip
    assert [name for name, state in states.items() if state == "guest"] == ["guest_partner.example#EXT#"]
    assert Counter(states.values()) == {"protected": 5, "no-drive": 5, "guest": 1}
    assert connected.account(tenant.id, "disabled").drive_id == normal_id(tenant.user("disabled").drive.id)
    assert_counts(connected, tenant.id)
    stored = connected.tenant(tenant.id)
    assert (stored.users_read_at, stored.domain) == (connected.clock.now(), tenant.domain)
    added = [entry for entry in connected.audited(tenant.id) if entry.what == "account.add"]
    assert {entry.target for entry in added} == {user.id for user in tenant.users}


def test_reading_again_asks_for_nothing_more(connected: Reception) -> None:
    """An hour later nothing has changed: one list is read, no drive is asked for, and no account is written."""
    tenant = connected.m365.tenant
    tenant.add_user("none", with_drive=False)
    connected.read_users(tenant.id)
    before = connected.accounts(tenant.id), connected.audited(tenant.id)
    etags = [account.etag for account in before[0]]
    connected.m365.log.clear()
    connected.clock.advance(3600)
    (result,) = connected.read_users(tenant.id)
    assert (result["added"], result["changed"], result["left"]) == (0, 0, 0)
    assert asked_for_drives(connected) == []
    assert (connected.accounts(tenant.id), connected.audited(tenant.id)) == before
    assert [account.etag for account in connected.accounts(tenant.id)] == etags
    assert connected.tenant(tenant.id).users_read_at == connected.clock.now()


def test_a_drive_that_comes_later(connected: Reception) -> None:
    """Who has no drive is asked again a day later, without a line in the audit trail each time; then protected."""
    tenant = connected.m365.tenant
    user = tenant.add_user("late", with_drive=False)
    connected.read_users(tenant.id)
    trail = len(connected.audited(tenant.id))
    connected.clock.advance(_DAY)
    connected.read_users(tenant.id)
    assert connected.account(tenant.id, "late").no_drive_checked_at == connected.clock.now()
    assert len(connected.audited(tenant.id)) == trail
    tenant.directory.replace_drive(user.entry)
    connected.clock.advance(3600)
    connected.read_users(tenant.id)
    assert connected.account(tenant.id, "late").state == "no-drive"
    connected.clock.advance(_DAY)
    connected.read_users(tenant.id)
    assert connected.account(tenant.id, "late").state == "protected"
    assert len(connected.audited(tenant.id)) == trail + 1
    assert_counts(connected, tenant.id)


def test_leaving_and_returning(connected: Reception) -> None:
    """A leaver is marked and no longer due, keeps what is theirs, and continues when they return."""
    tenant = connected.m365.tenant
    connected.read_users(tenant.id)
    user = tenant.user("blake")
    before = connected.account(tenant.id, "blake")
    tenant.remove(user)
    connected.clock.advance(3600)
    (result,) = connected.read_users(tenant.id)
    assert result["left"] == 1
    left = connected.account(tenant.id, "blake")
    assert (left.state, left.due_at, left.drive_id) == ("left", None, before.drive_id)
    assert_counts(connected, tenant.id)
    assert connected.read_users(tenant.id)[0]["left"] == 0
    tenant.bring_back(user)
    connected.read_users(tenant.id)
    assert connected.account(tenant.id, "blake") == before
    assert_counts(connected, tenant.id)


def test_new_names(connected: Reception) -> None:
    """A changed user principal name is followed, and leads to the same account; two that swap names both do."""
    tenant = connected.m365.tenant
    connected.read_users(tenant.id)
    alex, blake = tenant.user("alex"), tenant.user("blake")
    tenant.rename(alex, f"x@{tenant.domain}")
    tenant.rename(blake, f"alex@{tenant.domain}")
    tenant.rename(alex, f"blake@{tenant.domain}")
    connected.read_users(tenant.id)
    find = connected.registry.accounts.find
    assert find(tenant.id, f"blake@{tenant.domain}").id == alex.id
    assert find(tenant.id, f"alex@{tenant.domain}").id == blake.id
    assert_counts(connected, tenant.id)


def test_enrol_none(connected: Reception) -> None:
    """Where an operator chooses, everybody starts as excluded, and no drive is asked for."""
    connected.enrol = "none"
    connected.read_users(home(connected))
    assert set(connected.states(home(connected)).values()) == {"excluded"}
    assert asked_for_drives(connected) == []
    assert_counts(connected, home(connected))


@pytest.mark.parametrize("status", [403, 423, 400])
def test_one_drive_that_is_refused(connected: Reception, status: int) -> None:
    """Stops nobody else; who was protected stays so, who is new is asked again tomorrow."""
    tenant = connected.m365.tenant
    user = tenant.user("blake")
    connected.m365.faults.add(match=rf"GET /v1\.0/users/{user.id}/drive", fault=Status(status))
    connected.read_users(tenant.id)
    states = connected.states(tenant.id)
    assert states == {"alex": "protected", "blake": "no-drive", "casey": "protected"}


def test_a_user_who_goes_while_read(connected: Reception) -> None:
    """A user who is gone before their turn comes is not added."""
    user = connected.m365.tenant.user("blake")
    gone = Status(404, {"error": {"code": "Request_ResourceNotFound", "message": "Resource 'x' does not exist."}})
    connected.m365.faults.add(match=rf"GET /v1\.0/users/{user.id}/drive", fault=gone)
    connected.read_users(home(connected))
    assert sorted(connected.states(home(connected))) == ["alex", "casey"]


def test_a_user_who_is_listed_twice(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graph may show somebody on two pages: they are asked about and counted once."""
    alex = connected.m365.tenant.user("alex")
    user = graph_users.User(alex.id, alex.upn, "Alex", False)
    listing(monkeypatch, UsersPage([user], "more"), UsersPage([user], ""))
    (result,) = connected.read_users(home(connected))
    assert (result["users"], result["added"], len(asked_for_drives(connected))) == (1, 1, 1)


def test_somebody_who_connects_while_users_are_read(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that somebody else has made or changed meanwhile is read again, and keeps what they put there."""
    tenant, accounts = connected.m365.tenant, connected.registry.accounts
    alex, real = tenant.user("alex"), graph_users.drive_of

    def drive_of(client: Any, user_id: str) -> Any:
        if user_id == alex.id:
            theirs = Account(alex.id, tenant.id, alex.upn, tags=("theirs",), state="pending")
            connected.registry.commit(tenant.id, lambda: accounts.changes(None, theirs))
        return real(client, user_id)

    monkeypatch.setattr(enrolment, "drive_of", drive_of)
    (result,) = connected.read_users(tenant.id)
    assert (result["ok"], result["added"], result["changed"]) == (True, 2, 1)
    assert connected.account(tenant.id, "alex").tags == ("theirs",)
    assert_counts(connected, tenant.id)


def test_who_comes_during_a_reading_has_not_left(connected: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who connects after the list was begun cannot be on it, and stays."""
    small_pages(monkeypatch, 2)
    SlowDrives(connected, monkeypatch, 50.0)
    cursor = enrol_page(connected, home(connected), None)["next"]
    accounts = connected.registry.accounts
    new = Account("new", home(connected), "new@x.example", created_at=connected.clock.now())
    connected.table.transact(home(connected), accounts.changes(None, new))
    while cursor:
        cursor = enrol_page(connected, home(connected), cursor)["next"]
    assert connected.account(home(connected), "new").state == "protected"
    connected.clock.advance(3600)
    connected.read_users(home(connected))
    assert connected.account(home(connected), "new").state == "left"


def test_whom_to_read() -> None:
    """Only tenants that have consented as an organisation, and are let in, have users to read."""
    with reception() as made:
        now = made.clock.now()
        assert may_be_read(Tenant("t", connected_at=now))
        assert not may_be_read(Tenant("t"))
        assert not may_be_read(Tenant("t", state="pending", connected_at=now))
        assert not may_be_read(None)
        made.registry.tenants.save(None, Tenant(made.m365.tenant.id))
        assert made.read_users(made.m365.tenant.id)[0]["next"] is None
        assert made.accounts(made.m365.tenant.id) == []


def test_an_unknown_master_key(connected: Reception) -> None:
    """Where the registry was made with another master key nothing is written."""
    connected.key_is_known = False
    with pytest.raises(RuntimeError):
        enrol_page(connected, home(connected), None)
    assert connected.accounts(home(connected)) == []


def test_eight_threads_at_once(connected: Reception) -> None:
    """Whoever reads the same users at the same time: each account is there once, and the counts are right."""
    for number in range(40):
        connected.m365.tenant.add_user(f"more{number:02d}")
    threads = [threading.Thread(target=enrol_page, args=(connected, home(connected), None)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connected.read_users(home(connected))
    assert len(connected.accounts(home(connected))) == 43
    assert_counts(connected, home(connected))


@pytest.mark.parametrize("after", range(1, 12))
def test_stopped_anywhere(connected: Reception, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Killed before any of its writes: what is there is consistent, and the next reading completes it."""
    small_pages(monkeypatch, 2)
    real, writes = connected.table.transact, [0]

    def transact(partition: str, changes: Any) -> None:
        writes[0] += 1
        if writes[0] >= after:
            raise KeyboardInterrupt
        real(partition, changes)

    connected.m365.tenant.add_user("more")
    monkeypatch.setattr(connected.table, "transact", transact)
    try:
        enrol_page(connected, home(connected), None)
    except KeyboardInterrupt:
        pass
    monkeypatch.setattr(connected.table, "transact", real)
    assert_counts(connected, home(connected))
    connected.read_users(home(connected))
    assert set(connected.states(home(connected)).values()) == {"protected"}
    assert len(connected.accounts(home(connected))) == 4
    assert_counts(connected, home(connected))
