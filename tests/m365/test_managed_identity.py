"""A managed identity: the endpoint that gives its tokens, and the app that they prove."""

import json
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365.managed_identity import PATH, ManagedIdentity
from backup_core.testing.m365.registrations import FederatedCredential
from backup_core.testing.m365.tokens import KEY_ID, TokenBook
from backup_core.testing.m365.wire import Request, Response

AUDIENCE = "api://AzureADTokenExchange"
ISSUER = "https://localhost:2/{}/v2.0"
KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def _ask(identity: ManagedIdentity, issuer: str = "issuer", /, **changes: str | None) -> Response:
    asked = {"api-version": "2019-08-01", "resource": AUDIENCE, "client_id": identity.client_id}
    asked = {name: value for name, value in (asked | changes).items() if value is not None}
    header = {"x-identity-header": identity.header}
    return identity.answer(Request("identity", "GET", PATH, urlencode(asked), header), issuer)


def _prove(desk: Any, assertion: str, tenant: str = "") -> int:
    changes = {"client_secret": None, "client_assertion": assertion, "client_assertion_type": KIND}
    status, answer = desk.app_only(tenant, **changes)
    return 200 if status == 200 else int(answer["error_codes"][0])


@pytest.fixture
def identity(desk: Any) -> ManagedIdentity:
    """An identity of the first tenant, which the app trusts."""
    made = ManagedIdentity(1, desk.tenant_id, desk.tokens, desk.clock)
    desk.app.federated = [FederatedCredential(desk.tenant_id, made.principal_id)]
    return made


def _token(desk: Any, identity: ManagedIdentity, resource: str = AUDIENCE) -> str:
    return str(json.loads(_ask(identity, ISSUER.format(desk.tenant_id), resource=resource).body)["access_token"])


def test_the_identity_proves_the_app_in_every_consented_tenant(desk: Any, identity: ManagedIdentity) -> None:
    """Its token is as good as the app's secret, at home and in a customer's tenant."""
    other = desk.add_tenant("fabrikam.example")
    assertion = _token(desk, identity)
    assert _prove(desk, assertion) == 200
    assert _prove(desk, assertion, other.tenant.id) == 7000229
    desk.consent.grant(other.tenant)
    assert _prove(desk, assertion, other.tenant.id) == 200


def test_only_a_trusted_identity_proves_anything(desk: Any, identity: ManagedIdentity) -> None:
    """Another subject, issuer or audience, a spent one, a stranger's key, a changed statement: each has its number."""
    good, principal = _token(desk, identity), identity.principal_id
    now = desk.clock.now().timestamp()
    claims = {"iss": ISSUER.format(desk.tenant_id), "sub": principal, "aud": AUDIENCE, "exp": now + 600}
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    head, _, signature = good.split(".")
    other = desk.tokens.signed(claims | {"sub": "another"}).split(".")[1]
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": KEY_ID})
    shared_secret = jwt.encode(claims, "x" * 64, algorithm="HS256", headers={"kid": KEY_ID})
    for assertion, number in [
        (desk.tokens.signed(claims), 200),
        (desk.tokens.signed(claims | {"iss": ISSUER.format("another")}), 700211),
        (desk.tokens.signed(claims | {"sub": "another"}), 700213),
        (_token(desk, identity, "https://graph.microsoft.com"), 700212),
        (desk.tokens.signed(claims | {"exp": now - 400}), 700024),
        (desk.tokens.signed({name: claims[name] for name in ("iss", "sub", "aud")}), 5002723),
        (jwt.encode(claims, stranger, algorithm="RS256", headers={"kid": KEY_ID}), 50013),
        (jwt.encode(claims, stranger, algorithm="RS256", headers={"kid": "another"}), 50013),
        (f"{head}.{other}.{signature}", 50013),
        (unsigned, 5002723),
        (shared_secret, 5002723),
    ]:
        assert _prove(desk, assertion) == number
    desk.app.federated = []
    assert _prove(desk, good) == 700211


def test_an_access_token_for_graph_is_no_proof(desk: Any, identity: ManagedIdentity) -> None:
    """Nor does the identity's own token open Graph."""
    assert _prove(desk, desk.app_only()[1]["access_token"]) == 700211
    assert desk.tokens.check(_token(desk, identity)) is None


def test_the_endpoint_answers_as_app_service_does() -> None:
    """A token with its end in seconds since 1970, as text."""
    clock = FakeClock()
    identity = ManagedIdentity(1, "home", TokenBook(clock), clock)
    answer = json.loads(_ask(identity).body)
    assert answer["expires_on"] == str(int(clock.now().timestamp()) + 3600)
    assert (answer["resource"], answer["token_type"]) == (AUDIENCE, "Bearer")
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["aud"], claims["iss"]) == (identity.principal_id, AUDIENCE, "issuer")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"api-version": "2017-09-01"}, 400),
        ({"resource": None}, 400),
        ({"client_id": None}, 400),
        ({"client_id": "another"}, 400),
    ],
)
def test_the_endpoint_refuses_a_wrong_question(changes: dict[str, str | None], status: int) -> None:
    """Another version, no resource, another identity or the system's own, which it does not have."""
    clock = FakeClock()
    answer = _ask(ManagedIdentity(1, "home", TokenBook(clock), clock), **changes)
    assert (answer.status, json.loads(answer.body)["statusCode"]) == (status, status)


def test_the_endpoint_wants_its_header() -> None:
    """A request that somebody was tricked into cannot carry it."""
    clock = FakeClock()
    identity = ManagedIdentity(1, "home", TokenBook(clock), clock)
    query = urlencode({"api-version": "2019-08-01", "resource": AUDIENCE, "client_id": identity.client_id})
    for headers in ({}, {"x-identity-header": "wrong"}, {"x-identity-header": "é"}):
        assert identity.answer(Request("identity", "GET", PATH, query, headers), "issuer").status == 403
    assert identity.answer(Request("identity", "POST", PATH, query), "issuer").status == 404
