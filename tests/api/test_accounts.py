"""`/api/accounts`: who is protected, and what an operator changes."""

import datetime
import threading
from dataclasses import replace

import pytest
from support.api import ANN, BOB, CID, HOME, PROGRAM, A, Api, ApiService, B, add, operator

from backup_core.onboarding.connect import PERSONAL_TENANT
from backup_core.registry.accounts import Account, LastRun
from backup_core.registry.tenants import Tenant

URL = f"/api/accounts/{ANN}"


def patch(api: Api, body: object, headers: dict[str, str] = PROGRAM, account: str = ANN):
    return api.send("PATCH", f"/api/accounts/{account}", headers, json_body=body)


def test_an_account_has_what_the_contract_names(api: Api) -> None:
    """Every member, found by id in any case and by its name in any case."""
    for name in (ANN, ANN.upper(), "ann@alpha.example", "ANN%40ALPHA.EXAMPLE"):
        assert api.get(f"/api/accounts/{name}", operator(A)).document == {
            "id": ANN, "tenant": A, "upn": "Ann@alpha.example", "display_name": "Ann", "drive_id": "b!1",
            "state": "protected", "included": True, "schedule": None, "exclude": [], "tags": [], "last_run": None,
            "last_success_at": None, "next_due_at": "2026-11-02T08:00:00.000Z", "repository": None,
        }  # fmt: skip
    assert api.get(f"/api/accounts/{BOB}").document["last_run"] == {
        "id": "r", "state": "complete", "finished_at": "2026-11-02T08:00:00.000Z",
    }  # fmt: skip


def test_accounts_are_listed_by_state(api: Api) -> None:
    """All, or those of one state; pages lead to each other with the same question."""
    assert [each["id"] for each in api.get(f"/api/tenants/{A}/accounts").document["items"]] == [ANN, CID]
    assert [each["id"] for each in api.get(f"/api/tenants/{A}/accounts?state=no-drive").document["items"]] == [CID]
    assert api.get(f"/api/tenants/{A}/accounts?state=unknown").status == 400
    page = api.get(f"/api/tenants/{A}/accounts?limit=1&state=protected").document
    assert page["next"] is None
    page = api.get(f"/api/tenants/{A}/accounts?limit=1").document
    assert [each["id"] for each in api.get(page["next"]).document["items"]] == [CID]


def test_an_account_is_left_out_and_taken_in_again(service: ApiService, api: Api) -> None:
    """Excluded accounts are not due; one that was never saved is due at once when it is back."""
    reply = patch(api, {"included": False})
    assert (reply.document["state"], reply.document["included"], reply.document["next_due_at"]) == (
        "excluded",
        False,
        None,
    )
    assert service.registry.accounts.counts(A).states == {"excluded": 1, "no-drive": 1}
    service.clock.advance(3600)
    reply = patch(api, {"included": True})
    assert (reply.document["state"], reply.document["next_due_at"]) == ("protected", "2026-11-02T09:00:00.000Z")
    assert service.registry.accounts.due(A, service.clock.now(), 10) == [ANN]


def test_a_saved_account_comes_back_at_its_next_time(service: ApiService, api: Api) -> None:
    """It is not backed up again at once only because it was away."""
    account = service.registry.accounts.get(A, ANN)
    saved = replace(
        account, last_success_at=service.clock.now(), last_run=LastRun("r", "complete", service.clock.now())
    )
    service.registry.commit(A, lambda: service.registry.accounts.changes(account, saved))
    patch(api, {"included": False})
    due = patch(api, {"included": True}).document["next_due_at"]
    assert "2026-11-03T02:00" <= due < "2026-11-03T06:00"


@pytest.mark.parametrize("state", ["left", "guest"])
def test_facts_stay_facts(service: ApiService, api: Api, state: str) -> None:
    """Nobody who left, and no guest, is protected because somebody wants it."""
    account = service.registry.accounts.get(A, ANN)
    service.registry.commit(A, lambda: service.registry.accounts.changes(account, replace(account, state=state)))
    for included in (False, True):
        assert patch(api, {"included": included}).document["state"] == state


