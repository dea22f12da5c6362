"""A person connects their own drive by signing in: what is kept of it, and what nobody gets who should not."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.reception import SITE, Browser, Reception, query_of, reception, with_query

from backup_core.errors import AccessDenied
from backup_core.graph.sign_in import SignedIn
from backup_core.onboarding.connect import PERSONAL_TENANT, approve_people, connect, open_flow, seal_flow
from backup_core.onboarding.consent import prove_consent
from backup_core.registry.tenants import CONNECTED, PENDING
from backup_core.testing.m365.simulated_tenant import SimulatedUser
from backup_core.triggers import onboarding
from backup_core.triggers.http import Answer
from backup_core.triggers.outcomes import outcome

_COOKIE = "__Host-drivekeep-connect"


class Kept:
    """Tokens in the registry, as the service keeps them."""

    name, again = "the sealed sign-in", "Sign in again."

    def __init__(self, made: Reception, tenant: str, account: str) -> None:
        self._made, self._whose = made, (tenant, account)

    def read(self) -> bytes:
        return (self._made.registry.tokens.load(*self._whose) or "").encode()

    def replace(self, text: str) -> None:
        self._made.registry.tokens.save(*self._whose, text)


class Visit:
    """One person's way through the pages."""

    def __init__(self, made: Reception, user: SimulatedUser) -> None:
        self.made, self.user, self.browser = made, user, Browser(made)
        made.m365.authorize.user = user

    def way_back(self) -> str:
        return self.browser.microsoft(self.browser.open(onboarding.connect_start, "/connect/start"))

    def come_back(self, path: str) -> Answer:
        return self.browser.open(onboarding.connect_callback, path)

    def go(self, **changed: str | None) -> Answer:
        return self.come_back(with_query(self.way_back(), **changed))

    def account(self) -> Any:
        return self.made.registry.accounts.get(self.user.tenant_id, self.user.id)

    def signed_in(self) -> SignedIn:
        """As a backup does it later."""
        kept = Kept(self.made, self.user.tenant_id, self.user.id)
        url, credential = self.made.m365.graph_url, self.made.user_credential
        return SignedIn(
            self.made.sign_in_host, kept, self.made.client_id, url, self.user.tenant_id, credential=credential
        )


@pytest.fixture(params=["personal", "work", "work, by an app with a secret"])
def visit(request: pytest.FixtureRequest) -> Iterator[Visit]:
    with reception() as made:
        tenant = made.m365.add_personal() if request.param == "personal" else made.m365.add_tenant("fabrikam.example")
        if "secret" in request.param:
            made.user_credential = made.m365.client_secret
            made.m365.app.public_flows = False
        yield Visit(made, tenant.users[0])


def shows(answer: Answer, kind: str) -> bool:
    return outcome(kind, "connect").title.replace("'", "&#39;") in str(answer.body)


def test_connected(visit: Visit) -> None:
    """The account is protected and due at once, in its own tenant, by the object id that the sign-in told."""
    answer = visit.go()
    assert answer.status == 200
    assert visit.user.upn in str(answer.body)
    account = visit.account()
    assert (account.state, account.due_at) == ("protected", visit.made.clock.now())
    assert (account.upn, account.tenant) == (visit.user.upn, visit.user.tenant_id)
    tenant = visit.made.tenant(visit.user.tenant_id)
    assert (tenant.state, tenant.connected_at) == (CONNECTED, None)
    assert {entry.what for entry in visit.made.audited(tenant.id)} == {"tenant.add", "account.connect"}
    assert visit.browser.cookies == {}


def test_tokens_are_sealed_and_work(visit: Visit) -> None:
    """What is kept shows no token in the table, opens drives, and is replaced at each use."""
    visit.go()
    rows = list(visit.made.table.rows(visit.user.tenant_id, "token:", "token;"))
    assert len(rows) == 1
    assert "refresh" not in str(rows).lower()
    for _ in range(3):
        before = visit.made.registry.tokens.load(visit.user.tenant_id, visit.user.id)
        assert visit.signed_in().token()
        after = visit.made.registry.tokens.load(visit.user.tenant_id, visit.user.id)
        assert before != after


def test_sign_in_that_has_ended(visit: Visit) -> None:
    """A dead refresh token is told as such, keeps what is kept, and connecting again cures it."""
    visit.go()
    visit.user.entry.enabled = False
    with pytest.raises(AccessDenied) as caught:
        visit.signed_in().token()
    assert caught.value.reason == "sign-in-again"
    assert "Sign in again." in caught.value.remedy
    assert "token file" not in str(caught.value)
    account = visit.account()
    ended = visit.made.registry.accounts.changes(account, replace(account, state="sign-in-again"))
    visit.made.table.transact(account.tenant, ended)
    visit.user.entry.enabled = True
    visit.go()
    assert visit.account().state == "protected"
    assert visit.signed_in().token()


