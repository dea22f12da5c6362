"""Admin consent: the page, what it leaves in the tenant, and how long that takes."""

from typing import Any

import pytest

DEFAULT = "https://graph.microsoft.com/.default"
BACK = "https://app.example/back"


def _page(desk: Any, tenant: str = "organizations", /, **changes: str | None) -> tuple[int, dict[str, str]]:
    asked = {"client_id": desk.app.client_id, "scope": DEFAULT, "redirect_uri": BACK, "state": "s&1"}
    status, fields = desk.browse(f"/{tenant}/v2.0/adminconsent", **(asked | changes))
    return status, fields


def _number(desk: Any, tenant: Any) -> int:
    status, answer = desk.app_only(tenant.tenant.id)
    return 200 if status == 200 else int(answer["error_codes"][0])


def _roles(desk: Any, tenant: Any) -> frozenset[str]:
    grant = desk.tokens.check(desk.app_only(tenant.tenant.id)[1]["access_token"])
    assert grant.tenant_id == tenant.tenant.id
    return frozenset(grant.roles)


def test_the_first_tenant_has_consented_and_others_have_not(desk: Any) -> None:
    """Without consent there is no token, however right the secret is; with it the token is that tenant's."""
    other = desk.add_tenant("fabrikam.example")
    assert (_number(desk, desk.directory), _number(desk, other)) == (200, 7000229)
    desk.consent.tenant = other.tenant
    assert _page(desk) == (
        302,
        {"admin_consent": "True", "tenant": other.tenant.id, "scope": DEFAULT, "state": "s&1"},
    )
    assert _roles(desk, other) == desk.app.roles


def test_who_has_not_consented_sits_before_the_page(desk: Any) -> None:
    """Unless told otherwise the page is shown to a new tenant, or to the one in its address."""
    other = desk.add_tenant("fabrikam.example")
    assert _page(desk, desk.tenant_id)[1]["tenant"] == desk.tenant_id
    assert _page(desk)[1]["tenant"] == other.tenant.id
    assert _page(desk)[1]["tenant"] == desk.tenant_id
    desk.consent.tenant = other.tenant
    assert _page(desk, desk.tenant_id) == (400, {"number": "50020"})


def test_consent_is_for_one_app_in_one_tenant(desk: Any, make_desk: Any) -> None:
    """Another tenant, and another app of the same tenant, have nothing of it."""
    one, two = desk.add_tenant("one.example"), desk.add_tenant("two.example")
    writer = make_desk().app
    desk.consent.grant(one.tenant)
    assert [desk.consent.has(each.tenant) for each in (one, two)] == [True, False]
    writer.client_id = "another"
    assert not desk.consent.has(one.tenant, writer) and desk.consent.has(desk.directory.tenant, writer)


def test_consent_that_is_taken_back(desk: Any) -> None:
    """Also the first tenant's: no further token, until somebody consents again."""
    token = desk.app_only()[1]["access_token"]
    desk.consent.revoke(desk.directory.tenant)
    assert _number(desk, desk.directory) == 7000229 and desk.tokens.check(token) is not None
    desk.consent.grant(desk.directory.tenant)
    assert _number(desk, desk.directory) == 200


@pytest.mark.parametrize(
    ("outcome", "fields", "number"),
    [
        ("deny", {"admin_consent", "error", "error_description", "state"}, "65004"),
        ("not-admin", {"admin_consent", "error", "error_description", "state"}, "90094"),
        ("approval-workflow", {"admin_consent", "error", "error_description", "state"}, "90095"),
        ("cancel", {"error", "error_subcode", "state"}, ""),
    ],
)
def test_whoever_does_not_consent_goes_back_with_an_error(
    desk: Any, outcome: str, fields: set[str], number: str
) -> None:
    """Each refusal has its own words, may still say `admin_consent=True`, and leaves nothing in the tenant."""
    other = desk.add_tenant("fabrikam.example")
    desk.consent.tenant, desk.consent.outcome = other.tenant, outcome
    status, answer = _page(desk)
    assert (status, set(answer)) == (302, fields)
    assert answer.get("error_description", "").startswith(f"AADSTS{number}:" if number else "")
    assert answer["error"] == ("consent_required" if outcome == "approval-workflow" else "access_denied")
    assert not desk.consent.has(other.tenant)


