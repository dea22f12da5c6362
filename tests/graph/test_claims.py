"""What tokens say of themselves: read where it makes sense, refused where it is for somebody else or out of date."""

import base64
import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import AccessDenied
from backup_core.graph.claims import Person, app_claims, person

APP = "99999999-8888-7777-6666-555555555555"
TENANT = "22222222-3333-4444-5555-666666666666"
NOW = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)


def token(claims: Any, header: str = "e30") -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{header}.{payload}.signature"


def id_token(**changed: Any) -> dict[str, Any]:
    claims = {
        "aud": APP,
        "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
        "tid": TENANT,
        "oid": "AAAAAAAA-0000-0000-0000-000000000001",
        "nbf": NOW.timestamp(),
        "exp": NOW.timestamp() + 3600,
        "preferred_username": "ann@x.example",
        "name": "Ann",
    }
    return {name: claim for name, claim in (claims | changed).items() if claim is not None}


def test_app_only_token() -> None:
    """Tenant, app and roles, ids in lower case."""
    claims = app_claims(token({"tid": TENANT.upper(), "appid": APP.upper(), "roles": ["Files.Read.All", 7]}))
    assert claims == (TENANT, APP, {"Files.Read.All"})
    assert app_claims(token({"tid": TENANT, "azp": APP})) == (TENANT, APP, frozenset())
    assert app_claims(token({"tid": 7, "appid": None, "roles": "Files.Read.All"})) == ("", "", frozenset())


@pytest.mark.parametrize("text", ["", "opaque", "a.b", "a..c", "a.%.c", token([]), token("x"), token(None), "a.é.c"])
def test_a_token_that_is_none(text: str) -> None:
    """What cannot be read proves nothing, and is not repeated in the error."""
    with pytest.raises(AccessDenied) as caught:
        app_claims(text)
    assert not text or text not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """No text makes anything but claims or AccessDenied."""
    try:
        app_claims(f"a.{text}.c")
    except AccessDenied:
        pass


def test_person() -> None:
    """Who signed in: the object id in their tenant, in lower case."""
    found = person(id_token(), APP.upper(), NOW)
    assert found == Person(TENANT, "aaaaaaaa-0000-0000-0000-000000000001", "ann@x.example", "Ann")
    nameless = person(id_token(name=None, preferred_username=None, email="a@b"), APP, NOW)
    assert (nameless.upn, nameless.name) == ("a@b", "a@b")


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "00000000-0000-0000-0000-000000000000"},
        {"aud": [APP]},
        {"aud": None},
        {"iss": "https://login.microsoftonline.com/11111111-3333-4444-5555-666666666666/v2.0"},
        {"iss": f"http://login.microsoftonline.com/{TENANT}/v2.0"},
        {"iss": f"https://login.microsoftonline.com/{TENANT}/v2.0/x"},
        {"iss": None},
        {"tid": None},
        {"tid": ""},
        {"tid": "11111111-3333-4444-5555-666666666666"},
        {"oid": None},
        {"oid": 7},
        {"exp": NOW.timestamp() - 301},
        {"exp": None},
        {"exp": "later"},
        {"nbf": NOW.timestamp() + 301},
        {"nbf": "now"},
    ],
)
def test_not_about_anybody_here(changed: dict[str, Any]) -> None:
    """A token for another app, of another issuer, out of date, or that names nobody, is refused."""
    with pytest.raises(AccessDenied):
        person(id_token(**changed), APP, NOW)


def test_clocks_may_differ() -> None:
    """Five minutes between Microsoft's clock and ours refuse nobody."""
    assert person(id_token(exp=NOW.timestamp() - 299), APP, NOW)
    assert person(id_token(nbf=NOW.timestamp() + 299), APP, NOW)