def test_who_waits_is_let_in_by_who_sees_all(service: ApiService, api: Api) -> None:
    """A person who connected from outside waits for the home tenant, not for an operator of their own."""
    account = service.registry.accounts.get(A, ANN)
    service.registry.commit(A, lambda: service.registry.accounts.changes(account, replace(account, state="pending")))
    reply = patch(api, {"included": True}, operator(A))
    assert (reply.status, reply.document["reason"]) == (403, "not-home")
    assert patch(api, {"included": True}, operator(HOME)).document["state"] == "protected"


def test_a_personal_account_is_found_by_who_sees_all(service: ApiService, api: Api) -> None:
    """Its tenant belongs to nobody, so that no tenant's operator sees it."""
    service.registry.tenants.save(None, Tenant(PERSONAL_TENANT, "Personal accounts"))
    add(service, Account("00000000-0000-0000-aaaa-bbbbbbbbbbbb", PERSONAL_TENANT, "me@outlook.com"))
    for who, status in ((PROGRAM, 200), (operator(HOME), 200), (operator(A), 404), (operator(PERSONAL_TENANT), 404)):
        assert api.get("/api/accounts/me@outlook.com", who).status == status
        assert api.get(f"/api/tenants/{PERSONAL_TENANT}/accounts", who).status == status
    assert api.get("/api/tenants", operator(PERSONAL_TENANT)).document["items"] == []


@pytest.mark.parametrize("consented_at", [None, datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)])
def test_nobody_is_let_in_before_their_tenant(
    service: ApiService, api: Api, consented_at: datetime.datetime | None
) -> None:
    """The first of single people brings their tenant in; where the organisation waits itself, it comes first."""
    tenant = service.registry.tenants.get(A)
    service.registry.tenants.save(tenant, replace(tenant, state="pending", connected_at=consented_at))
    account = service.registry.accounts.get(A, ANN)
    service.registry.commit(A, lambda: service.registry.accounts.changes(account, replace(account, state="pending")))
    reply = patch(api, {"included": True})
    if consented_at is None:
        assert (reply.status, reply.document["state"]) == (200, "protected")
        assert service.registry.tenants.get(A).state == "connected"
        rows = api.get(f"/api/audit?tenant={A}").document["items"]
        assert {row["what"] for row in rows} == {"tenant.approve", "account.change"}
    else:
        assert (reply.status, reply.document["reason"]) == (409, "pending")
        assert api.get(URL).document["state"] == "pending"


def test_leaving_out_is_no_way_round_an_approval(service: ApiService, api: Api) -> None:
    """Who was left out while they waited waits again, until somebody who may lets them in."""
    account = service.registry.accounts.get(A, ANN)
    service.registry.commit(A, lambda: service.registry.accounts.changes(account, replace(account, state="pending")))
    assert patch(api, {"included": False}, operator(A)).document["state"] == "excluded"
    reply = patch(api, {"included": True}, operator(A)).document
    assert (reply["state"], reply["included"], reply["next_due_at"]) == ("pending", True, None)
    patch(api, {"included": False}, operator(A))
    assert patch(api, {"included": True}, operator(HOME)).document["state"] == "protected"


def test_a_schedule_is_checked_and_moves_the_next_time(service: ApiService, api: Api) -> None:
    """A cron of five fields, kept in one spelling; null follows the default again."""
    account = service.registry.accounts.get(A, ANN)
    saved = replace(
        account, last_success_at=service.clock.now(), last_run=LastRun("r", "complete", service.clock.now())
    )
    service.registry.commit(A, lambda: service.registry.accounts.changes(account, saved))
    reply = patch(api, {"schedule": "0  12 * * SUN"})
    assert reply.document["schedule"] == "0 12 * * sun"
    assert reply.document["next_due_at"] > "2026-11-08T12:00"
    for bad in ("", "x", "0 2 * *", "0 0 2 * * *", "60 * * * *", "0 2 30 2 *", "* " * 50, "@daily", "0 2 * * *\n0"):
        reply = patch(api, {"schedule": bad})
        assert (reply.status, "schedule" in reply.document["detail"]) == (400, True), bad
    reply = patch(api, {"schedule": None})
    assert (reply.document["schedule"], reply.document["next_due_at"] < "2026-11-03T06:00") == (None, True)


