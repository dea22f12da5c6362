"""Tokens of an app for a whole tenant: fetched once, renewed in time, refused in words that help."""

import base64
import datetime
import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from backup_core.errors import AccessDenied, DrivekeepError, Temporary, Usage
from backup_core.graph.gate import Gate
from backup_core.graph.sign_in import AppOnly
from backup_core.graph.sign_in_host import SignInHost

LOGIN = "https://localhost:4444"
TENANT = "22222222-3333-4444-5555-666666666666"
CLIENT = "99999999-8888-7777-6666-555555555555"
GRAPH = "https://graph.microsoft.com"
SECRET = "CANARY-client-secret"


def app_only(world: Any, **proof: Any) -> AppOnly:
    host = SignInHost(LOGIN, world.session, Gate(world.clock, jitter=lambda: 1.0))
    return AppOnly(host, TENANT, CLIENT, GRAPH, **(proof or {"secret": SECRET}))


def test_app_only(world: Any, entra: Any) -> None:
    """One request brings a token for the tenant's Graph, which then serves everybody."""
    tokens = app_only(world)
    assert {tokens.token() for _ in range(3)} == {"CANARY-access-1"}
    form = entra.forms[0]
    expected = {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_secret": SECRET,
        "scope": f"{GRAPH}/.default",
    }
    assert expected.items() <= form.items()


def test_renewed_before_its_end(world: Any, entra: Any) -> None:
    """Five minutes before a token ends there is a new one, and not earlier."""
    tokens = app_only(world)
    tokens.token()
    world.clock.advance(3600 - 300 - 1)
    assert tokens.token() == "CANARY-access-1"
    world.clock.advance(2)
    assert tokens.token() == "CANARY-access-2"


def test_renewed_on_demand(world: Any, entra: Any) -> None:
    """A refused token is replaced though it has time left: msal's own memory does not give it out again."""
    tokens = app_only(world)
    assert [tokens.token(), tokens.token(renew=True), tokens.token()] == [
        "CANARY-access-1",
        "CANARY-access-2",
        "CANARY-access-2",
    ]


def test_many_threads_fetch_one_token(world: Any, entra: Any) -> None:
    """Eight threads that start together cost one request."""
    tokens = app_only(world)
    threads = [threading.Thread(target=tokens.token) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entra.forms) == 1


def test_certificate(world: Any, entra: Any, tmp_path: Path) -> None:
    """A PEM file with key and certificate signs an assertion for exactly this app and token address."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "drivekeep")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + datetime.timedelta(days=9999))
    kind = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    path = tmp_path / "app.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + pem)
    app_only(world, certificate=path).token()
    header, claims = (
        json.loads(base64.urlsafe_b64decode(part + "==")) for part in entra.forms[0]["client_assertion"].split(".")[:2]
    )
    assert (header["alg"], claims["iss"], claims["aud"]) == ("PS256", CLIENT, entra.url)


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", "\xff"])
def test_unusable_certificate(world: Any, tmp_path: Path, content: str | None) -> None:
    """A missing file, or one without key and certificate, is refused before anything is sent."""
    path = tmp_path / "app.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Usage):
        app_only(world, certificate=path)


@pytest.mark.parametrize(
    ("error", "number", "hint"),
    [
        ("invalid_client", 7000215, "the secret's value, not its id"),
        ("invalid_client", 7000222, "expired"),
        ("unauthorized_client", 700016, "DRIVEKEEP_TENANT"),
        ("invalid_grant", 65001, "consent"),
        ("invalid_request", 900144, "client id"),
    ],
)
def test_refused_app(world: Any, entra: Any, error: str, number: int, hint: str) -> None:
    """Refused credentials end with the contract's text, exit code 13 and what to do; asked once, nothing repeated."""
    entra.refuse(error, number, status=401)
    with pytest.raises(AccessDenied, match="oauth2: cannot fetch token") as caught:
        app_only(world).token()
    text = str(caught.value) + repr(caught.value)
    assert (caught.value.exit_code, len(entra.forms)) == (13, 1)
    assert hint in text
    assert f"AADSTS{number}" in text
    assert "CANARY" not in text