@pytest.mark.parametrize(
    ("tenant", "changes", "number"),
    [
        ("organizations", {"client_id": "nobody"}, "700016"),
        ("organizations", {"redirect_uri": None}, "900971"),
        ("organizations", {"redirect_uri": "http://evil.example/back"}, "50011"),
        ("organizations", {"scope": None}, "900144"),
        ("organizations", {"scope": "https://elsewhere.example/.default"}, "500011"),
        ("common", {}, "90124"),
        ("consumers", {}, "90124"),
        ("nowhere.example", {}, "90002"),
    ],
)
def test_a_wrong_request_gets_a_page_and_no_redirect(
    desk: Any, tenant: str, changes: dict[str, str | None], number: str
) -> None:
    """Where the app or its address is wrong, the browser stays on the sign-in host."""
    desk.consent.revoke(desk.directory.tenant)
    assert _page(desk, tenant, **changes) == (400, {"number": number})
    assert not desk.consent.has(desk.directory.tenant)


def test_registered_addresses_are_compared_whole(desk: Any) -> None:
    """With addresses registered no other is used; on this machine the port does not count."""
    desk.app.redirect_uris = {"https://app.example/back", "http://localhost/back"}
    assert _page(desk)[0] == 302
    for uri in ("https://app.example/back/", "https://app.example:444/back", "http://localhost:1/other"):
        assert _page(desk, redirect_uri=uri) == (400, {"number": "50011"})
    asked = f"client_id={desk.app.client_id}&scope={DEFAULT}&redirect_uri=http://localhost:1234/back"
    answer = desk.ask("GET", f"/organizations/v2.0/adminconsent?{asked}")
    assert answer.headers["location"].startswith("http://localhost:1234/back?admin_consent=True&tenant=")


def test_the_older_page_needs_no_scope(desk: Any) -> None:
    """Version 1 takes `common`, and names no scope in its answer."""
    asked = {"client_id": desk.app.client_id, "redirect_uri": BACK, "state": "1"}
    status, answer = desk.browse("/common/adminconsent", **asked)
    assert (status, answer) == (302, {"admin_consent": "True", "tenant": desk.tenant_id, "state": "1"})


def test_scopes_of_people_bring_no_role(desk: Any) -> None:
    """A consent to scopes by name makes the app known in the tenant, and its tokens have no role."""
    other = desk.add_tenant("fabrikam.example")
    assert _page(desk, other.tenant.id, scope="https://graph.microsoft.com/Files.Read")[0] == 302
    assert _roles(desk, other) == frozenset()


def test_a_grant_may_lack_a_role(desk: Any) -> None:
    """What the registration gained after the consent, or what the switch leaves out, is not in the token."""
    other = desk.add_tenant("fabrikam.example")
    desk.consent.grant(other.tenant)
    desk.app.roles |= {"Sites.Read.All"}
    assert _roles(desk, other) == {"Files.Read.All"}
    desk.consent.roles = frozenset({"Sites.Read.All"})
    assert _page(desk, other.tenant.id)[0] == 302
    assert _roles(desk, other) == {"Sites.Read.All"}


def test_a_consent_arrives_after_some_token_requests(desk: Any) -> None:
    """First the tenant does not know the app, in all three ways, then tokens lack the roles, then they have them."""
    other = desk.add_tenant("fabrikam.example")
    desk.consent.arrives_calls = 4
    assert _page(desk, other.tenant.id)[0] == 302
    assert [_number(desk, other) for _ in range(3)] == [700016, 7000229, 65001]
    assert _roles(desk, other) == frozenset()
    assert _roles(desk, other) == desk.app.roles


def test_a_consent_arrives_with_time(desk: Any) -> None:
    """It takes as long as it takes, however often somebody asks, and other tenants notice nothing."""
    other = desk.add_tenant("fabrikam.example")
    desk.consent.arrives_after = 60
    assert _page(desk, other.tenant.id)[0] == 302
    assert 200 not in [_number(desk, other) for _ in range(9)]
    desk.clock.advance(50)
    assert _roles(desk, other) == frozenset()
    desk.clock.advance(10)
    assert _roles(desk, other) == desk.app.roles == _roles(desk, desk.directory)
