"""The sign-in host as msal sees it, Microsoft's own client, untouched."""

import datetime
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from backup_core.clock import SystemClock
from backup_core.testing.m365 import Simulation

DEFAULT = "https://graph.microsoft.com/.default"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "drivekeep test")])
    now = SystemClock().now()
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


CERTIFICATE = _certificate(KEY)


@pytest.fixture
def m365(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)  # the machine's bundle would beat `verify`
    with Simulation() as simulation:
        yield simulation


def _confidential(m365: Simulation, credential: Any, tenant: str = "", **more: Any) -> Any:
    return msal.ConfidentialClientApplication(
        m365.client_id,
        authority=f"{m365.authority_url}/{tenant or m365.tenant.id}",
        client_credential=credential,
        verify=str(m365.ca_file),
        **more,
    )


def _closed(app: Any) -> None:
    app.http_client.close()


def test_msal_gets_an_apps_token(m365: Simulation) -> None:
    """msal signs in with the secret, Graph accepts the token, and the second call comes from msal's cache."""
    app = _confidential(m365, m365.client_secret, instance_discovery=False)
    first = app.acquire_token_for_client([DEFAULT])
    again = app.acquire_token_for_client([DEFAULT])
    _closed(app)
    assert (first["token_source"], again["token_source"]) == ("identity_provider", "cache")
    assert m365.tokens.check(first["access_token"]) is not None
    assert [entry.path.rsplit("/", 1)[1] for entry in m365.log.of("login")] == ["openid-configuration", "token"]


