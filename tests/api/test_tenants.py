"""`/api/tenants`: listing, pausing, letting in."""

import json
from dataclasses import replace

import pytest
from support.api import ANN, HOME, PROGRAM, A, Api, ApiService, B, add, operator

from backup_core.registry.accounts import Account
from backup_core.registry.tenants import Tenant

WAITING = "eeeeeeee-0000-4000-8000-000000000000"


@pytest.fixture
def waiting(service: ApiService) -> str:
    service.registry.tenants.save(
        None, Tenant(WAITING, "Waiting", "w.example", state="pending", connected_at=service.clock.now())
    )
    return WAITING


def test_a_tenant_has_what_the_contract_names(api: Api) -> None:
    """Every member, with the accounts counted by state."""
    document = api.get(f"/api/tenants/{A.upper()}").document
    assert document == {
        "id": A, "name": "Alpha", "domain": "alpha.example", "state": "connected", "paused": False, "destination": None,
        "connected_at": "2026-11-02T08:00:00.000Z", "accounts": {"protected": 1, "no-drive": 1},
    }  # fmt: skip


def test_pages_lead_to_each_other(api: Api) -> None:
    """Every tenant comes once, and the last page, filled to the brim, leads to no empty one."""
    for limit, pages in ((1, 3), (2, 2), (3, 1), (100, 1)):
        seen, url = [], f"/api/tenants?limit={limit}"
        count = 0
        while url:
            page = api.get(url).document
            seen += [tenant["id"] for tenant in page["items"]]
            url, count = page["next"], count + 1
        assert (seen, count) == ([A, B, HOME], pages)


def test_a_pause_stands_and_ends(service: ApiService, api: Api, woken: list) -> None:
    """Each change is kept and leaves a note; ending the pause looks at the lanes at once, pausing does not."""
    for paused, lanes in ((True, []), (False, [("lanes", A)])):
        service.clock.advance(1)
        reply = api.send("PATCH", f"/api/tenants/{A}", operator(A), json_body={"paused": paused})
        assert (reply.status, reply.document["paused"], woken) == (200, paused, lanes)
    rows = api.get(f"/api/audit?tenant={A}").document["items"]
    assert [(row["what"], row["target"], row["who"]) for row in rows] == [
        ("tenant.resume", A, "op@example.org"), ("tenant.pause", A, "op@example.org"),
    ]  # fmt: skip


def test_what_changes_nothing_leaves_no_note(api: Api, woken: list) -> None:
    """An empty change, or one to what it is already."""
    for body in ({}, {"paused": False}, {"destination": None}):
        assert api.send("PATCH", f"/api/tenants/{A}", PROGRAM, json_body=body).status == 200
    assert (api.get("/api/audit").document["items"], woken) == ([], [])


def test_a_destination_is_refused_with_its_reason(api: Api) -> None:
    """Not built yet, and nothing else of that request is done."""
    reply = api.send("PATCH", f"/api/tenants/{A}", PROGRAM, json_body={"destination": "vault", "paused": True})
    assert (reply.status, reply.document["reason"]) == (400, "not-built")
    assert "destination" in reply.document["detail"]
    assert api.get(f"/api/tenants/{A}").document["paused"] is False


def test_a_stale_version_changes_nothing(service: ApiService, api: Api) -> None:
    """If-Match of an older version is 412; of the present one, weakened or among others, it works."""
    old = api.get(f"/api/tenants/{A}").headers["etag"]
    assert (
        api.send("PATCH", f"/api/tenants/{A}", {**PROGRAM, "if-match": old}, json_body={"paused": True}).status == 200
    )
    stale = api.send("PATCH", f"/api/tenants/{A}", {**PROGRAM, "if-match": old}, json_body={"paused": False})
    assert (stale.status, stale.document["reason"]) == (412, "changed")
    assert service.registry.tenants.get(A).paused
    new = api.get(f"/api/tenants/{A}").headers["etag"]
    for tag in (f'"x", W/{new}', "*", new):
        assert api.send("PATCH", f"/api/tenants/{A}", {**PROGRAM, "if-match": tag}, json_body={}).status == 200


def test_only_who_sees_all_lets_a_tenant_in(api: Api, service: ApiService, waiting: str, woken: list) -> None:
    """Its own operator may not; the home tenant may: connected, its users to be read, enrolment under way."""
    url = f"/api/tenants/{waiting}/approve"
    assert api.send("POST", url, operator(waiting)).status == 403
    assert api.send("POST", url, operator(A)).status == 404
    assert (service.registry.tenants.get(waiting).state, woken) == ("pending", [])
    reply = api.send("POST", url, operator(HOME))
    assert (reply.status, reply.document["state"], woken) == (200, "connected", [("enrolment", waiting)])
    assert service.registry.tenants.get(waiting).users_read_at is None
    again = api.send("POST", url, PROGRAM, json_body={})
    assert (again.status, again.document["state"], len(woken)) == (200, "connected", 1)
    assert len(api.get(f"/api/audit?tenant={waiting}").document["items"]) == 1


def test_a_lost_consent_cannot_be_approved(api: Api, service: ApiService) -> None:
    """Only the tenant's administrator can give it again."""
    before = service.registry.tenants.get(A)
    service.registry.tenants.save(before, replace(before, state="consent-lost"))
    reply = api.send("POST", f"/api/tenants/{A}/approve", PROGRAM)
    assert (reply.status, reply.document["reason"]) == (409, "consent-lost")
    assert service.registry.tenants.get(A).state == "consent-lost"


def test_a_failing_wake_up_fails_no_answer(api: Api, waiting: str, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    """What the answer says has been done; the next tick does the rest. It is logged once."""
    from backup_core.triggers import lanes

    async def broken(*_arguments: object) -> None:
        raise ConnectionError("https://secret.example/?code=abc")

    monkeypatch.setattr(lanes, "start_enrolment", broken)
    assert api.send("POST", f"/api/tenants/{waiting}/approve", PROGRAM).status == 200
    (line,) = [json.loads(record.getMessage()) for record in caplog.records]
    assert line["error"] == "ConnectionError" and "secret" not in caplog.text


def test_who_waits_in_a_tenant_comes_in_with_it(api: Api, service: ApiService, woken: list) -> None:
    """Single people may have connected before: they are protected, and users that nobody consented to are not read."""
    service.registry.tenants.save(None, Tenant(WAITING, "Waiting", state="pending"))
    add(service, Account(ANN, WAITING, "ann@w.example", state="pending"))
    assert api.send("POST", f"/api/tenants/{WAITING}/approve", PROGRAM).document["accounts"] == {"protected": 1}
    assert woken == []
    assert service.registry.accounts.due(WAITING, service.clock.now(), 10) == [ANN]
