"""Health and audit."""

import json

import pytest
from support.api import ANN, BOB, HOME, PROGRAM, A, Api, ApiService, B, operator, principal

from backup_core import __version__
from backup_core.service import Problem

KEY_MISSING = Problem("master-key", "DRIVEKEEP_MASTER_KEY is not set.", "Set it.")


def test_health_tells_anyone_whether_and_operators_why(service: ApiService, api: Api) -> None:
    """200 also when degraded; the reasons are for operators alone, a bad key or principal is only nobody."""
    assert api.get("/api/health", {}).document == {"status": "ok", "version": __version__}
    service.found.append(KEY_MISSING)
    for who in ({}, {"x-drivekeep-key": "wrong"}, {"X-MS-CLIENT-PRINCIPAL": "?"}, principal(A)):
        reply = api.get("/api/health", who)
        assert (reply.status, reply.document) == (200, {"status": "degraded", "version": __version__})
    for who in (PROGRAM, operator(A), operator(HOME)):
        assert api.get("/api/health", who).document["problems"] == [KEY_MISSING._asdict()]


def test_the_app_answers_without_a_master_key(service: ApiService, api: Api, tmp_path) -> None:
    """Health, and everything that needs no key."""
    bare = ApiService({"DRIVEKEEP_API_KEY": "k", "DRIVEKEEP_STORAGE": "x"}, tmp_path, service.clock, service._table)
    api.service = bare
    program = {"x-drivekeep-key": "k"}
    assert api.get("/api/health", {}).status == 200
    for url in ("/api/tenants", f"/api/tenants/{A}/accounts", f"/api/accounts/{ANN}", "/api/runs", "/api/audit"):
        assert api.get(url, program).status == 200, url


def test_the_audit_of_all_is_in_one_order(service: ApiService, api: Api) -> None:
    """Newest first whichever tenant it is of, in pages, each entry once."""
    for number in range(7):
        account = (ANN, BOB)[number % 2]
        api.send("PATCH", f"/api/accounts/{account}", PROGRAM, json_body={"tags": [str(number)]})
        service.clock.advance(1)
    for question, expected in (("", "6543210"), (f"tenant={A}&", "6420"), (f"tenant={B.upper()}&", "531")):
        for limit in (1, 2, 7, 100):
            seen, there = "", f"/api/audit?{question}limit={limit}"
            while there:
                page = api.get(there).document
                seen += "".join(row["details"]["tags"][0] for row in page["items"])
                there = page["next"]
            assert seen == expected, (question, limit)


def test_a_value_of_the_registry_that_is_none_is_no_answer(service: ApiService, api: Api, caplog) -> None:
    """What the description does not have is an error here, told under its id, not a surprise there."""
    from dataclasses import replace

    account = service.registry.accounts.get(A, ANN)
    service.registry.commit(A, lambda: service.registry.accounts.changes(account, replace(account, state="odd")))
    reply = api.get(f"/api/accounts/{ANN}")
    assert (reply.status, reply.document["reason"]) == (500, "internal")
    assert json.loads(caplog.records[0].getMessage())["correlation"] == reply.document["correlation"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_what_is_not_there_is_said_as_a_problem(api: Api, method: str) -> None:
    """An address under /api that no route has, with whatever method."""
    for url in ("/api/nothing", "/api/runs/1/2/3", "/api/"):
        reply = api.send(method, url, {})
        assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json"), url
        assert (reply.document["reason"], reply.document["instance"]) == ("not-found", url)
    assert api.send("DELETE", "/api/runs", PROGRAM).document["status"] == 404
