"""A person signs in by browser: the page, the code, and what the code is good for."""

import base64
import hashlib
import json
from types import SimpleNamespace
from typing import Any

import jwt
import pytest

from backup_core.testing.m365.directory import build_directory
from backup_core.testing.m365.tokens import CONSUMERS

BACK = "https://app.example/back"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
SCOPES = "openid profile offline_access Files.Read"


def _page(desk: Any, tenant: str = "common", /, **changes: str | None) -> tuple[int, dict[str, str]]:
    asked = {
        "client_id": desk.app.client_id,
        "response_type": "code",
        "redirect_uri": BACK,
        "scope": SCOPES,
        "state": "1",
        "nonce": "n",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    status, fields = desk.browse(f"/{tenant}/oauth2/v2.0/authorize", **(asked | changes))
    return status, fields


def _redeem(desk: Any, code: str, tenant: str = "common", /, **changes: str | None) -> tuple[int, dict[str, Any]]:
    form = {
        "grant_type": "authorization_code",
        "client_id": desk.app.client_id,
        "code": code,
        "redirect_uri": BACK,
        "code_verifier": VERIFIER,
        "client_info": "1",
    }
    status, answer = desk.token(tenant, **{k: v for k, v in (form | changes).items() if v is not None})
    return status, answer


def _visitor(desk: Any, directory: Any, number: int = 0) -> None:
    user = directory.users[number]
    desk.visitor.user = SimpleNamespace(id=user.id, tenant_id=directory.tenant.id)


def test_a_code_becomes_the_persons_tokens(desk: Any) -> None:
    """Access, refresh and id token are those of whoever sat there; the nonce comes back in the id token."""
    _visitor(desk, desk.directory, 1)
    status, back = _page(desk)
    assert (status, set(back), back["state"]) == (302, {"code", "state"}, "1")
    status, answer = _redeem(desk, back["code"])
    user = desk.directory.users[1]
    grant = desk.tokens.check(answer["access_token"])
    assert (grant.user, grant.scopes, grant.tenant_id) == (user.id, frozenset({"Files.Read"}), desk.tenant_id)
    claims = jwt.decode(answer["id_token"], options={"verify_signature": False})
    assert (claims["oid"], claims["tid"], claims["nonce"]) == (user.id, desk.tenant_id, "n")
    assert claims["aud"] == desk.app.client_id
    info = json.loads(base64.urlsafe_b64decode(answer["client_info"] + "=="))
    assert info == {"uid": user.id, "utid": desk.tenant_id}
    assert desk.refresh(refresh_token=answer["refresh_token"])[0] == 200


def test_what_was_not_consented_to_cannot_be_refreshed(desk: Any) -> None:
    """A refresh token carries the scopes of its sign-in, not all that the app may ask for."""
    _, answer = _redeem(desk, _page(desk)[1]["code"])
    status, refused = desk.refresh(refresh_token=answer["refresh_token"], scope="User.Read")
    assert (status, refused["error_codes"]) == (400, [65001])


def test_a_code_is_good_once(desk: Any) -> None:
    """The second use is refused with its own number, also after a first that failed."""
    code = _page(desk)[1]["code"]
    assert _redeem(desk, code)[0] == 200
    assert _redeem(desk, code)[1]["error_codes"] == [54005]
    code = _page(desk)[1]["code"]
    assert _redeem(desk, code, code_verifier="w" * 64)[1]["error_codes"] == [501481]
    assert _redeem(desk, code)[1]["error_codes"] == [54005]


def test_a_code_is_good_for_ten_minutes(desk: Any) -> None:
    """It holds until then, and not a moment longer."""
    early, late = _page(desk)[1]["code"], _page(desk)[1]["code"]
    desk.clock.advance(599.9)
    assert _redeem(desk, early)[0] == 200
    desk.clock.advance(0.1)
    assert (_redeem(desk, late)[1]["error"], _redeem(desk, late)[1]["error_codes"]) == ("invalid_grant", [54005])
    third = _page(desk)[1]["code"]
    desk.clock.advance(600)
    assert _redeem(desk, third)[1]["error_codes"] == [70008]


@pytest.mark.parametrize(
    ("tenant", "changes", "number"),
    [
        ("common", {"code": "made up"}, 70000),
        ("common", {"code": None}, 900144),
        ("common", {"redirect_uri": BACK + "/"}, 500112),
        ("common", {"redirect_uri": None}, 500112),
        ("common", {"code_verifier": None}, 501481),
        ("common", {"code_verifier": CHALLENGE}, 501481),
        ("common", {"client_secret": "wrong"}, 7000215),
        ("consumers", {}, 50020),
    ],
)
def test_a_code_is_refused_with_its_number(desk: Any, tenant: str, changes: dict[str, str | None], number: int) -> None:
    """Another address, verifier, secret or tenant than at the page: no tokens."""
    code = _page(desk)[1]["code"]
    status, answer = _redeem(desk, code, tenant, **changes)
    assert (status // 100, answer["error_codes"]) == (4, [number])


def test_a_code_is_good_for_its_app_alone(desk: Any) -> None:
    """Another app that came by the code gets nothing, and the right one is not harmed."""
    code = _page(desk)[1]["code"]
    onedrive = "d50ca740-c83f-4d1b-b616-12c519384f0c"
    assert _redeem(desk, code, client_id=onedrive)[1]["error_codes"] == [70000]
    assert _redeem(desk, code)[0] == 200


def test_a_verifier_without_a_challenge_is_refused(desk: Any) -> None:
    """PKCE that only one half knows of is no PKCE; without both the code alone is enough."""
    bare = {"code_challenge": None, "code_challenge_method": None}
    assert _redeem(desk, _page(desk, **bare)[1]["code"])[1]["error_codes"] == [501481]
    assert _redeem(desk, _page(desk, **bare)[1]["code"], code_verifier=None)[0] == 200


@pytest.mark.parametrize(
    ("outcome", "number"),
    [("access_denied", 65004), ("consent_required", 65001), ("login_required", 50058), ("interaction_required", 50076)],
)
def test_whoever_does_not_sign_in_goes_back_with_an_error(desk: Any, outcome: str, number: int) -> None:
    """The app gets the error by its name, with the state and without a code."""
    desk.visitor.outcome = outcome
    status, back = _page(desk)
    assert (status, back["error"], back["state"], "code" in back) == (302, outcome, "1", False)
    assert back["error_description"].startswith(f"AADSTS{number}: ")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"scope": None}, "invalid_request"),
        ({"scope": "Mail.Read"}, "consent_required"),
        ({"scope": "https://elsewhere.example/Files.Read"}, "invalid_resource"),
    ],
)
def test_a_request_that_asks_wrongly_goes_back(desk: Any, changes: dict[str, str | None], error: str) -> None:
    """What the app did wrong is the app's to hear."""
    status, back = _page(desk, **changes)
    assert (status, back["error"], "code" in back) == (302, error, False)