def test_msal_proves_itself_by_certificate(m365: Simulation) -> None:
    """msal's own assertion, with the new thumbprint and with the old one, is accepted."""
    pem = CERTIFICATE.public_bytes(serialization.Encoding.PEM)
    m365.accept_certificate(pem)
    private = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    old = CERTIFICATE.fingerprint(hashes.SHA1()).hex()
    for credential in (
        {"private_key": private, "public_certificate": pem.decode()},
        {"private_key": private, "thumbprint": old},
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # msal's word on the old thumbprint
            app = _confidential(m365, credential, instance_discovery=False)
            result = app.acquire_token_for_client([DEFAULT])
        _closed(app)
        assert "access_token" in result, result


def test_msal_hears_why_it_is_refused(m365: Simulation) -> None:
    """A wrong secret reaches the caller as msal reports Microsoft's own refusals."""
    app = _confidential(m365, "wrong", instance_discovery=False)
    result = app.acquire_token_for_client([DEFAULT])
    _closed(app)
    assert (result["error"], result["error_codes"]) == ("invalid_client", [7000215])


def test_msal_moves_a_refresh_token_in(m365: Simulation) -> None:
    """A public client takes over a refresh token, finds the account in its cache, and renews silently."""
    app = msal.PublicClientApplication(
        m365.client_id,
        authority=f"{m365.authority_url}/common",
        instance_discovery=False,
        verify=str(m365.ca_file),
    )
    result = app.acquire_token_by_refresh_token(m365.users[0].refresh_token, scopes=["Files.Read"])
    [account] = app.get_accounts()
    renewed = app.acquire_token_silent(["Files.Read"], account=account, force_refresh=True)
    _closed(app)
    assert account["username"] == m365.users[0].upn
    assert renewed["token_source"] == "identity_provider"
    assert renewed["access_token"] != result["access_token"]


def test_msal_may_ask_for_the_instance(m365: Simulation) -> None:
    """Instance discovery against the simulated host answers as msal expects it."""
    discovery = f"{m365.authority_url}/common/discovery/instance"
    app = _confidential(m365, m365.client_secret, instance_discovery=discovery)
    result = app.acquire_token_for_client([DEFAULT])
    _closed(app)
    assert "access_token" in result


def test_msal_learns_that_a_tenant_is_unknown(m365: Simulation) -> None:
    """An unknown tenant is refused at discovery, before any secret is sent."""
    with pytest.raises(ValueError, match="Unable to get authority configuration"):
        _confidential(m365, m365.client_secret, tenant="elsewhere.example", instance_discovery=False)
    assert [(entry.method, entry.status) for entry in m365.log] == [("GET", 400)]


# --- people, other tenants, and no secret at all


def _browse(m365: Simulation, url: str) -> dict[str, str]:
    """Opens a page and gives the fields with which the browser is sent back."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, verify=str(m365.ca_file), allow_redirects=False, timeout=20)
    assert answer.status_code == 302, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def _flow(app: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # msal would have the answer posted; a redirect shows the fields
        return app.initiate_auth_code_flow(["Files.Read"], redirect_uri="http://localhost:1/oauth/callback")


@pytest.mark.parametrize("kind", ["public", "confidential"])
@pytest.mark.parametrize("account", ["work", "personal"])
def test_msal_signs_a_person_in_by_browser(m365: Simulation, kind: str, account: str) -> None:
    """msal's code flow with PKCE and nonce, with a secret and without, for both kinds of account, and a renewal."""
    person = (m365.add_tenant("fabrikam.example") if account == "work" else m365.add_personal()).users[0]
    m365.authorize.user = person
    make = msal.PublicClientApplication if kind == "public" else msal.ConfidentialClientApplication
    secret = {} if kind == "public" else {"client_credential": m365.client_secret}
    app = make(
        m365.client_id,
        authority=f"{m365.authority_url}/common",
        instance_discovery=False,
        verify=str(m365.ca_file),
        **secret,
    )
    flow = _flow(app)
    result = app.acquire_token_by_auth_code_flow(flow, _browse(m365, flow["auth_uri"]))
    [known] = app.get_accounts()
    renewed = app.acquire_token_silent(["Files.Read"], account=known, force_refresh=True)
    _closed(app)
    claims = result["id_token_claims"]
    assert (claims["oid"], claims["tid"]) == (person.id, person.tenant_id)
    assert known["home_account_id"] == f"{person.id}.{person.tenant_id}"
    grant = m365.tokens.check(renewed["access_token"])
    assert grant is not None and (grant.user, grant.tenant_id) == (person.id, person.tenant_id)


def test_msal_hears_that_a_person_declined(m365: Simulation) -> None:
    """The refusal comes through msal as a result with an error, not as a crash."""
    m365.authorize.outcome = "access_denied"
    app = msal.PublicClientApplication(
        m365.client_id, authority=f"{m365.authority_url}/common", instance_discovery=False, verify=str(m365.ca_file)
    )
    flow = _flow(app)
    result = app.acquire_token_by_auth_code_flow(flow, _browse(m365, flow["auth_uri"]))
    _closed(app)
    assert result["error"] == "access_denied" and "AADSTS65004" in result["error_description"]


def test_msal_enters_a_tenant_after_its_consent(m365: Simulation) -> None:
    """An administrator consents by browser; then the app's secret opens that tenant, and msal's token names it."""
    other = m365.add_tenant("fabrikam.example", users=3)
    app = _confidential(m365, m365.client_secret, tenant=other.id, instance_discovery=False)
    refused = app.acquire_token_for_client([DEFAULT])
    _closed(app)
    query = urlencode({"client_id": m365.client_id, "scope": DEFAULT, "redirect_uri": "http://localhost:1/back"})
    back = _browse(m365, f"{m365.authority_url}/organizations/v2.0/adminconsent?{query}")
    app = _confidential(m365, m365.client_secret, tenant=back["tenant"], instance_discovery=False)
    result = app.acquire_token_for_client([DEFAULT])
    _closed(app)
    assert (refused["error_codes"], back["tenant"]) == ([7000229], other.id)
    claims = jwt.decode(result["access_token"], options={"verify_signature": False})
    assert (claims["tid"], claims["appid"], claims["roles"]) == (other.id, m365.client_id, sorted(m365.app.roles))


def test_msal_needs_no_secret_with_a_managed_identity(m365: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """msal's own managed identity client gets the statement that proves the app, in its own and in another tenant."""
    for name, value in m365.service_environment(managed_identity=True).items():
        if name.startswith("IDENTITY_"):
            monkeypatch.setenv(name, value)
    other = m365.add_tenant("fabrikam.example")
    m365.consent.grant(other)

    def statement() -> str:
        with requests.Session() as session:
            session.trust_env = False
            identity = msal.UserAssignedManagedIdentity(client_id=m365.identity.client_id)
            client = msal.ManagedIdentityClient(identity, http_client=session)
            result = client.acquire_token_for_client(resource="api://AzureADTokenExchange")
        assert "access_token" in result, result
        return str(result["access_token"])

    for tenant in (m365.tenant.id, other.id):
        app = _confidential(m365, {"client_assertion": statement}, tenant=tenant, instance_discovery=False)
        result = app.acquire_token_for_client([DEFAULT])
        _closed(app)
        grant = m365.tokens.check(result["access_token"])
        assert grant is not None and grant.tenant_id == tenant
    asked = m365.log.of("identity")
    assert [entry.status for entry in asked] == [200, 200]
    assert m365.identity.header not in str(asked)