def test_tags_are_kept_once_each(api: Api) -> None:
    """In the order in which they came; too many, or with a comma, they are refused."""
    assert patch(api, {"tags": ["b", "a", "b"]}).document["tags"] == ["b", "a"]
    for bad in ([""], ["a,b"], ["a\n"], ["x" * 101], [str(number) for number in range(21)], "a", [1], [None]):
        reply = patch(api, {"tags": bad})
        assert (reply.status, "tags" in reply.document["detail"]) == (400, True), bad
    assert patch(api, {"tags": []}).document["tags"] == []


def test_exclusions_are_refused_with_their_reason(api: Api) -> None:
    """Not built yet, and nothing else of that request is done."""
    reply = patch(api, {"exclude": ["*.tmp"], "included": False})
    assert (reply.status, reply.document["reason"]) == (400, "not-built")
    assert api.get(URL).document["included"] is True


def test_a_change_and_its_note_are_one(api: Api) -> None:
    """What was changed, by whom, whose; nothing where nothing changed."""
    patch(api, {"tags": ["x"], "included": True}, operator(A))
    patch(api, {"tags": ["x"]}, operator(A))
    (row,) = api.get(f"/api/audit?tenant={A}").document["items"]
    assert row == {
        "id": row["id"], "at": "2026-11-02T08:00:00.000Z", "tenant": A, "who": "op@example.org",
        "what": "account.change", "target": ANN,
        "details": {"tags": ["x"], "included": True},
    }  # fmt: skip


def test_a_stale_version_changes_nothing(service: ApiService, api: Api) -> None:
    """GET and PATCH carry the version; who has seen an older one is told so, whatever changed since."""
    seen = api.get(URL).headers["etag"]
    reply = patch(api, {"tags": ["a"]}, {**PROGRAM, "if-match": seen})
    assert (reply.status, reply.headers["etag"] != seen) == (200, True)
    assert reply.headers["etag"] == api.get(URL).headers["etag"]
    stale = patch(api, {"tags": ["b"]}, {**PROGRAM, "if-match": seen})
    assert (stale.status, stale.document["reason"]) == (412, "changed")
    assert api.get(URL).document["tags"] == ["a"]


def test_of_many_who_saw_the_same_one_wins(service: ApiService, api: Api) -> None:
    """Sixteen changes with one If-Match at once: one is done, the others are told."""
    seen, statuses = api.get(URL).headers["etag"], []

    def change(number: int) -> None:
        statuses.append(patch(api, {"tags": [str(number)]}, {**PROGRAM, "if-match": seen}).status)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [412] * 15
    assert len(api.get("/api/audit").document["items"]) == 1


def test_changes_of_different_things_do_not_undo_each_other(service: ApiService, api: Api) -> None:
    """Without If-Match each request changes what it names, whoever else writes meanwhile."""
    bodies = [{"tags": ["x"]}, {"schedule": "0 5 * * *"}] * 4
    threads = [threading.Thread(target=patch, args=(api, body)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    document = api.get(URL).document
    assert (document["tags"], document["schedule"]) == (["x"], "0 5 * * *")


def test_due_rows_follow(service: ApiService, api: Api) -> None:
    """The tick sees what the API shows."""
    patch(api, {"included": False})
    assert service.registry.accounts.due(A, service.clock.now() + datetime.timedelta(days=9), 10) == []
    assert service.registry.accounts.due(B, service.clock.now(), 10) == []
