"""An administrator connects an organisation: every way in which that can end, and what is registered by each."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from support.reception import SITE, Browser, Reception, query_of, with_query

from backup_core.onboarding import consent
from backup_core.onboarding.connect import PERSONAL_TENANT
from backup_core.onboarding.consent import consent_address, prove, prove_consent
from backup_core.registry.tenants import CONNECTED, CONSENT_LOST, PENDING
from backup_core.testing.m365.simulated_tenant import SimulatedTenant
from backup_core.triggers import onboarding
from backup_core.triggers.http import Answer
from backup_core.triggers.outcomes import outcome


class Visit:
    """One administrator's way through the pages. `enrol`: for which tenants users are to be read, and after what."""

    def __init__(self, browser: Browser) -> None:
        self.browser, self.enrol = browser, list[tuple[str, str]]()

    def go(self, **changed: str | None) -> Answer:
        """To Microsoft and back; `changed` parameters are other ones on the way back."""
        return self.come_back(with_query(self.way_back(), **changed))

    def way_back(self) -> str:
        return self.browser.microsoft(self.browser.open(onboarding.onboard_start, "/onboard/start"))

    def come_back(self, path: str) -> Answer:
        return self.browser.open(onboarding.onboard_callback, path, lambda *job: self.enrol.append(job))


@pytest.fixture
def visit(browser: Browser) -> Visit:
    return Visit(browser)


def shows(answer: Answer, kind: str) -> bool:
    return outcome(kind, "onboard").title.replace("'", "&#39;") in str(answer.body)


def fabrikam(made: Reception, **facts: Any) -> SimulatedTenant:
    """Another organisation, whose administrator sits before the page."""
    tenant = made.m365.add_tenant("fabrikam.example", **facts)
    made.m365.consent.tenant = tenant
    return tenant


def test_granted(one: Reception, visit: Visit) -> None:
    """Consent is proved, the tenant is registered with its name, and its users are to be read."""
    tenant = fabrikam(one)
    answer = visit.go()
    assert (answer.status, shows(answer, "granted")) == (200, True)
    stored = one.tenant(tenant.id)
    assert (stored.state, stored.domain, stored.users_read_at) == (CONNECTED, "fabrikam.example", None)
    assert stored.connected_at == one.clock.now().replace(microsecond=0)
    assert visit.enrol == [(tenant.id, "")]
    assert [entry.what for entry in one.audited(tenant.id)] == ["tenant.granted"]


def test_named_by_microsoft(one: Reception, visit: Visit) -> None:
    """Where the app may read what the organisation is called, it is called so, on the page too."""
    one.m365.app.roles |= {"Organization.Read.All"}
    tenant = fabrikam(one)
    answer = visit.go()
    assert one.tenant(tenant.id).domain == "fabrikam.example"
    assert one.tenant(tenant.id).name == tenant.display_name
    assert tenant.display_name in str(answer.body)


def test_the_way_there(one: Reception, browser: Browser) -> None:
    """Microsoft's consent page is asked for all roles of the registration, and told nothing but app, way and state."""
    answer = browser.open(onboarding.onboard_start, "/onboard/start")
    location = answer.headers["Location"]
    assert location.startswith(f"{one.m365.authority_url}/organizations/v2.0/adminconsent?")
    asked = query_of(location)
    state = asked.pop("state")
    assert asked == {
        "client_id": one.client_id,
        "scope": "https://graph.microsoft.com/.default",
        "redirect_uri": f"{SITE}/onboard/callback",
    }
    assert answer.cookie is not None
    for part in ("__Host-", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert part in answer.cookie
    (binding,) = browser.cookies.values()
    assert binding not in location
    assert binding not in state


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        ("deny", "denied"),
        ("cancel", "denied"),
        ("not-admin", "not-admin"),
        ("approval-workflow", "approval"),
    ],
)
def test_no_consent(one: Reception, visit: Visit, ending: Any, kind: str) -> None:
    """An error is looked at first, also where Microsoft says admin_consent=True beside it: nothing is registered."""
    fabrikam(one)
    one.m365.consent.outcome = ending
    answer = visit.go()
    assert shows(answer, kind)
    assert one.is_empty()
    assert visit.enrol == []


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("error=server_error&error_description=AADSTS90033", "error"),
        ("error=permission_denied&error_description=The+admin+canceled+the+request", "denied"),
        ("error=access_denied&error_description=AADSTS90093", "not-admin"),
        ("error=consent_required&error_description=AADSTS65004", "denied"),
        ("error=&code=x&state=y", "error"),
        ("admin_consent=False&tenant=x&state=y", "denied"),
        ("", "portal"),
        ("admin_consent=True&tenant=11111111-2222-3333-4444-555555555555", "portal"),
        ("admin_consent=True&tenant=11111111-2222-3333-4444-555555555555&state=", "expired"),
        ("admin_consent=True&tenant=11111111-2222-3333-4444-555555555555&state=x.y", "expired"),
    ],
)
def test_called_by_itself(one: Reception, visit: Visit, query: str, kind: str) -> None:
    """Whatever the callback is called with from anywhere: a page that says how to go on, and no request, no change."""
    one.m365.log.clear()
    answer = visit.come_back(f"/onboard/callback?{query}")
    assert shows(answer, kind)
    assert one.is_empty()
    assert (visit.enrol, list(one.m365.log)) == ([], [])


