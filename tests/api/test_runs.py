"""`/api/runs`: asking for one, watching it, cancelling it."""

import threading
from dataclasses import replace

import pytest
from support.api import ANN, BOB, CID, PROGRAM, A, Api, ApiService, B, Reply, add, operator

from backup_core.registry.accounts import Account
from backup_core.registry.sealing import Sealer
from backup_core.runs.run import Result


def ask(api: Api, headers: dict[str, str] = PROGRAM, **wanted: object) -> Reply:
    return api.send("POST", "/api/runs", headers, json_body=wanted)


def work(service: ApiService, tenant: str, result: Result) -> str:
    """As a lane does with the next drive; whose it was."""
    claim = service.runs.claim_next(tenant, "lane-0")
    assert claim is not None
    service.runs.beat(tenant, claim.account, claim.token, {"items_done": 7, "bytes_done": 70})
    service.runs.finish(tenant, claim.account, claim.token, result)
    return claim.account


def test_a_run_is_accepted_and_shown(service: ApiService, api: Api, woken: list) -> None:
    """202 with the run and where it is shown; the tenant's lanes are looked at."""
    reply = ask(api, operator(A), tenant=A.upper(), account="ANN@alpha.example", tags=["x"], source="onedrive")
    run = reply.document
    assert (reply.status, reply.headers["location"], woken) == (202, f"/api/runs/{run['id']}", [("lanes", A)])
    assert run == {
        "id": run["id"], "tenant": A, "account": ANN, "trigger": "api", "state": "queued",
        "requested_at": "2026-11-02T08:00:00.000Z", "started_at": None, "finished_at": None,
        "progress": {"drives_total": 1, "drives_done": 0, "items_done": 0, "items_total": None, "bytes_done": 0,
                     "throttled_seconds": 0.0, "estimated_end_at": None},
        "results": [], "results_next": None,
    }  # fmt: skip
    assert api.get(reply.headers["location"].upper().replace("/API/RUNS", "/api/runs")).document == run
    claim = service.runs.claim_next(A, "lane-0")
    assert (claim.tags, claim.source, claim.account) == (("x",), "onedrive", ANN)


def test_results_are_shown_as_the_contract_has_them(service: ApiService, api: Api) -> None:
    """Figures and the beginnings of the lists, cut at 100; what failed says why."""
    failed = [{"path": f"a/{number}", "id": str(number), "reason": "malware"} for number in range(150)]
    url = ask(api, tenant=A, account=ANN).headers["location"]
    run_id = url.rpartition("/")[2]
    summary = {"files_new": 3, "complete": False, "items_failed": failed, "items_skipped": []}
    report = service.runs.reports.put(A, run_id, ANN, summary)
    work(service, A, Result("incomplete", "5" * 64, summary, report=report))
    (result,) = api.get(url).document["results"]
    assert (result["account"], result["upn"], result["state"]) == (ANN, "Ann@alpha.example", "incomplete")
    assert (result["snapshot_id"], result["error"]) == ("5" * 64, None)
    assert result["summary"] == {"files_new": 3, "complete": False, "items_failed": failed[:100], "items_skipped": []}
    assert api.get(url).document["progress"]["bytes_done"] == 70
    assert api.get("/api/runs").document["items"][0]["results"] == []
    second = ask(api, tenant=A, account=ANN).headers["location"]
    work(service, A, Result("failed", reason="drive-blocked", message="The drive is blocked."))
    run = api.get(second).document
    assert (run["state"], run["results"][0]["summary"]) == ("failed", None)
    assert run["results"][0]["error"] == {"reason": "drive-blocked", "message": "The drive is blocked."}


