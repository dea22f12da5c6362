"""What belongs to another tenant answers as if it did not exist, and nothing of it is read."""

from collections.abc import Iterator, Mapping, Sequence

import pytest
from support.api import ANN, BOB, HOME, PROGRAM, A, Api, ApiService, B, add, environment, filled, operator

from backup_core.registry.accounts import Account
from backup_core.registry.table import Row, Value
from backup_core.testing.memory_table import MemoryTable

NOBODYS = "dddddddd-0000-4000-8000-000000000000"


class RecordingTable(MemoryTable):
    """Notes every partition that is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, partition: str, key: str) -> Row | None:
        self.read.append(partition)
        return super().get(partition, key)

    def rows(
        self,
        partition: str,
        first: str,
        before: str,
        *,
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        where: Mapping[str, Value] | None = None,
    ) -> Iterator[Row]:
        self.read.append(partition)
        return super().rows(partition, first, before, limit=limit, columns=columns, where=where)


@pytest.fixture
def table(service: ApiService, api: Api) -> RecordingTable:
    """The filled registry again, over a table that remembers; with a run of each tenant."""
    table = RecordingTable()
    again = ApiService(environment(), service.settings.folder, service.clock, table)
    filled(again)
    api.service = again
    return table


def of(tenant: str, account: str, run: str) -> list[tuple[str, str, dict | None]]:
    """Every route that leads to something of a tenant's."""
    return [
        ("POST", "/api/runs", {"tenant": tenant}),
        ("POST", "/api/runs", {"tenant": tenant, "account": account}),
        ("POST", f"/api/runs/{run}/cancel", {}),
        ("GET", f"/api/runs?tenant={tenant}", None),
        ("GET", f"/api/runs/{run}", None),
        ("GET", f"/api/runs/{run}?after={account}", None),
        ("GET", f"/api/tenants/{tenant}", None),
        ("PATCH", f"/api/tenants/{tenant}", {"paused": True}),
        ("POST", f"/api/tenants/{tenant}/approve", {}),
        ("GET", f"/api/tenants/{tenant}/accounts", None),
        ("GET", f"/api/tenants/{tenant}/accounts?state=protected", None),
        ("GET", f"/api/accounts/{account}", None),
        ("PATCH", f"/api/accounts/{account}", {"included": False}),
        ("GET", f"/api/accounts/{account}/snapshots", None),
        ("GET", f"/api/accounts/{account}/snapshots/latest/items?path=", None),
        ("GET", f"/api/audit?tenant={tenant}", None),
    ]


def test_another_tenants_things_do_not_exist(service: ApiService, api: Api, table: RecordingTable) -> None:
    """404 on every route, by id and by name, and word for word the same as for what nobody has; nothing is read."""
    run = api.send("POST", "/api/runs", PROGRAM, json_body={"tenant": B, "account": BOB}).document["id"]
    before = [table.get(B, row.key) for row in table.rows(B, "!", "~")]
    nobodys_run = run.replace(run.partition("-")[0], NOBODYS.replace("-", ""))
    for account in (BOB, "bob@beta.example"):
        theirs = of(B, account, run)
        nobodys = of(NOBODYS, "00000000-0000-4000-8000-999999999999", nobodys_run)
        for (method, url, body), (_, other, other_body) in zip(theirs, nobodys, strict=True):
            table.read.clear()
            reply = api.send(method, url, operator(A), **({} if body is None else {"json_body": body}))
            assert reply.status == 404, (method, url)
            assert B not in table.read, (method, url)
            like = api.send(method, other, operator(A), **({} if body is None else {"json_body": other_body}))
            assert {**reply.document, "instance": ""} == {**like.document, "instance": ""}, (method, url)
            assert {**reply.headers} == {**like.headers}
    assert [table.get(B, row.key) for row in table.rows(B, "!", "~")] == before


def test_the_same_requests_work_for_the_owner(service: ApiService, api: Api, table: RecordingTable) -> None:
    """The routes above exist: the tenant's own operator, the home tenant and a program get no 404 there."""
    for who in (operator(B), operator(HOME), PROGRAM):
        run = api.send("POST", "/api/runs", PROGRAM, json_body={"tenant": B, "account": BOB}).document["id"]
        for method, url, body in of(B, BOB, run):
            reply = api.send(method, url, who, **({} if body is None else {"json_body": body}))
            expected = {200, 202}
            if url.endswith("approve") and who == operator(B):
                expected = {403}
            elif "items" in url:
                expected = {404}  # no repository yet
            elif url == "/api/runs" and body:
                expected = {202, 409}  # it has been paused and left out below
            assert reply.status in expected, (method, url, reply)
        api.send("PATCH", f"/api/tenants/{B}", PROGRAM, json_body={"paused": False})
        api.send("PATCH", f"/api/accounts/{BOB}", PROGRAM, json_body={"included": True})


def test_lists_hold_only_the_own(service: ApiService, api: Api, table: RecordingTable) -> None:
    """Without a tenant in the question the answer is the caller's own, and another's partition is not opened."""
    for tenant, account in ((A, ANN), (B, BOB)):
        api.send("POST", "/api/runs", PROGRAM, json_body={"tenant": tenant, "account": account})
        api.send("PATCH", f"/api/accounts/{account}", PROGRAM, json_body={"tags": ["x"]})
    table.read.clear()
    for url in ("/api/runs", "/api/tenants", "/api/audit"):
        items = api.get(url, operator(A)).document["items"]
        assert items and {item.get("tenant", item["id"]) for item in items} == {A}, url
    assert B not in table.read and HOME not in table.read
    assert {run["tenant"] for run in api.get("/api/runs", operator(HOME)).document["items"]} == {A, B}


def test_a_position_of_another_tenant_leads_nowhere(service: ApiService, api: Api, table: RecordingTable) -> None:
    """`after` may name anything: the list stays the caller's own."""
    run = api.send("POST", "/api/runs", PROGRAM, json_body={"tenant": B, "account": BOB}).document["id"]
    table.read.clear()
    assert api.get(f"/api/runs?after={run}", operator(A)).status in (200, 400)
    assert api.get(f"/api/tenants?after={HOME}", operator(A)).document["items"] == []
    assert api.get(f"/api/tenants/{A}/accounts?after={BOB}", operator(A)).status == 200
    assert B not in table.read


def test_two_tenants_may_have_one_account_id(service: ApiService, api: Api) -> None:
    """An operator whose tenant has the id too gets that one, never the other's."""
    add(service, Account(BOB, A, "bob@alpha.example", "Other Bob"))
    assert api.get(f"/api/accounts/{BOB}", operator(A)).document["tenant"] == A
    assert api.get(f"/api/accounts/{BOB}", operator(B)).document["tenant"] == B
