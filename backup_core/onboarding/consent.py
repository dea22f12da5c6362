"""An organisation's consent: where it is given, how it is proved, and what becomes of the tenant by it.

That a browser says so proves nothing: the tenant is proved by a token that only its consent can bring about. Users are
read by `enrolment.py`.
"""

import datetime
import logging
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlencode

from backup_core.errors import AccessDenied, DrivekeepError, Temporary
from backup_core.graph.application import graph_resource
from backup_core.graph.claims import app_claims
from backup_core.graph.client import TokenSource
from backup_core.graph.users import Organization, domain_by_users, organization
from backup_core.onboarding.needs import Service, needs_approval
from backup_core.onboarding.tenant_change import Decision, change_tenant
from backup_core.registry.table import Conflict
from backup_core.registry.tenants import CONNECTED, CONSENT_LOST, PENDING, Tenant

_log = logging.getLogger(__name__)

ROLES = ("Files.Read.All", "User.Read.All")

# A consent takes from seconds to minutes to arrive. Somebody waits before a page for so long, and then a job does.
WAIT_SECONDS = 20.0
_MISSING_WAIT_SECONDS = 5.0  # a token with other roles in it has most likely all that it will ever have
_PAUSES = (1.0, 2.0, 3.0, 4.0)  # between tries; then the last one again and again
ASK_AGAIN_SECONDS = 30.0

# A consent that has just arrived at one of Microsoft's servers may be unknown at the next one.
_YOUNG = datetime.timedelta(hours=1)

Kind = Literal[
    "granted", "already-connected", "pending-approval", "waiting", "missing-permission", "wrong-tenant", "error"
]
_REGISTERED = ("granted", "already-connected", "pending-approval")


@dataclass(frozen=True)
class Proof:
    """`kind` "granted": the tenant consented. `missing`: roles. `retry_after`: seconds, where trying again helps."""

    kind: Kind
    missing: tuple[str, ...] = ()
    retry_after: float | None = None


@dataclass(frozen=True)
class Settled:
    """How a consent ended, and what the organisation is called where that is known."""

    kind: Kind
    organization: str = ""
    missing: tuple[str, ...] = ()
    retry_after: float | None = None

    @property
    def registered(self) -> bool:
        return self.kind in _REGISTERED


def consent_address(service: Service, redirect_uri: str, state: str) -> str:
    """Microsoft's page where an administrator consents to all roles that the app registration asks for."""
    query = {
        "client_id": service.client_id,
        "scope": f"{graph_resource(service.settings.graph_url)}/.default",
        "redirect_uri": redirect_uri,
        "state": state,
    }
    return f"{service.settings.authority_url.rstrip('/')}/organizations/v2.0/adminconsent?{urlencode(query)}"


def prove(tokens: TokenSource, tenant: str, client_id: str) -> Proof:
    """Whether the tenant has consented, by a token that is new. It is changed by nothing, and changes nothing."""
    try:
        claims = app_claims(tokens.token(renew=True))
    except Temporary as error:
        return Proof("waiting", retry_after=error.retry_after or ASK_AGAIN_SECONDS)
    except AccessDenied as error:
        if error.reason == "consent-lost":  # the tenant does not know the app: not yet, perhaps
            return Proof("waiting", retry_after=ASK_AGAIN_SECONDS)
        _log.warning("The app could not prove itself to the tenant %s: %s", tenant, error)
        return Proof("error")
    if claims.tenant != tenant or claims.app != client_id.lower():
        return Proof("wrong-tenant")
    if not claims.roles:
        return Proof("waiting", retry_after=ASK_AGAIN_SECONDS)
    missing = tuple(role for role in ROLES if role not in claims.roles)
    return Proof("missing-permission", missing) if missing else Proof("granted")


def settle(service: Service, tenant: str, who: str) -> Settled:
    """Prove once, and register what is proved."""
    proof = prove(service.app_tokens(tenant), tenant, service.client_id)
    if proof.kind != "granted":
        return Settled(proof.kind, missing=proof.missing, retry_after=proof.retry_after)
    return register(service, tenant, who)


