"""Who is let in, and whose things they see."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.api import ANN, HOME, KEY, PROGRAM, A, Api, ApiService, B, header, operator, principal

LONG_TENANT_CLAIM = "http://schemas.microsoft.com/identity/claims/tenantid"


def status(api: Api, headers: dict[str, str], url: str = "/api/tenants") -> tuple[int, str]:
    reply = api.get(url, headers)
    return reply.status, reply.document.get("reason", "")


def test_nobody_is_refused(api: Api) -> None:
    """Without a key and without a principal there is nothing to see."""
    assert status(api, {}) == (401, "nobody")


@pytest.mark.parametrize("key", [KEY, "another-key"])
def test_every_key_sees_all(api: Api, key: str) -> None:
    """Each of several keys is good, whichever comes first."""
    reply = api.get("/api/tenants", {"x-drivekeep-key": key})
    assert [tenant["id"] for tenant in reply.document["items"]] == [A, B, HOME]


@pytest.mark.parametrize("key", ["x", KEY[:-1], KEY + "x", KEY.upper(), f"another-key,{KEY}", ",", " ", "ä", "\x00"])
def test_what_is_no_key_is_refused(api: Api, key: str) -> None:
    """A part of a key, the whole list or an odd text opens nothing, even beside a good principal."""
    assert status(api, {"x-drivekeep-key": key}) == (401, "nobody")
    assert status(api, {"x-drivekeep-key": key, **operator(HOME)}) == (401, "nobody")


def test_without_keys_no_program_may(tmp_path, service: ApiService, api: Api) -> None:
    """Where no key is set, or only commas, an empty or any key is refused."""
    for setting in ("", ",", " , "):
        api.service = ApiService({"DRIVEKEEP_API_KEY": setting, "DRIVEKEEP_STORAGE": "x"}, tmp_path, service.clock)
        for key in ("", " ", ",", "x"):
            assert status(api, {"x-drivekeep-key": key}) == (401, "nobody"), (setting, key)


def test_an_operator_sees_the_own_tenant(api: Api) -> None:
    """The tenant of the claim, in whatever case, and no other."""
    reply = api.get("/api/tenants", operator(A.upper()))
    assert [tenant["id"] for tenant in reply.document["items"]] == [A]
    assert status(api, operator(A), f"/api/tenants/{B}") == (404, "not-found")


def test_the_home_tenant_sees_all(api: Api) -> None:
    """Its operators see every tenant."""
    assert len(api.get("/api/tenants", operator(HOME)).document["items"]) == 3


def test_a_person_without_the_role_is_forbidden(api: Api) -> None:
    """Signed in is not enough; a role of another spelling is another role."""
    for roles in ((), ("operator",), ("Operators",), ("Operator ",), ("Reader", "Writer")):
        assert status(api, principal(HOME, *roles)) == (403, "no-role"), roles


def test_the_role_counts_only_as_a_role(api: Api) -> None:
    """The word in a claim of another type makes nobody an operator."""
    claims = [{"typ": "tid", "val": A}, {"typ": "groups", "val": "Operator"}, {"typ": "role", "val": "Operator"}]
    assert status(api, header({"auth_typ": "aad", "claims": claims})) == (403, "no-role")


@pytest.mark.parametrize("name", ["tid", LONG_TENANT_CLAIM])
def test_both_names_of_the_tenant_claim_count(api: Api, name: str) -> None:
    """App Service maps the claim in one version and leaves it in another."""
    claims = [{"typ": name, "val": A}, {"typ": "roles", "val": "Operator"}]
    assert status(api, header({"auth_typ": "aad", "claims": claims}), f"/api/tenants/{A}")[0] == 200


@pytest.mark.parametrize(
    ("setting", "platform", "kind"),
    [("false", "True", "aad"), ("true", "False", "aad"), ("true", "", "aad"), ("true", "True", "google")],
)
def test_a_principal_is_believed_only_where_the_platform_sends_it(
    service: ApiService, api: Api, tmp_path, monkeypatch: pytest.MonkeyPatch, setting: str, platform: str, kind: str
) -> None:
    """With either switch off, or from another sign-in, the header is as good as none."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", platform)
    api.service = ApiService({"DRIVEKEEP_TRUST_PRINCIPAL": setting, "DRIVEKEEP_STORAGE": "x"}, tmp_path, service.clock)
    assert status(api, principal(HOME, "Operator", kind=kind)) == (401, "nobody")


def _claims(*pairs: tuple[str, object]) -> dict[str, object]:
    return {"auth_typ": "aad", "claims": [{"typ": typ, "val": val} for typ, val in (("roles", "Operator"), *pairs)]}


@pytest.mark.parametrize(
    "document",
    [
        _claims(("tid", A), ("tid", B)),
        _claims(("tid", A), (LONG_TENANT_CLAIM, B)),
        _claims(("tid", A), ("oid", "1"), ("oid", "2"), ("tid", HOME)),
        _claims(),
        _claims(("tid", "")),
        _claims(("tid", "common")),
        _claims(("tid", f"{A}\n")),
        _claims(("tid", 7)),
        _claims(("tid", None)),
        {"auth_typ": "aad"},
        {"auth_typ": ["aad"], "claims": []},
        {"auth_typ": "aad", "claims": {"tid": A}},
        {"auth_typ": "aad", "claims": ["tid"]},
        [],
        None,
        "aad",
        7,
    ],
)
def test_a_principal_that_makes_no_sense_is_nobody(api: Api, document: object) -> None:
    """Two tenants, no tenant, or another shape: refused, never an error and never one of the two."""
    assert status(api, header(document)) == (401, "nobody")


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "====",
        "not base64!",
        base64.b64encode(b"\xff\xfe{").decode(),
        base64.b64encode(b"{").decode(),
        base64.b64encode(b"[" * 40_000).decode(),
        base64.b64encode(json.dumps(_claims(("tid", A), ("x", "y" * 60_000))).encode()).decode(),
        "A" * 1_000_000,
        "ä" * 10,
    ],
)
def test_a_hostile_header_is_nobody(api: Api, text: str) -> None:
    """Not base64, not JSON, nested without end, or huge."""
    assert status(api, {"X-MS-CLIENT-PRINCIPAL": text}) == (401, "nobody")


@given(data=st.binary(max_size=300))
def test_no_header_breaks_anything(shared_api: Api, data: bytes) -> None:
    """Whatever bytes the header holds, the answer is a refusal."""
    reply = shared_api.get("/api/tenants", {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(data).decode()})
    assert reply.status == 401


def test_the_audit_names_who_it_was(api: Api) -> None:
    """A person by their name, a program by the number of its key, never by the key."""
    for number, headers in enumerate((principal(A, "Operator", name="eve@alpha.example"), PROGRAM)):
        assert api.send("PATCH", f"/api/accounts/{ANN}", headers, json_body={"tags": [str(number)]}).status == 200
    rows = api.get("/api/audit").document["items"]
    assert {row["who"] for row in rows} == {"eve@alpha.example", "API key 2"}
    assert KEY not in json.dumps(rows)
