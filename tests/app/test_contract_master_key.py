"""A change of the master key, as an administrator goes about it: the app is stopped and started with other settings."""

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.served import Served, served

from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation


def random_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
def app(azurite: Azurite, tmp_path: Path) -> Iterator[Served]:
    """With two accounts, of which the first one is backed up."""
    with (
        Simulation(users=2) as m365,
        served(m365, azurite, tmp_path / "home", DRIVEKEEP_ENROL="none") as app,
    ):
        app.onboard()
        app.enrolled(m365.tenant.id, 2)
        assert run(app, m365.users[0].id)["state"] == "complete"
        yield app


def run(app: Served, account: str) -> Any:
    """The one result of a run of the account, which is included by it."""
    app.call("PATCH", f"/api/accounts/{account}", {"included": True})
    asked = app.ask_run(tenant=app.m365.tenant.id, account=account)
    (result,) = app.ended(asked["id"])["results"]
    return result


def restarted(app: Served, **changes: str | None) -> list[str]:
    """The reasons for which it is degraded then."""
    app.stop()
    app.person = app.person.but(**changes)
    app.start()
    health = app.get("/api/health")
    reasons = [each["reason"] for each in health["problems"]]
    assert health["status"] == ("degraded" if reasons else "ok")
    return reasons


def test_an_unknown_key_stops_every_write_and_a_former_one_opens_what_is_older(app: Served) -> None:
    """With another key nothing is written and health says so; with the former one beside it all goes on."""
    first, second = (user.id for user in app.m365.users)
    old, new = app.master_key, random_key()
    assert restarted(app, DRIVEKEEP_MASTER_KEY=new) == ["wrong-key"]
    for account in (first, second):
        result = run(app, account)
        assert (result["state"], result["error"]["reason"], result["snapshot_id"]) == ("failed", "wrong-key", None)
    assert app.call("GET", f"/api/accounts/{first}/snapshots").status_code == 503
    assert app.items(f"/api/accounts/{second}/snapshots") == []
    assert restarted(app, DRIVEKEEP_MASTER_KEY=new, DRIVEKEEP_MASTER_KEY_PREVIOUS=old) == []
    results = [run(app, account) for account in (first, second)]
    assert [each["summary"]["mode"] for each in results] == ["delta", "full"]
    assert len(app.items(f"/api/accounts/{first}/snapshots")) == 2
    assert restarted(app, DRIVEKEEP_MASTER_KEY="@Microsoft.KeyVault(SecretUri=https://v/)") == ["key-vault"]
    assert app.call("GET", "/onboard/start").status_code == 503
    assert "Key Vault" in app.log.read_text()