def settle_patiently(service: Service, tenant: str, who: str) -> Settled:
    """The same, again and again for `WAIT_SECONDS` while the consent may still be on its way."""
    start, tries = service.clock.monotonic(), 0
    while True:
        settled = settle(service, tenant, who)
        patience = {"waiting": WAIT_SECONDS, "missing-permission": _MISSING_WAIT_SECONDS}.get(settled.kind, 0.0)
        pause = _PAUSES[min(tries, len(_PAUSES) - 1)]
        if service.clock.monotonic() + pause - start > patience:
            return settled
        service.clock.sleep(pause)
        tries += 1


def prove_consent(service: Service, tenant: str, started_by: str) -> dict[str, Any]:
    """The body of an activity: `ok` once the tenant is registered, `enrol` whether its users are to be read then.

    Otherwise `reason`, and `retry_after` in seconds where trying again makes sense.
    """
    try:
        settled = settle(service, tenant.lower(), started_by)
    except Temporary as error:
        return _not_yet(error.reason, error.retry_after or ASK_AGAIN_SECONDS)
    except DrivekeepError as error:
        return _not_yet(error.reason, ASK_AGAIN_SECONDS if isinstance(error, Conflict) else None)
    if not settled.registered:
        return _not_yet(settled.kind, settled.retry_after)
    return {"ok": True, "enrol": settled.kind != "pending-approval", "reason": settled.kind, "retry_after": None}


def _not_yet(reason: str, retry_after: float | None) -> dict[str, Any]:
    return {"ok": False, "enrol": False, "reason": reason, "retry_after": retry_after}


def register(service: Service, tenant: str, who: str) -> Settled:
    """What becomes of a tenant that has proved its consent. Running it twice changes nothing more."""
    service.check_master_key()
    called = _called(service, tenant)
    settled: list[Settled] = []

    def decide(before: Tenant | None) -> Decision:
        after, kind = _after_consent(service, before, tenant, called)
        settled.append(Settled(kind, after.name))
        return Decision(after, f"tenant.{kind}")

    change_tenant(service, tenant, who, decide)
    return settled[-1]


def note_lost_consent(service: Service, tenant: str, who: str) -> bool:
    """Mark a tenant that no longer knows the app; whether it is marked. One that consented within the hour is not."""

    def decide(before: Tenant | None) -> Decision | None:
        if before is None or before.connected_at is None or before.state != CONNECTED:
            return None
        if service.clock.now() - before.connected_at < _YOUNG:
            return None
        return Decision(replace(before, state=CONSENT_LOST), "tenant.consent-lost")

    after = change_tenant(service, tenant, who, decide)
    return after is not None and after.state == CONSENT_LOST


def what_it_is_called(service: Service, tenant: str) -> Organization | None:
    """Name and domain; None where Microsoft does not say: not everybody grants that role, and nothing hangs on it."""
    try:
        return organization(service.graph(tenant).client)
    except DrivekeepError:
        return None


def _called(service: Service, tenant: str) -> Organization:
    """The same, where it is unknown by what its users are called: whoever lets a tenant in must know which one it is.

    Empty where that cannot be found out either, or where an earlier answer stands.
    """
    called = what_it_is_called(service, tenant)
    if called is not None:
        return called
    known = service.registry.tenants.get(tenant)
    try:
        domain = "" if known and known.name else domain_by_users(service.graph(tenant).client)
    except DrivekeepError:
        domain = ""
    return Organization(domain, domain)


def _after_consent(service: Service, before: Tenant | None, tenant: str, called: Organization) -> tuple[Tenant, Kind]:
    """A tenant without `connected_at` is one of which single people have connected their own accounts."""
    known = before or Tenant(tenant)
    named = replace(known, name=called.name or known.name, domain=called.domain or known.domain, users_read_at=None)
    if before is not None and before.connected_at is not None and before.state == CONNECTED:
        return named, "already-connected"
    # Who was let in once and has consented anew need not ask again.
    if needs_approval(service, tenant) and named.state != CONSENT_LOST:
        return replace(named, state=PENDING, connected_at=known.connected_at or service.clock.now()), "pending-approval"
    return replace(named, state=CONNECTED, connected_at=service.clock.now()), "granted"