def test_microsofts_words_are_text(visit: Visit) -> None:
    """HTML in a description is shown as it is written, on one line, cut at 300 characters."""
    attack = "<script>alert(1)</script>%0d%0a" + "x" * 400
    body = str(visit.come_back(f"/onboard/callback?error=server_error&error_description={attack}").body)
    assert "<script>" not in body
    assert "&lt;script&gt;alert(1)&lt;/script&gt; xxx" in body
    assert "x" * 274 in body
    assert "x" * 275 not in body


@pytest.mark.parametrize(
    "change",
    ["later", "again", "other browser", "no cookie", "other way"],
)
def test_a_way_back_that_fits_no_way_there(one: Reception, visit: Visit, change: str) -> None:
    """Too late, a second time, in another browser, or from the other page: refused, nothing registered by it."""
    tenant = fabrikam(one)
    path = visit.way_back()
    if change == "later":
        one.clock.advance(15 * 60)
    elif change == "again":
        visit.come_back(path)
        one.registry.tenants.save(one.tenant(tenant.id), one.tenant(tenant.id))
    elif change == "other browser":
        visit = Visit(Browser(one))
        visit.way_back()
    elif change == "no cookie":
        visit.browser.cookies.clear()
    else:
        sent = visit.browser.open(onboarding.connect_start, "/connect/start")
        path = with_query(path, state=query_of(sent.headers["Location"])["state"])
    before = list(visit.enrol)
    answer = visit.come_back(path)
    assert (answer.status, shows(answer, "expired")) == (400, True)
    assert visit.enrol == before
    assert one.is_empty() == (change != "again")


@pytest.mark.parametrize(
    "tenant",
    ["common", "organizations", "consumers", PERSONAL_TENANT, PERSONAL_TENANT.upper(), "", "../x", "contoso.com",
     "11111111-2222-3333-4444-55555555555", "11111111-2222-3333-4444-555555555555/", "%00", "x" * 5000],
)  # fmt: skip
def test_not_an_organisation(one: Reception, visit: Visit, tenant: str) -> None:
    """A tenant that is no directory's id is not even asked for a token."""
    path = with_query(visit.way_back(), tenant=tenant)
    one.m365.log.clear()
    answer = visit.come_back(path)
    assert (answer.status, shows(answer, "error")) == (400, True)
    assert one.is_empty()
    assert list(one.m365.log) == []


def test_a_tenant_that_has_not_consented(one: Reception, visit: Visit) -> None:
    """Consent of one, the callback changed to another: that one is never registered, however long is tried."""
    fabrikam(one)
    victim = one.m365.add_tenant("victim.example")
    answer = visit.go(tenant=victim.id)
    assert shows(answer, "waiting")
    assert one.is_empty()
    for _ in range(3):
        assert prove_consent(one, victim.id, "page") == {
            "ok": False,
            "enrol": False,
            "reason": "waiting",
            "retry_after": consent.ASK_AGAIN_SECONDS,
        }
    assert one.is_empty()


