"""The sign-in host, asked directly."""

import datetime
import json
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from backup_core.clock import SystemClock
from backup_core.testing.m365.registrations import well_known
from backup_core.testing.m365.tokens import CONSUMERS, base64url

LOGIN, GRAPH = "https://localhost:2", "https://localhost:1"
DEFAULT = "https://graph.microsoft.com/.default"
RCLONE, ONEDRIVE = (registration.client_id for registration in well_known())
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_an_app_signs_in_by_itself(desk: Any) -> None:
    """A right secret gets a token with the app's roles and nothing that only users have."""
    status, answer = desk.app_only()
    assert (status, set(answer)) == (200, {"token_type", "expires_in", "ext_expires_in", "access_token"})
    grant = desk.tokens.check(answer["access_token"])
    assert grant is not None
    assert (grant.roles, grant.user, grant.tenant_id) == (frozenset({"Files.Read.All"}), None, desk.tenant_id)


def test_the_tenant_may_be_named_by_its_domain(desk: Any) -> None:
    """Id and verified domain lead to the same tenant, and so does Graph's own address in the scope."""
    assert desk.app_only(desk.directory.tenant.domain)[0] == 200
    assert desk.app_only(scope=f"{GRAPH}/.default")[0] == 200


@pytest.mark.parametrize(
    ("tenant", "changes", "status", "error", "number"),
    [
        ("", {"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ("", {"client_secret": None}, 401, "invalid_client", 7000218),
        ("", {"client_id": "nobody"}, 400, "unauthorized_client", 700016),
        ("", {"client_id": None}, 400, "invalid_request", 900144),
        ("", {"grant_type": None}, 400, "invalid_request", 900144),
        ("", {"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ("", {"scope": None}, 400, "invalid_request", 900144),
        ("", {"scope": "Files.Read"}, 400, "invalid_scope", 1002012),
        ("", {"scope": "https://example.org/.default"}, 400, "invalid_resource", 500011),
        ("", {"client_assertion": "a.b.c", "client_secret": None}, 401, "invalid_client", 700025),
        ("common", {}, 400, "invalid_request", 9001023),
        ("consumers", {}, 400, "invalid_request", 9001023),
        ("elsewhere.example", {}, 400, "invalid_request", 90002),
    ],
)
def test_an_app_is_refused_with_its_number(
    desk: Any, tenant: str, changes: dict[str, str | None], status: int, error: str, number: int
) -> None:
    """Each mistake has the status, error and AADSTS number that Microsoft gives it."""
    if number == 700025:
        desk.app.secrets.clear()  # a public client has nothing to prove itself with
    got, answer = desk.app_only(tenant, **changes)
    assert (got, answer["error"], answer["error_codes"]) == (status, error, [number])
    assert answer["error_description"].startswith(f"AADSTS{number}: ")
    assert {"timestamp", "trace_id", "correlation_id", "error_uri"} <= set(answer)
    assert "right secret" not in json.dumps(answer)


def test_a_removed_app_is_unknown(desk: Any) -> None:
    """Consent that is taken away answers as if the app had never been there."""
    desk.app.enabled = False
    assert desk.app_only()[1]["error_codes"] == [700016]


def test_a_basic_header_proves_an_app_too(desk: Any) -> None:
    """Id and secret may come in the header, percent-encoded, as Go programs send them first."""
    credential = base64url(f"{desk.app.client_id}:right%20secret".encode())
    form = {"grant_type": "client_credentials", "scope": DEFAULT}
    padded = credential + "=" * (-len(credential) % 4)
    assert desk.token(headers={"authorization": f"Basic {padded}"}, **form)[0] == 200
    assert desk.token(headers={"authorization": "Basic !"}, **form)[0] == 400


def test_a_user_is_refreshed(desk: Any) -> None:
    """A refresh token brings an access token with the app's scopes for that user, and a new refresh token."""
    status, answer = desk.refresh(scope="Files.Read offline_access openid profile", client_info="1")
    assert status == 200
    grant = desk.tokens.check(answer["access_token"])
    assert grant is not None
    assert (grant.user, grant.scopes) == (desk.user.id, frozenset({"Files.Read", "User.Read"}))
    assert set(answer["scope"].split()) == {"Files.Read", "User.Read"}
    assert desk.refresh(refresh_token=answer["refresh_token"])[0] == 200
    claims = jwt.decode(answer["id_token"], options={"verify_signature": False})
    assert (claims["aud"], claims["tid"], claims["oid"]) == (desk.app.client_id, desk.tenant_id, desk.user.id)
    assert claims["preferred_username"] == desk.user.upn


def test_what_was_not_asked_for_is_not_given(desk: Any) -> None:
    """Without `offline_access` there is no refresh token, without `openid` no id token."""
    _, answer = desk.refresh(scope="Files.Read")
    assert not {"refresh_token", "id_token", "client_info"} & set(answer)


def test_no_scope_means_the_former_ones(desk: Any) -> None:
    """Programs that send no scope at a refresh get what was granted, a new refresh token included."""
    _, answer = desk.refresh(scope=None)
    assert {"access_token", "refresh_token"} <= set(answer)


@pytest.mark.parametrize(
    ("tenant", "changes", "number"),
    [
        ("common", {"refresh_token": "0.made-up"}, 70000),
        ("common", {"refresh_token": None}, 900144),
        ("common", {"scope": "Files.ReadWrite.All offline_access"}, 65001),
        ("common", {"scope": "https://example.org/Files.Read"}, 500011),
        ("common", {"client_secret": "wrong"}, 7000215),
        ("consumers", {}, 50020),
    ],
)
def test_a_refresh_is_refused_with_its_number(
    desk: Any, tenant: str, changes: dict[str, str | None], number: int
) -> None:
    """Each mistake has its AADSTS number; a missing consent says so in `suberror`."""
    status, answer = desk.refresh(tenant, **changes)
    assert (status // 100, answer["error_codes"]) == (4, [number])
    assert answer.get("suberror") == ("consent_required" if number == 65001 else None)


def test_a_disabled_user_is_refused(desk: Any) -> None:
    """A leaver's tokens end with the account."""
    desk.user.enabled = False
    assert desk.refresh()[1]["error_codes"] == [50057]


def test_an_app_that_must_prove_itself_cannot_refresh_without(desk: Any) -> None:
    """Only an app that allows public flows refreshes without a secret."""
    desk.app.public_flows = False
    assert desk.refresh()[1]["error_codes"] == [7000218]
    assert desk.refresh(client_secret="right secret")[0] == 200


def test_programs_of_others_count_as_registered(desk: Any) -> None:
    """rclone sends a secret, the onedrive client none; both refresh, and get what they need to write as well."""
    status, answer = desk.refresh(client_id=RCLONE, client_secret="whatever", scope=None)
    assert (status, "Files.ReadWrite.All" in answer["scope"]) == (200, True)
    assert desk.refresh(client_id=ONEDRIVE, scope=None)[0] == 200
    assert desk.refresh(client_id=ONEDRIVE, client_secret="whatever")[1]["error_codes"] == [700025]


def test_a_personal_account_signs_in_at_common_and_consumers(make_desk: Any) -> None:
    """Personal accounts belong to one tenant of their own, which work accounts' endpoint does not know."""
    desk = make_desk(business=False)
    assert [desk.refresh(tenant)[0] for tenant in ("common", "consumers", CONSUMERS)] == [200, 200, 200]
    assert desk.refresh("organizations")[1]["error_codes"] == [50020]
    assert desk.app_only()[1]["error_codes"] == [9001023]


def test_unknown_routes_say_so(desk: Any) -> None:
    """What is not simulated answers 404 with its name; a wrong method 405."""
    missing = desk.ask("GET", "/common/oauth2/v2.0/logout")
    assert (missing.status, b"no route GET /common/oauth2/v2.0/logout" in missing.body) == (404, True)
    assert desk.ask("GET", "/common/oauth2/v2.0/token").status == 405


def test_every_answer_can_be_traced(desk: Any) -> None:
    """The client's request id comes back, and the host gives one of its own."""
    response = desk.ask("POST", "/common/oauth2/v2.0/token", client_request_id="mine")
    assert response.headers["client-request-id"] == "mine"
    assert json.loads(response.body)["correlation_id"] == "mine"
    assert len(response.headers["x-ms-request-id"]) == 36


# --- proof by certificate


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "drivekeep test")])
    now = SystemClock().now()
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


CERTIFICATE = _certificate(KEY)


def _assertion(desk: Any, key: rsa.RSAPrivateKey = KEY, algorithm: str = "PS256", **changes: Any) -> str:
    now = desk.clock.now().timestamp()
    claims = {
        "aud": f"{LOGIN}/{desk.tenant_id}/oauth2/v2.0/token",
        "iss": desk.app.client_id,
        "sub": desk.app.client_id,
        "jti": "1",
        "nbf": now,
        "exp": now + 600,
    }
    thumbprint = base64url(CERTIFICATE.fingerprint(hashes.SHA256()))
    return jwt.encode(claims | changes, key, algorithm=algorithm, headers={"x5t#S256": thumbprint})


def _prove(desk: Any, assertion: str) -> int:
    desk.app.certificates = [CERTIFICATE]
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    status, answer = desk.app_only(client_secret=None, client_assertion=assertion, client_assertion_type=kind)
    return 200 if status == 200 else int(answer["error_codes"][0])


@pytest.mark.parametrize("algorithm", ["PS256", "RS256"])
def test_a_certificate_proves_an_app(desk: Any, algorithm: str) -> None:
    """A statement that the registered certificate signed is as good as a secret."""
    assert _prove(desk, _assertion(desk, algorithm=algorithm)) == 200


def test_a_false_proof_is_refused(desk: Any) -> None:
    """Another key, another app, another host, a spent or future time, a changed or malformed statement: all refused."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = desk.clock.now().timestamp()
    head, claims, signature = _assertion(desk).split(".")
    other = _assertion(desk, sub="another").split(".")[1]
    unsigned = base64url(json.dumps({"alg": "none", "x5t#S256": json.loads(_decoded(head))["x5t#S256"]}).encode())
    for assertion, number in [
        (_assertion(desk, stranger), 700027),
        (f"{head}.{other}.{signature}", 700027),
        (f"{unsigned}.{claims}.", 5002723),
        (_assertion(desk, iss="another", sub="another"), 5002723),
        (_assertion(desk, aud="https://login.example/token"), 5002723),
        (_assertion(desk, exp=now - 400), 700024),
        (_assertion(desk, nbf=now + 400), 700024),
        (_assertion(desk, exp=None), 5002723),
        ("not.a.jwt", 5002723),
        ("é", 5002723),
    ]:
        assert _prove(desk, assertion) == number
    desk.app.certificates = []


def test_a_certificate_must_be_registered(desk: Any) -> None:
    """A certificate that the app never registered proves nothing, whoever signed."""
    assertion = _assertion(desk)
    thumbprint = json.loads(_decoded(assertion.split(".")[0]))["x5t#S256"]
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    desk.app.certificates = [_certificate(other)]
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    _, answer = desk.app_only(client_secret=None, client_assertion=assertion, client_assertion_type=kind)
    assert answer["error_codes"] == [700027]
    assert thumbprint in answer["error_description"]


def _decoded(part: str) -> bytes:
    return jwt.utils.base64url_decode(part)
