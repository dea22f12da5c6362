"""How the app proves itself: by exactly one of three, of which the identity that Azure gives needs no secret."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backup_core.clock import SystemClock
from backup_core.errors import AccessDenied, Temporary, Usage
from backup_core.graph.claims import app_claims
from backup_core.graph.credential import AUDIENCES, ManagedIdentity, credential_of
from backup_core.graph.gate import Gate
from backup_core.graph.sign_in import AppOnly
from backup_core.graph.sign_in_host import SignInHost
from backup_core.graph.transport import new_session
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365 import Simulation

ENDPOINT = "http://127.0.0.1:41999/msi/token"


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine says that it is App Service's."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", ENDPOINT)
    monkeypatch.setenv("IDENTITY_HEADER", "CANARY-header")


@pytest.fixture
def m365(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    """A simulation on the machine's own clock: msal signs and reads tokens by no other."""
    with Simulation() as made:
        for name, value in made.service_environment(managed_identity=True).items():
            if name.startswith("IDENTITY"):
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where nobody listens
        yield made


def test_no_secret_at_all(m365: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity's token stands for the app in customers' tenants too; it is asked for once, past any proxy."""
    customer = m365.add_tenant("fabrikam.example")
    m365.consent.grant(customer)
    m365.app.secrets.clear()
    clock = SystemClock()
    identity = ManagedIdentity(m365.identity.client_id, clock)
    with new_session(2) as session:
        session.verify = str(m365.ca_file)
        host = SignInHost(m365.authority_url, session, Gate(clock))
        for tenant in (m365.tenant.id, customer.id):
            token = AppOnly(host, tenant, m365.client_id, m365.graph_url, identity=identity).token()
            assert app_claims(token).tenant == tenant
    assert len([each for each in m365.log if each.origin == "identity"]) == 1


def test_identity_of_another(m365: Simulation) -> None:
    """An identity that is not this app's, or for another cloud's audience, ends with what to check."""
    clock = SystemClock()
    with pytest.raises(AccessDenied, match="DRIVEKEEP_MANAGED_IDENTITY"):
        ManagedIdentity("00000000-0000-0000-0000-000000000000", clock).assertion()
    elsewhere = ManagedIdentity(m365.identity.client_id, clock, audience=AUDIENCES["china"])
    with new_session(2) as session, pytest.raises(AccessDenied):
        session.verify = str(m365.ca_file)
        host = SignInHost(m365.authority_url, session, Gate(clock))
        AppOnly(host, m365.tenant.id, m365.client_id, m365.graph_url, identity=elsewhere).token()


@pytest.mark.usefixtures("azure")
@pytest.mark.parametrize(
    ("status", "body"),
    [(400, '{"statusCode": 400, "message": "CANARY"}'), (200, "{}"), (200, "<html>CANARY"), (404, ""), (200, "[]")],
)
def test_refusals(mock: Any, status: int, body: str) -> None:
    """Whatever the endpoint says instead of a token is an error in our words."""
    mock.get(ENDPOINT, status=status, body=body)
    with pytest.raises(AccessDenied) as caught:
        ManagedIdentity("x", FakeClock()).assertion()
    assert "CANARY" not in str(caught.value)


@pytest.mark.usefixtures("azure")
def test_an_endpoint_in_trouble(mock: Any) -> None:
    """A restart of the platform's endpoint is waited for, as long as it takes a few tries."""
    good = json.dumps({"access_token": "CANARY-token", "expires_on": "9999999999", "token_type": "Bearer"})
    for status in (500, 429, 503):
        mock.get(ENDPOINT, status=status)
    mock.get(ENDPOINT, body=good)
    clock = FakeClock()
    identity = ManagedIdentity("x", clock)
    assert {identity.assertion() for _ in range(3)} == {"CANARY-token"}
    assert len(mock.calls) == 4
    assert clock.sleeps
    request = mock.calls[0].request
    assert request.headers["X-IDENTITY-HEADER"] == "CANARY-header"
    assert "resource=api%3A%2F%2FAzureADTokenExchange&" in request.url + "&"
    assert "client_id=x" in request.url


@pytest.mark.usefixtures("azure")
def test_an_endpoint_that_stays_away(mock: Any) -> None:
    """Ends as trouble that may pass, not as a refusal."""
    mock.get(ENDPOINT, status=500)
    with pytest.raises(Temporary):
        ManagedIdentity("x", FakeClock(), retries=2).assertion()
    assert len(mock.calls) == 3


def test_exactly_one_proof(tmp_path: Path) -> None:
    """None, or several of them, is a mistake of the settings."""
    identity = ManagedIdentity("x", FakeClock())
    for given in ({}, {"secret": "s", "identity": identity}, {"secret": "s", "certificate": tmp_path / "x"}):
        with pytest.raises(Usage):
            credential_of(**given)  # type: ignore[arg-type]
    assert credential_of("s") == "s"
    assert isinstance(credential_of(identity=identity), dict)