@pytest.mark.parametrize(
    ("tenant", "changes", "number"),
    [
        ("common", {"client_id": "nobody"}, "700016"),
        ("common", {"redirect_uri": None}, "900971"),
        ("common", {"redirect_uri": "javascript:alert(1)"}, "50011"),
        ("common", {"redirect_uri": "http://evil.example"}, "50011"),
        ("consumers", {}, "50020"),
        ("nowhere.example", {}, "90002"),
    ],
)
def test_nobody_is_sent_to_a_wrong_address(desk: Any, tenant: str, changes: dict[str, str | None], number: str) -> None:
    """An unknown app or address, or a person who does not belong there: a page, and no redirect."""
    assert _page(desk, tenant, **changes) == (400, {"number": number})


def test_personal_and_work_accounts_have_their_doors(desk: Any) -> None:
    """`common` takes both, `organizations` and `consumers` one kind each, a tenant's address its own people."""
    personal = build_directory(1, 1, False, desk.clock)
    desk.tenants.add(personal)
    doors = ("common", "organizations", "consumers", desk.tenant_id)
    _visitor(desk, desk.directory)
    assert [_page(desk, door)[0] for door in doors] == [302, 302, 400, 302]
    _visitor(desk, personal)
    assert [_page(desk, door)[0] for door in doors] == [302, 400, 302, 400]
    _, answer = _redeem(desk, _page(desk)[1]["code"])
    claims = jwt.decode(answer["id_token"], options={"verify_signature": False})
    assert (claims["tid"], claims["oid"]) == (CONSUMERS, personal.users[0].id)
    assert desk.tokens.check(answer["access_token"]).user == personal.users[0].id


def test_without_a_visitor_the_first_who_fits_sits_there(desk: Any) -> None:
    """The address chooses among the tenants."""
    other = desk.add_tenant("fabrikam.example")
    _, answer = _redeem(desk, _page(desk, "fabrikam.example")[1]["code"])
    assert desk.tokens.check(answer["access_token"]).user == other.users[0].id


def test_a_leaver_and_a_disabled_person_cannot_go_on(desk: Any) -> None:
    """Neither at the page nor with a code that they have already."""
    code, later = _page(desk)[1]["code"], _page(desk)[1]["code"]
    desk.user.enabled = False
    assert _page(desk) == (400, {"number": "50057"})
    assert _redeem(desk, code)[1]["error_codes"] == [50057]
    desk.user.enabled = True
    _visitor(desk, desk.directory)
    desk.directory.remove_user(desk.user)
    assert _page(desk) == (400, {"number": "50034"})
    assert _redeem(desk, later)[1]["error_codes"] == [70000]


def test_the_answer_comes_in_the_mode_that_was_asked_for(desk: Any) -> None:
    """In the query, behind the hash, or as a form in which nothing of the request becomes markup."""
    asked = f"client_id={desk.app.client_id}&response_type=code&redirect_uri={BACK}&scope=Files.Read"
    path = "/common/oauth2/v2.0/authorize"
    fragment = desk.ask("GET", f"{path}?{asked}&response_mode=fragment").headers["location"]
    assert fragment.startswith(f"{BACK}#code=")
    form = desk.ask("GET", f"{path}?{asked}&response_mode=form_post&state=%22%3E%3Cscript%3E")
    assert form.status == 200 and f'action="{BACK}"'.encode() in form.body and b"<script>" not in form.body