def test_unknown_tenant(world: Any, mock: responses.RequestsMock) -> None:
    """A tenant that the sign-in host does not know is said to be that."""
    mock.get(f"{LOGIN}/{TENANT}/v2.0/.well-known/openid-configuration", status=400, json={"error": "invalid_tenant"})
    with pytest.raises(AccessDenied, match="oauth2: cannot fetch token") as caught:
        app_only(world).token()
    assert "DRIVEKEEP_TENANT" in str(caught.value)


@pytest.mark.parametrize("number", [90033, 90012, 50196])
def test_sign_in_not_available(world: Any, entra: Any, number: int) -> None:
    """What Microsoft calls temporary is exit code 5, not a reason to sign in again."""
    entra.refuse("temporarily_unavailable", number)
    with pytest.raises(Temporary, match="oauth2: cannot fetch token"):
        app_only(world).token()


def test_sign_in_host_has_its_trouble(world: Any, entra: Any) -> None:
    """A 503 and a 429 with Retry-After of the sign-in host are waited for; Graph's gate stays open."""
    entra.refusals += [(503, {}), (500, {})]
    assert app_only(world).token() == "CANARY-access-3"
    assert world.clock.sleeps == [1, 2]
    assert world.gate.wait() == 0


def test_sign_in_host_is_away(world: Any, mock: responses.RequestsMock) -> None:
    """No connection to the sign-in host: retried, then temporary."""
    mock.get(f"{LOGIN}/{TENANT}/v2.0/.well-known/openid-configuration", body=requests.ConnectionError())
    with pytest.raises(Temporary):
        app_only(world).token()
    assert len(mock.calls) == 4


def test_a_token_with_minutes_left_outlives_a_broken_sign_in(world: Any, entra: Any) -> None:
    """While the old token still works, a sign-in host that is away stops nobody."""
    tokens = app_only(world)
    tokens.token()
    world.clock.advance(3400)
    entra.refusals += [(500, {})] * 4
    assert tokens.token() == "CANARY-access-1"
    entra.refusals += [(500, {})] * 4
    with pytest.raises(Temporary):
        tokens.token(renew=True)


@pytest.mark.parametrize("body", ["<html>", "[]", '{"error": 7}', "{}"])
def test_an_answer_that_is_none(world: Any, entra: Any, mock: responses.RequestsMock, body: str) -> None:
    """A proxy's page, or JSON of another shape, is an error of ours with words, never a crash."""
    mock.replace("POST", entra.url, body=body)
    with pytest.raises(DrivekeepError, match="oauth2: cannot fetch token"):
        app_only(world).token()


@pytest.mark.parametrize(
    "endpoint", ["https://evil.example/token", "http://localhost:4444/token", "https://localhost/token"]
)
def test_credentials_do_not_follow_a_foreign_token_address(
    world: Any, entra: Any, mock: responses.RequestsMock, endpoint: str
) -> None:
    """A description that names a token address on another host, port or scheme ends the sign-in."""
    entra.configuration["token_endpoint"] = f"{endpoint}/{TENANT}/oauth2/v2.0/token"
    with pytest.raises(DrivekeepError):
        app_only(world).token()
    assert {call.request.url.split("/")[2] for call in mock.calls} == {"localhost:4444"}


def test_the_sign_in_host_must_be_https(world: Any) -> None:
    """Credentials are not sent in clear."""
    with pytest.raises(Usage):
        SignInHost("http://login.example", world.session, world.gate)


def test_no_secret_in_any_log(world: Any, entra: Any, caplog: pytest.LogCaptureFixture) -> None:
    """At debug level neither msal nor we write a secret or a token anywhere."""
    caplog.set_level(logging.DEBUG)
    tokens = app_only(world)
    tokens.token()
    entra.refuse("invalid_client", 7000215, status=401)
    with pytest.raises(AccessDenied):
        tokens.token(renew=True)
    assert "CANARY" not in caplog.text + repr(tokens)