def test_the_way_there(visit: Visit) -> None:
    """PKCE and nonce go along, and only what a person may consent to alone; the secret half stays in the cookie."""
    answer = visit.browser.open(onboarding.connect_start, "/connect/start")
    location = answer.headers["Location"]
    asked = query_of(location)
    assert location.startswith(f"{visit.made.m365.authority_url}/common/oauth2/v2.0/authorize?")
    assert (asked["code_challenge_method"], asked["redirect_uri"]) == ("S256", f"{SITE}/oauth/callback")
    assert set(asked["scope"].split()) == {"Files.Read", "User.Read", "openid", "profile", "offline_access"}
    assert answer.cookie is not None
    assert len(answer.cookie) < 4096
    for part in ("HttpOnly", "Secure", "SameSite=Lax", "Max-Age=900"):
        assert part in answer.cookie
    flow, binding = open_flow(visit.made, visit.browser.cookies[_COOKIE])
    for secret in (flow["code_verifier"], binding, flow["nonce"]):
        assert secret not in location
        assert secret not in answer.cookie


@pytest.mark.parametrize(
    ("ending", "kind"), [("access_denied", "denied"), ("consent_required", "not-admin"), ("login_required", "error")]
)
def test_refused_at_microsoft(visit: Visit, ending: Any, kind: str) -> None:
    """Each refusal has its page, and nothing is registered by it."""
    visit.made.m365.authorize.outcome = ending
    answer = visit.go()
    assert shows(answer, kind)
    assert 'href="/connect"' in str(answer.body)
    assert visit.made.is_empty()


def test_error_beside_a_code(visit: Visit) -> None:
    """An error is looked at first."""
    assert shows(visit.go(error="access_denied"), "denied")
    assert visit.made.is_empty()


@pytest.mark.parametrize(
    "change", ["later", "again", "other browser", "no cookie", "other cookie", "other way", "none"]
)
def test_a_way_back_that_fits_no_way_there(visit: Visit, change: str) -> None:
    """Refused before any request to Microsoft, and nothing is registered by it."""
    path = visit.way_back()
    if change == "later":
        visit.made.clock.advance(900)
    elif change == "again":
        cookies = dict(visit.browser.cookies)
        visit.come_back(path)
        visit.browser.cookies = cookies
    elif change == "other browser":
        visit = Visit(visit.made, visit.user)
        visit.way_back()
    elif change == "no cookie":
        visit.browser.cookies.clear()
    elif change == "other cookie":
        visit.browser.cookies[_COOKIE] = visit.browser.cookies[_COOKIE][:-3] + "AAA"
    elif change == "other way":
        sent = visit.browser.open(onboarding.onboard_start, "/onboard/start")
        path = with_query(path, state=query_of(sent.headers["Location"])["state"])
    else:
        path = "/oauth/callback"
    visit.made.m365.log.clear()
    answer = visit.come_back(path)
    assert (answer.status, shows(answer, "expired")) == (400, True)
    assert list(visit.made.m365.log) == []
    assert visit.made.is_empty() == (change != "again")


def test_somebody_elses_code(visit: Visit) -> None:
    """A code of another sign-in, put into one's own way back, brings nothing: it lacks that one's PKCE secret."""
    other = Visit(visit.made, visit.user)
    stolen = query_of(other.way_back())["code"]
    answer = visit.go(code=stolen)
    assert (answer.status, shows(answer, "error")) == (400, True)
    assert visit.made.is_empty()


@pytest.mark.parametrize("code", ["", "x", "\x00", "x" * 3000])
def test_no_code(visit: Visit, code: str) -> None:
    """A way back without a code that Microsoft knows is an error page."""
    answer = visit.go(code=code)
    assert (answer.status, shows(answer, "error")) == (400, True)
    assert visit.made.is_empty()


def test_waits_for_approval(visit: Visit) -> None:
    """Under `approve` a person from outside the home tenant is pending, not due, until an operator lets them in."""
    visit.made.onboarding, visit.made.home_tenant = "approve", visit.made.m365.tenant.id
    assert "waiting to be let in" in str(visit.go().body)
    account = visit.account()
    assert (account.state, account.due_at) == ("pending", None)
    assert visit.made.tenant(account.tenant).state == PENDING
    visit.go()
    assert visit.account().state == "pending"
    assert approve_people(visit.made, account.tenant, "operator") == 1
    assert approve_people(visit.made, account.tenant, "operator") == 0
    assert (visit.account().state, visit.account().due_at) == ("protected", visit.made.clock.now())
    visit.go()
    assert visit.account().state == "protected"


