"""Who is let in, as the installation decides: by HTTP alone, with every account's way from waiting to a snapshot."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.served import Served, served

from backup_core.onboarding.connect import PERSONAL_TENANT
from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation


def operator(tenant: str) -> dict[str, str]:
    """As App Service authentication passes one on."""
    claims = [{"typ": "tid", "val": tenant}, {"typ": "roles", "val": "Operator"}]
    document = {"auth_typ": "aad", "claims": claims, "name_typ": "name", "role_typ": "roles"}
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(document).encode()).decode(), "x-drivekeep-key": ""}


@pytest.fixture
def app(azurite: Azurite, tmp_path: Path) -> Iterator[Served]:
    """An installation whose home is the simulation's first tenant; others wait for approval."""
    with (
        Simulation(users=1) as m365,
        served(
            m365,
            azurite,
            tmp_path / "home",
            "--easy-auth",
            DRIVEKEEP_HOME_TENANT=m365.tenant.id,
            DRIVEKEEP_TRUST_PRINCIPAL="true",
        ) as app,
    ):
        yield app


def status(app: Served, method: str, path: str, body: Any = None, who: dict[str, str] | None = None) -> tuple[int, str]:
    response = app.call(method, path, body, headers=who or {})
    return response.status_code, response.json().get("reason", response.json().get("state", ""))


def backed_up(app: Served, account: str) -> bool:
    """Within a tick."""
    app.tick()
    app.wait_for(lambda: app.get(f"/api/accounts/{account}")["last_success_at"])
    return bool(app.items(f"/api/accounts/{account}/snapshots"))


def test_a_foreign_organisation_waits_until_it_is_approved(app: Served) -> None:
    """It is pending under a name that says which it is, with nobody enrolled, until the home tenant approves it."""
    foreign = app.m365.add_tenant("fabrikam.example", users=2)
    app.m365.consent.tenant = foreign
    assert app.onboard().status_code == 200
    url = f"/api/tenants/{foreign.id}"
    tenant = app.get(url)
    assert (tenant["state"], tenant["domain"], tenant["accounts"]) == ("pending", "fabrikam.example", {})
    app.tick()
    assert status(app, "POST", "/api/runs", {"tenant": foreign.id}) == (409, "pending")
    assert status(app, "POST", f"{url}/approve", {}, operator(foreign.id))[0] == 403
    assert app.get(url)["accounts"] == {}
    assert status(app, "POST", f"{url}/approve", {}, operator(app.m365.tenant.id)) == (200, "connected")
    assert {each["state"] for each in app.enrolled(foreign.id, 2).values()} == {"protected"}
    assert backed_up(app, foreign.users[0].id)
    assert backed_up(app, foreign.users[1].id)
    assert len(app.items(f"/api/runs?tenant={foreign.id}")) == 1


@pytest.mark.parametrize("personal", [False, True], ids=["work", "personal"])
def test_a_single_person_waits_until_they_are_let_in(app: Served, personal: bool) -> None:
    """Their own tenant's operator cannot do it, by no way; the home tenant's can, and then they are backed up."""
    theirs = app.m365.add_personal(users=1) if personal else app.m365.add_tenant("fabrikam.example", users=1)
    (person,) = theirs.users
    app.m365.authorize.user = person
    assert app.connect().status_code == 200
    url = f"/api/accounts/{person.id}"
    assert (theirs.id == PERSONAL_TENANT) is personal
    assert app.get(url)["state"] == "pending"
    assert status(app, "POST", "/api/runs", {"tenant": theirs.id, "account": person.id}) == (409, "pending")
    for included in (True, False, True):
        status(app, "PATCH", url, {"included": included}, operator(theirs.id))
        assert app.get(url)["state"] != "protected"
    if personal:
        assert status(app, "GET", url, who=operator(PERSONAL_TENANT))[0] == 404
    assert status(app, "PATCH", url, {"included": True}, operator(app.m365.tenant.id)) == (200, "protected")
    assert app.get(f"/api/tenants/{theirs.id}")["state"] == "connected"
    assert backed_up(app, person.id)