def test_a_lost_report_hides_no_result(service: ApiService, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lists are left out, not said to be empty; the same where the master key is another."""
    url = ask(api, tenant=A, account=ANN).headers["location"]
    lists = {"items_failed": [{"path": "a", "id": "1", "reason": "malware"}], "items_skipped": []}
    report = service.runs.reports.put(A, url.rpartition("/")[2], ANN, lists)
    work(service, A, Result("incomplete", "5" * 64, {"files_new": 3, **lists}, report=report))
    from backup_core.registry.master_key import MasterKey

    other = MasterKey(b"o" * 32)
    monkeypatch.setattr(service, "sealer", lambda purpose: Sealer(other, purpose))
    assert api.get(url).document["results"][0]["summary"] == {"files_new": 3}
    monkeypatch.undo()
    service.reports._store.delete(report)
    assert api.get(url).document["results"][0]["summary"] == {"files_new": 3}


def test_results_come_in_pages(service: ApiService, api: Api) -> None:
    """Each account once, by id, and the last page leads to no empty one."""
    accounts = [f"00000000-0000-4000-8000-{number:012}" for number in range(500, 507)]
    for account in accounts:
        add(service, Account(account, A, f"{account}@alpha.example", next_due_at=service.clock.now()))
    url = ask(api, tenant=A).headers["location"]
    for _ in range(8):
        work(service, A, Result("complete", "5" * 64, {"files_new": 1}))
    seen, there, pages = [], f"{url}?limit=4", 0
    while there:
        run = api.get(there).document
        seen += [result["account"] for result in run["results"]]
        there, pages = run["results_next"], pages + 1
    assert (seen, pages, run["state"]) == ([*accounts, ANN], 2, "complete") or (sorted(seen), pages) == (
        sorted([*accounts, ANN]),
        2,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"state": "excluded"}, "excluded"), ({"included": False}, "excluded"), ({"state": "left"}, "left")],
)
def test_targets_in_no_state_for_it(service: ApiService, api: Api, change: dict, reason: str) -> None:
    """409 with the reason, and nothing is woken."""
    account = service.registry.accounts.get(A, ANN)
    service.registry.commit(A, lambda: service.registry.accounts.changes(account, replace(account, **change)))
    reply = ask(api, tenant=A, account=ANN)
    assert (reply.status, reply.document["reason"]) == (409, reason)


def test_refusals_by_the_tenant(service: ApiService, api: Api, woken: list) -> None:
    """Without a drive, paused, pending, consent lost; unknown ones are 404."""
    assert (ask(api, tenant=A, account=CID).status, ask(api, tenant=A, account=BOB).status) == (409, 404)
    assert ask(api, tenant=A, account="nobody@alpha.example").status == 404
    assert ask(api, tenant="dddddddd-0000-4000-8000-000000000000").status == 404
    for change in ({"paused": True}, {"paused": False, "state": "pending"}, {"state": "consent-lost"}):
        tenant = service.registry.tenants.get(A)
        service.registry.tenants.save(tenant, replace(tenant, **change))
        reply = ask(api, tenant=A)
        assert (reply.status, reply.document["reason"]) == (409, change.get("state", "paused"))
    assert woken == []


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({}, "tenant"), ({"tenant": "x"}, "tenant"), ({"tenant": None}, "tenant"),
        ({"tenant": A, "account": "x"}, "account"),
        ({"tenant": A, "account": f"{ANN}\n"}, "account"), ({"tenant": A, "source": "sharepoint"}, "source"),
        ({"tenant": A, "dry_run": "yes"}, "dry_run"), ({"tenant": A, "tags": "x"}, "tags"),
        ({"tenant": A, "tag": []}, "tag"),
    ],
)  # fmt: skip
def test_a_bad_wish_names_its_field(api: Api, wanted: dict, field: str) -> None:
    """400 with the field's name in the detail."""
    reply = ask(api, **wanted)
    assert (reply.status, field in reply.document["detail"]) == (400, True)


def test_a_drive_is_not_backed_up_twice(api: Api) -> None:
    """Fifty requests at once, in both spellings of the account, are answered with one run."""
    replies: list[Reply] = []

    def once(number: int) -> None:
        account = ANN.upper() if number % 2 else "ann@ALPHA.example"
        replies.append(ask(api, tenant=A, account=account))

    threads = [threading.Thread(target=once, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {reply.status for reply in replies} == {202}
    assert len({reply.document["id"] for reply in replies}) == 1
    assert len(api.get("/api/runs").document["items"]) == 1


def test_a_cancelled_run_begins_nothing_more(service: ApiService, api: Api) -> None:
    """202 and the run; its waiting drives end as cancelled; to do it again, or too late, changes nothing."""
    run = ask(api, tenant=A, account=ANN).document
    for body in (None, {}):
        reply = api.send(
            "POST", f"/api/runs/{run['id']}/cancel", operator(A), **({} if body is None else {"json_body": body})
        )
        assert (reply.status, reply.document["state"]) == (202, "failed")
    (result,) = api.get(f"/api/runs/{run['id']}").document["results"]
    assert result["error"]["reason"] == "cancelled"
    assert service.runs.claim_next(A, "lane-0") is None
    notes = [row["what"] for row in api.get(f"/api/audit?tenant={A}").document["items"]]
    assert notes.count("run.cancel") == 1


def test_runs_are_listed_newest_first(service: ApiService, api: Api) -> None:
    """Of one tenant or of all, in pages, each run once."""
    ids = []
    for tenant, account in ((A, ANN), (B, BOB)) * 3:
        ids.insert(0, ask(api, tenant=tenant, account=account).document["id"])
        work(service, tenant, Result("complete", "5" * 64))
        service.clock.advance(1)
    for question, expected in (("", ids), (f"tenant={B}&", ids[::2]), (f"tenant={A.upper()}&", ids[1::2])):
        seen, there = [], f"/api/runs?{question}limit=2"
        while there:
            page = api.get(there).document
            seen += [run["id"] for run in page["items"]]
            there = page["next"]
        assert seen == expected
    assert [run["id"] for run in api.get("/api/runs", operator(A)).document["items"]] == ids[1::2]
    assert api.get("/api/runs?tenant=x").status == 400 and api.get("/api/runs?after=x").status == 400


def test_unknown_runs_do_not_exist(api: Api) -> None:
    """An id that nobody has, of the caller's own tenant."""
    run = f"{A.replace('-', '')}-{'f' * 20}"
    for method, url in (("GET", f"/api/runs/{run}"), ("POST", f"/api/runs/{run}/cancel")):
        assert api.send(method, url, operator(A)).status == 404