def test_two_operators_let_somebody_in(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second changes nothing more, and the audit trail names the first."""
    visit.made.onboarding, visit.made.home_tenant = "approve", visit.made.m365.tenant.id
    visit.go()
    tenant, real, first = visit.account().tenant, visit.made.table.transact, list[Any]()

    def transact(partition: str, changes: Any) -> None:
        if not first:
            first.append(partition)
            approve_people(visit.made, tenant, "first")
        real(partition, changes)

    monkeypatch.setattr(visit.made.table, "transact", transact)
    approve_people(visit.made, tenant, "second")
    assert [entry.who for entry in visit.made.audited(tenant) if entry.what == "account.approve"] == ["first"]


def test_of_the_home_tenant() -> None:
    """Who belongs to the home tenant is let in at once."""
    with reception(onboarding="approve") as made:
        made.home_tenant = made.m365.tenant.id.upper()
        visit = Visit(made, made.m365.users[0])
        visit.go()
        assert visit.account().state == "protected"


def test_of_a_tenant_that_was_let_in() -> None:
    """Whose organisation was approved is let in with it."""
    with reception() as made:
        tenant = made.m365.add_tenant("fabrikam.example")
        made.m365.consent.grant(tenant)
        prove_consent(made, tenant.id, "page")
        made.onboarding, made.home_tenant = "approve", made.m365.tenant.id
        visit = Visit(made, tenant.users[0])
        visit.go()
        assert visit.account().state == "protected"


def test_whoever_was_left_out_stays_out(visit: Visit) -> None:
    """An operator's choice is not undone by signing in again."""
    visit.go()
    account = visit.account()
    accounts = visit.made.registry.accounts
    out = replace(account, included=False, state="excluded")
    visit.made.table.transact(account.tenant, accounts.changes(account, out))
    visit.go()
    assert (visit.account().state, visit.account().included) == ("excluded", False)


def test_single_people_are_no_organisation() -> None:
    """Users of a tenant of which only single people connected are not read; a later consent of it is a new one."""
    with reception() as made:
        tenant = made.m365.add_tenant("fabrikam.example", users=3)
        visit = Visit(made, tenant.users[0])
        visit.go()
        made.m365.log.clear()
        assert made.read_users(tenant.id)[0]["next"] is None
        assert list(made.m365.log) == []
        made.m365.consent.grant(tenant)
        assert prove_consent(made, tenant.id, "page")["reason"] == "granted"
        made.read_users(tenant.id)
        assert len(made.accounts(tenant.id)) == 3


def test_personal_accounts_have_their_own_tenant() -> None:
    """They are kept in Microsoft's tenant of all personal accounts, which has a name that a person knows."""
    with reception() as made:
        visit = Visit(made, made.m365.add_personal().users[0])
        visit.go()
        assert visit.account().tenant == PERSONAL_TENANT
        assert made.tenant(PERSONAL_TENANT).name == "Personal accounts"


def test_another_master_key(visit: Visit) -> None:
    """Nothing is sealed under a master key that the registry does not know."""
    path = visit.way_back()
    visit.made.key_is_known = False
    with pytest.raises(RuntimeError):
        visit.come_back(path)
    assert visit.made.is_empty()


def test_names_are_text(visit: Visit) -> None:
    """A name with HTML in it is shown as it is written."""
    visit.user.entry.display_name = "<img src=x onerror=alert(1)>"
    body = str(visit.go().body)
    assert "<img src=x" not in body
    assert "&lt;img src=x" in body


def test_flows_of_other_keys_and_forms(visit: Visit) -> None:
    """A cookie that this installation did not seal is as good as none."""
    sealed = seal_flow(visit.made, {"state": "s"}, "b")
    assert open_flow(visit.made, sealed) == ({"state": "s"}, "b")
    for text in (
        "",
        "1.",
        "x",
        sealed[:-1],
        sealed + "A",
        json.dumps([{}, ""]),
        visit.made.sealer("token").seal(b'[{},"b"]', "connect"),
    ):
        assert open_flow(visit.made, text) == ({}, "")


def test_nothing_secret_shows(visit: Visit, caplog: pytest.LogCaptureFixture) -> None:
    """No token, code or secret in any log, page or address."""
    caplog.set_level("DEBUG")
    answer = visit.go()
    tokens = json.loads(visit.made.registry.tokens.load(visit.user.tenant_id, visit.user.id) or "")
    secrets = [entry["secret"] for kind in ("RefreshToken", "AccessToken") for entry in tokens[kind].values()]
    secrets.append(visit.made.m365.client_secret)
    shown = caplog.text + str(answer.body) + "".join(visit.browser.locations) + repr(connect)
    assert len(secrets) == 3
    assert not [secret for secret in secrets if secret in shown]
