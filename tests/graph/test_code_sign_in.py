"""A person's first sign-in: an answer counts only if it is the one to this request, and brings lasting access."""

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from backup_core.errors import AccessDenied, Temporary
from backup_core.graph.claims import Person
from backup_core.graph.code_sign_in import CodeSignIn
from backup_core.graph.gate import Gate
from backup_core.graph.sign_in_host import SignInHost

LOGIN = "https://localhost:4444"
CLIENT = "99999999-8888-7777-6666-555555555555"
TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
BACK = "https://drivekeep.example/oauth/callback"


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


class Signing:
    """One sign-in against a host that answers a code with `answer` and an id token with `claims`."""

    def __init__(self, world: Any, mock: Any, graph_url: str = "https://graph.microsoft.com") -> None:
        configuration = {
            "issuer": f"{LOGIN}/common/v2.0",
            "authorization_endpoint": f"{LOGIN}/common/oauth2/v2.0/authorize",
            "token_endpoint": f"{LOGIN}/common/oauth2/v2.0/token",
        }
        mock.get(f"{LOGIN}/common/v2.0/.well-known/openid-configuration", json=configuration)
        mock.add_callback("POST", configuration["token_endpoint"], self._answer)
        host = SignInHost(LOGIN, world.session, Gate(world.clock, jitter=lambda: 1.0))
        self.sign_in = CodeSignIn(host, CLIENT, graph_url)
        self.address, self.flow = self.sign_in.start(BACK, "the-state")
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(self.address).query).items()}
        self.forms: list[dict[str, str]] = []
        self.claims: dict[str, Any] = {
            "aud": CLIENT, "iss": f"{LOGIN}/{TENANT}/v2.0", "tid": TENANT, "oid": "person", "sub": "s", "name": "Ann",
            "preferred_username": "ann@outlook.com", "nonce": self.asked["nonce"],
            "iat": world.clock.now().timestamp(), "exp": world.clock.now().timestamp() + 3600,
        }  # fmt: skip
        self.answer: dict[str, Any] = {
            "token_type": "Bearer", "expires_in": 3600, "access_token": "CANARY-access", "scope": "Files.Read",
            "refresh_token": "CANARY-refresh", "client_info": part({"uid": "u", "utid": TENANT}),
        }  # fmt: skip

    def _answer(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        self.forms.append({name: values[0] for name, values in parse_qs(str(request.body)).items()})
        answer = {"id_token": f"{part({})}.{part(self.claims)}.x", **self.answer}
        return 400 if "error" in answer else 200, {}, json.dumps({k: v for k, v in answer.items() if v is not None})

    def finish(self) -> Any:
        return self.sign_in.finish(json.loads(json.dumps(self.flow)), "the-code")


@pytest.fixture
def signing(world: Any, mock: Any) -> Signing:
    return Signing(world, mock)


def test_there_and_back(signing: Signing) -> None:
    """What was promised by PKCE on the way there is shown on the way back, and the person comes with tokens."""
    found = signing.finish()
    assert found.person == Person(TENANT, "person", "ann@outlook.com", "Ann")
    assert "CANARY-refresh" in found.tokens
    assert "CANARY" not in repr(found)
    (form,) = signing.forms
    verifier = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert signing.asked["code_challenge"] == base64.urlsafe_b64encode(verifier).decode().rstrip("=")
    assert (form["code"], form["redirect_uri"], form["client_id"]) == ("the-code", BACK, CLIENT)
    assert "client_secret" not in form
    assert (signing.asked["state"], signing.asked["response_type"]) == ("the-state", "code")
    assert form["code_verifier"] not in signing.address


@pytest.mark.parametrize(
    "claims",
    [{"nonce": "another"}, {"nonce": None}, {"aud": "another"}, {"tid": "another"}, {"exp": 0}, {"oid": None}],
)
def test_an_answer_to_somebody_else(signing: Signing, claims: dict[str, Any]) -> None:
    """An id token that is not the answer to this very request is refused, and nothing of it is shown."""
    signing.claims |= claims
    with pytest.raises(AccessDenied) as caught:
        signing.finish()
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("missing", [{"refresh_token": None}, {"id_token": None}, {"access_token": None}])
def test_half_an_answer(signing: Signing, missing: dict[str, Any]) -> None:
    """Without lasting access, or without a name, there is nobody to protect."""
    signing.answer |= missing
    with pytest.raises(AccessDenied):
        signing.finish()


@pytest.mark.parametrize("id_token", ["x", "a.b.c", "a.bm8.c", 7])
def test_an_id_token_that_is_none(signing: Signing, id_token: Any) -> None:
    """Nonsense in the place of a token is an error of this sign-in, not a crash."""
    signing.answer["id_token"] = id_token
    with pytest.raises((AccessDenied, Temporary)):
        signing.finish()


def test_refused_code(signing: Signing) -> None:
    """Microsoft's refusal of a code is told by its number alone."""
    refusal = {"error": "invalid_grant", "error_description": "AADSTS54005: CANARY", "error_codes": [54005]}
    signing.answer = {**refusal, "id_token": None}
    with pytest.raises(AccessDenied, match="AADSTS54005") as caught:
        signing.finish()
    assert "CANARY" not in str(caught.value)


def test_national_cloud(world: Any, mock: Any) -> None:
    """The scopes of a national cloud name its Graph."""
    assert "https://graph.microsoft.us/Files.Read" in Signing(world, mock, "https://graph.microsoft.us").asked["scope"]