def test_a_token_of_another_tenant(one: Reception, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that names another tenant, or another app, proves nothing."""
    tenant, own = fabrikam(one), one.app_tokens(one.m365.tenant.id)
    monkeypatch.setattr(one, "app_tokens", lambda _: own)
    answer = visit.go()
    assert (answer.status, shows(answer, "wrong-tenant")) == (400, True)
    assert one.is_empty()
    assert prove(own, tenant.id, one.client_id).kind == "wrong-tenant"
    assert prove(own, one.m365.tenant.id, "00000000-0000-0000-0000-00000000000a").kind == "wrong-tenant"
    assert prove(own, one.m365.tenant.id, one.client_id.upper()).kind == "granted"
    assert (one.is_empty(), visit.enrol) == (True, [])


def test_a_missing_role(one: Reception, visit: Visit) -> None:
    """Consent to less than a backup needs: the missing role is named, and nothing registered; soon, not after 20 s."""
    fabrikam(one)
    one.m365.consent.roles = frozenset({"User.Read.All"})
    answer = visit.go()
    assert shows(answer, "missing-permission")
    assert "Files.Read.All" in str(answer.body)
    assert "User.Read.All" not in str(answer.body)
    assert (one.is_empty(), visit.enrol) == (True, [])
    assert one.clock.monotonic() <= 5


@pytest.mark.parametrize("calls", [1, 4])
def test_slow_consent_that_arrives(one: Reception, visit: Visit, calls: int) -> None:
    """A consent that takes some seconds is waited for: with new tokens each time, an old one would show no role."""
    tenant = fabrikam(one)
    one.m365.consent.arrives_calls = calls
    answer = visit.go()
    assert shows(answer, "granted")
    assert visit.enrol == [(tenant.id, "")]
    assert 0 < one.clock.monotonic() <= consent.WAIT_SECONDS


def test_slow_consent_goes_on_behind_the_page(one: Reception, visit: Visit) -> None:
    """What takes minutes is no page's matter: after 20 s it says so, and a job goes on until it is registered."""
    tenant = fabrikam(one)
    one.m365.consent.arrives_after = 300
    answer = visit.go()
    assert (answer.status, shows(answer, "waiting")) == (200, True)
    assert one.clock.monotonic() <= consent.WAIT_SECONDS
    assert one.is_empty()
    assert visit.enrol == [(tenant.id, onboarding.WHO)]
    tries = 0
    while not (proved := prove_consent(one, tenant.id, onboarding.WHO))["ok"]:
        one.clock.advance(proved["retry_after"])
        tries += 1
    assert 5 < tries < 15
    assert proved == {"ok": True, "enrol": True, "reason": "granted", "retry_after": None}
    assert one.tenant(tenant.id).state == CONNECTED


def test_proving_twice(one: Reception, visit: Visit) -> None:
    """An activity that runs twice registers once, and changes nothing the second time."""
    tenant = fabrikam(one)
    one.m365.consent.grant(tenant)
    assert prove_consent(one, tenant.id.upper(), "page")["reason"] == "granted"
    first = one.tenant(tenant.id)
    one.clock.advance(60)
    assert prove_consent(one, tenant.id, "page")["reason"] == "already-connected"
    assert one.tenant(tenant.id) == first
    assert len(one.audited(tenant.id)) == 1


def test_already_connected(one: Reception, visit: Visit) -> None:
    """Connecting again says so, keeps when it was connected, and reads the users anew."""
    tenant = fabrikam(one)
    visit.go()
    one.read_users(tenant.id)
    first = one.tenant(tenant.id)
    assert first.users_read_at is not None
    one.clock.advance(3600)
    answer = visit.go()
    assert shows(answer, "already-connected")
    assert one.tenant(tenant.id).connected_at == first.connected_at
    assert one.tenant(tenant.id).users_read_at is None
    assert visit.enrol[-1] == (tenant.id, "")


def test_foreign_tenant_waits_for_approval(one: Reception, visit: Visit) -> None:
    """Under `approve` a foreign tenant is pending, known by its users' domain; the home tenant is let in at once."""
    one.onboarding, one.home_tenant = "approve", one.m365.tenant.id
    tenant = fabrikam(one)
    answer = visit.go()
    assert shows(answer, "pending-approval")
    stored = one.tenant(tenant.id)
    assert (stored.state, stored.name, stored.domain) == (PENDING, "fabrikam.example", "fabrikam.example")
    one.registry.tenants.save(stored, replace(stored, name="Fabrikam"))
    assert visit.enrol == []
    assert one.read_users(tenant.id)[-1]["next"] is None
    assert one.accounts(tenant.id) == []
    assert shows(visit.go(), "pending-approval")
    assert one.tenant(tenant.id).name == "Fabrikam"
    assert prove_consent(one, tenant.id, "page") == {
        "ok": True,
        "enrol": False,
        "reason": "pending-approval",
        "retry_after": None,
    }
    one.m365.consent.tenant = one.m365.tenant
    assert shows(visit.go(), "granted")
    assert one.tenant(one.home_tenant).state == CONNECTED


def test_consent_given_anew(one: Reception, visit: Visit) -> None:
    """A tenant whose consent was lost is connected again by a new one, approved as it was before."""
    one.onboarding, one.home_tenant = "approve", one.m365.tenant.id
    tenant = fabrikam(one)
    visit.go()
    stored = one.tenant(tenant.id)
    one.registry.tenants.save(stored, stored.__class__(**{**vars(stored), "state": CONSENT_LOST}))
    one.clock.advance(3600)
    assert shows(visit.go(), "granted")
    assert one.tenant(tenant.id).state == CONNECTED
    assert one.tenant(tenant.id).connected_at == one.clock.now()


def test_a_wrong_secret(one: Reception, visit: Visit, caplog: pytest.LogCaptureFixture) -> None:
    """An app that cannot prove itself is no slow consent: no waiting, no job, an error page; the log says why."""
    tenant = fabrikam(one)
    one.secret = "wrong"
    answer = visit.go()
    assert (answer.status, shows(answer, "error")) == (400, True)
    assert visit.enrol == []
    assert one.clock.monotonic() == 0
    assert prove_consent(one, tenant.id, "page")["retry_after"] is None
    assert tenant.id in caplog.text and "DRIVEKEEP_CLIENT_SECRET" in caplog.text


def test_a_sign_in_host_that_hangs(one: Reception, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page comes in time whatever Microsoft's servers do; the rest goes on behind it."""
    tenant, let_go = fabrikam(one), threading.Event()
    path = visit.way_back()

    def hang(*_: Any) -> None:
        let_go.wait(20)

    monkeypatch.setattr(onboarding, "_ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(onboarding, "settle_patiently", hang)
    answer = visit.come_back(path)
    let_go.set()
    assert shows(answer, "waiting")
    assert visit.enrol == [(tenant.id, onboarding.WHO)]


def test_an_unknown_master_key(one: Reception, visit: Visit) -> None:
    """Where the registry was made with another master key nothing is registered."""
    tenant = fabrikam(one)
    one.m365.consent.grant(tenant)
    one.key_is_known = False
    with pytest.raises(RuntimeError):
        prove_consent(one, tenant.id, "page")
    assert one.is_empty()


def test_national_cloud(one: Reception) -> None:
    """A national cloud's consent page is asked for the scope of its own Graph."""
    one.settings.graph_url = "https://graph.microsoft.us"
    assert query_of(consent_address(one, SITE, "s"))["scope"] == "https://graph.microsoft.us/.default"


_PAYLOADS = [
    "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example",
    "https:/evil.example", "///evil.example", "javascript:alert(1)", "data:text/html,x", "%2f%2fevil.example",
    "https://drivekeep.example.evil.example", "https://drivekeep.example@evil.example", "\thttps://evil.example",
    "\r\nLocation: https://evil.example", "http://[::1]/", "//evil.example/%2e%2e", "https://evil.example#",
    "https://evil.example?", "//google.com%00", "vbscript:x",
]  # fmt: skip


@pytest.mark.parametrize("payload", _PAYLOADS)
@pytest.mark.parametrize("page", ["start", "callback"])
def test_no_open_redirect(one: Reception, visit: Visit, payload: str, page: str) -> None:
    """No parameter of any page leads a browser anywhere but to the sign-in host."""
    names = ("redirect_uri", "redirect", "return", "returnUrl", "next", "url", "state", "tenant", "code", "scope", "ru")
    path = with_query("/x", **dict.fromkeys(names, payload))
    if page == "start":
        visit.browser.open(onboarding.onboard_start, path)
        visit.browser.open(onboarding.connect_start, path)
        visit.browser.open(onboarding.onboard, path)
        visit.browser.open(onboarding.connect_page, path)
        assert len(visit.browser.locations) == 2
    else:
        visit.browser.open(onboarding.connect_callback, path)
        visit.come_back(path)
        assert visit.browser.locations == []
    for location in visit.browser.locations:
        assert location.startswith(one.m365.authority_url + "/")
        assert "evil" not in location
        assert one.m365.client_secret not in location
