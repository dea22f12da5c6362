"""One tenant's operators and another tenant's things, over HTTP, as the platform's authentication passes people on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from support.api import operator, principal
from support.served import Served, served

from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation

HOME = "cccccccc-0000-4000-8000-000000000000"
NOBODYS = "dddddddd-0000-4000-8000-000000000000"


class Scene(NamedTuple):
    """Two tenants with a backed-up account each, in one installation. `theirs`: ids of what is the second's."""

    app: Served
    own: Any
    other: Any
    run: Any
    account: Any
    snapshot: str

    def ask(self, who: dict[str, str], method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"x-drivekeep-key": None, **who}
        return self.app.call(method, path, json=body, headers=headers)


@pytest.fixture(scope="module")
def scene(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    settings = {
        "DRIVEKEEP_TRUST_PRINCIPAL": "true",
        "DRIVEKEEP_HOME_TENANT": HOME,
        "DRIVEKEEP_ONBOARDING": "open",
    }
    home = tmp_path_factory.mktemp("isolation")
    with Simulation(users=1) as m365:
        other = m365.add_tenant("fabrikam.example", users=1)
        for user in (*m365.users, *other.users):
            user.drive.put_file("/Secret plans/plan.txt", b"of " + user.upn.encode())
        with served(m365, azurite, home, "--easy-auth", **settings) as app:
            for tenant in m365.tenants:
                m365.consent.tenant = tenant
                assert app.onboard().status_code == 200
                app.enrolled(tenant.id, 1)
            runs = [app.ask_run(tenant=tenant.id) for tenant in m365.tenants]
            done = [app.ended(run["id"]) for run in runs]
            assert [run["state"] for run in done] == ["complete"] * 2
            account = app.accounts(other.id)[other.users[0].upn]
            yield Scene(app, m365.tenant, other, done[1], account, done[1]["results"][0]["snapshot_id"])


def leading_to(tenant: str, account: str, run: str, snapshot: str) -> list[tuple[str, str, Any]]:
    """Every route that leads to something of a tenant's."""
    return [
        ("POST", "/api/runs", {"tenant": tenant}),
        ("POST", "/api/runs", {"tenant": tenant, "account": account}),
        ("POST", f"/api/runs/{run}/cancel", {}),
        ("GET", f"/api/runs?tenant={tenant}", None),
        ("GET", f"/api/runs/{run}", None),
        ("GET", f"/api/runs/{run}?limit=1&after={account}", None),
        ("GET", f"/api/tenants/{tenant}", None),
        ("PATCH", f"/api/tenants/{tenant}", {"paused": True}),
        ("POST", f"/api/tenants/{tenant}/approve", {}),
        ("GET", f"/api/tenants/{tenant}/accounts", None),
        ("GET", f"/api/accounts/{account}", None),
        ("PATCH", f"/api/accounts/{account}", {"included": False}),
        ("GET", f"/api/accounts/{account}/snapshots", None),
        ("GET", f"/api/accounts/{account}/snapshots/latest/items", None),
        ("GET", f"/api/accounts/{account}/snapshots/{snapshot}/items?path=Secret%20plans", None),
        ("GET", f"/api/audit?tenant={tenant}", None),
    ]


def test_everything_of_another_tenant_is_not_there(scene: Scene) -> None:
    """404 by every route, in every spelling, with the words for what nobody has; and nothing is changed."""
    mine = operator(scene.own.id)
    tenant, account, upn = scene.other.id, scene.account["id"], scene.account["upn"]
    audit = scene.app.items(f"/api/audit?tenant={tenant}")
    unknown = scene.run["id"].replace(tenant.replace("-", ""), NOBODYS.replace("-", ""))
    nobodys = leading_to(NOBODYS, NOBODYS, unknown, scene.snapshot)
    for spelt in (
        leading_to(tenant, account, scene.run["id"], scene.snapshot),
        leading_to(tenant.upper(), upn.upper(), scene.run["id"].upper(), scene.snapshot),
    ):
        for (method, path, body), (_, other, other_body) in zip(spelt, nobodys, strict=True):
            refused = scene.ask(mine, method, path, body)
            assert refused.status_code == 404, (method, path, refused.text)
            unknown_one = scene.ask(mine, method, other, other_body)
            assert {**refused.json(), "instance": ""} == {**unknown_one.json(), "instance": ""}, (method, path)
    assert scene.app.items(f"/api/audit?tenant={tenant}") == audit
    assert not scene.app.get(f"/api/tenants/{tenant}")["paused"]
    assert scene.app.get(f"/api/accounts/{account}")["included"]
    assert len(scene.app.items(f"/api/runs?tenant={tenant}")) == 1


def test_lists_and_pages_show_the_own_tenant_alone(scene: Scene) -> None:
    """What is listed without a tenant in the question, and the dashboard, hold nothing of the other's."""
    mine = operator(scene.own.id)
    for path in ("/api/runs", "/api/tenants", "/api/audit"):
        items = scene.ask(mine, "GET", path).json()["items"]
        assert items and {each.get("tenant", each["id"]) for each in items} == {scene.own.id}, path
    page = scene.ask(mine, "GET", "/")
    assert page.status_code == 200
    assert scene.own.domain in page.text
    for word in (scene.other.id, scene.other.domain, scene.other.display_name, scene.account["id"]):
        assert word not in page.text


def test_the_owner_and_the_home_tenant_see_it(scene: Scene) -> None:
    """The routes exist: whoever may is answered by each of them."""
    reads = leading_to(scene.other.id, scene.account["id"], scene.run["id"], scene.snapshot)
    for who in (operator(scene.other.id), operator(HOME)):
        for method, path, _ in reads:
            if method == "GET":
                assert scene.ask(who, method, path).status_code == 200, path
    found = scene.ask(operator(scene.other.id), *reads[-2][:2]).json()["items"]
    assert [each["path"] for each in found] == ["Secret plans/plan.txt"]


@pytest.mark.parametrize(
    ("who", "status"),
    [({}, 401), ({"X-MS-CLIENT-PRINCIPAL": "e30="}, 401), (principal(HOME), 403), (principal(HOME, "Reader"), 403)],
    ids=["nobody", "no principal", "no role", "another role"],
)
def test_who_is_no_operator_sees_nothing(who: dict[str, str], status: int, scene: Scene) -> None:
    """Every route is closed to them, even those of what is not there."""
    for tenant in (scene.other.id, NOBODYS):
        for method, path, body in leading_to(tenant, scene.account["id"], scene.run["id"], scene.snapshot):
            assert scene.ask(who, method, path, body).status_code == status, (method, path)


def test_a_page_of_another_site_changes_nothing(scene: Scene) -> None:
    """A person's browser, sent here by a foreign page, is refused; so is a body that a form could send."""
    who = operator(scene.other.id)
    path = f"/api/tenants/{scene.other.id}"
    foreign = scene.ask({**who, "Origin": "https://evil.example"}, "PATCH", path, {"paused": True})
    assert foreign.status_code == 403
    form = scene.app.call(
        "POST", "/api/runs", data="{}", headers={"x-drivekeep-key": None, **who, "Content-Type": "text/plain"}
    )
    assert form.status_code == 415
    assert not scene.app.get(path)["paused"]


def test_principals_are_dropped_without_easy_auth(scene: Scene, azurite: Azurite, tmp_path: Path) -> None:
    """Where no platform stands before the app, nobody is believed to be whom they say, whatever the settings say."""
    settings = {"DRIVEKEEP_TRUST_PRINCIPAL": "true", "DRIVEKEEP_HOME_TENANT": HOME, "WEBSITE_AUTH_ENABLED": "True"}
    with served(scene.app.m365, azurite, tmp_path, **settings) as app:
        assert app.call("GET", "/api/tenants", headers={"x-drivekeep-key": None, **operator(HOME)}).status_code == 401
