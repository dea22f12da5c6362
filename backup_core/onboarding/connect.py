"""One person connects their own account by signing in, without an administrator: what becomes of it in the registry.

How the person signs in is `graph/code_sign_in.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from backup_core.errors import Damaged
from backup_core.graph.claims import Person
from backup_core.graph.code_sign_in import CodeSignIn, SignedInPerson
from backup_core.graph.users import domain_of
from backup_core.onboarding.needs import Service, needs_approval
from backup_core.onboarding.tenant_change import Decision, change_tenant
from backup_core.registry import audit
from backup_core.registry.accounts import PROTECTED, Account
from backup_core.registry.table import Change
from backup_core.registry.tenants import CONNECTED, PENDING, Tenant

PERSONAL_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"  # of every personal Microsoft account

WHO = "sign-in"  # in the audit trail
FLOW_PURPOSE = "connect"  # what the flow in the browser's cookie is sealed for
_TEXT_MAX = 256


@dataclass(frozen=True)
class Connected:
    account: Account
    name: str

    @property
    def pending(self) -> bool:
        return self.account.state == "pending"


def code_sign_in(service: Service) -> CodeSignIn:
    """How a person signs in, with a personal or a work account."""
    return CodeSignIn(
        service.sign_in_host, service.client_id, service.settings.graph_url, credential=service.user_credential
    )


def seal_flow(service: Service, flow: Mapping[str, Any], binding: str) -> str:
    """The flow, which holds the secret of PKCE, and what its state is bound to, for a cookie."""
    return service.sealer(FLOW_PURPOSE).seal(msgspec.json.encode([flow, binding]), FLOW_PURPOSE)


def open_flow(service: Service, sealed: str) -> tuple[dict[str, Any], str]:
    """What `seal_flow` sealed; an empty flow and binding, which fit no state, where it is anything else."""
    try:
        flow, binding = msgspec.json.decode(service.sealer(FLOW_PURPOSE).open(sealed, FLOW_PURPOSE))
    except Damaged:
        return {}, ""
    return flow, binding


def connect(service: Service, signed_in: SignedInPerson) -> Connected:
    """Keep a person's tokens and protect their drive, or let it wait for approval. Doing it again renews both."""
    service.check_master_key()
    person = signed_in.person
    tenant = _with_tenant(service, person)
    # Before the account: one that is due must find its tokens. Tokens of nobody's account do nothing.
    service.registry.tokens.save(person.tenant, person.id, signed_in.tokens)
    accounts, kept = service.registry.accounts, list[Account]()

    def changes() -> list[Change]:
        before = accounts.get(person.tenant, person.id)
        after = _after_sign_in(service, before, person, tenant)
        kept.append(after)
        details = {"upn": after.upn, "state": after.state, "was": before.state if before else None}
        note = audit.entry(service.clock, WHO, "account.connect", after.id, details)
        # Written even where nothing changes: that the tokens are new is what happened.
        return [*accounts.changes(before, after), note]

    service.registry.commit(person.tenant, changes)
    return Connected(kept[-1], person.name)


def approve_people(service: Service, tenant: str, who: str) -> int:
    """Let in everybody of a tenant who waits for it, as when the tenant is approved; how many were let in."""
    accounts, let_in = service.registry.accounts, 0
    while waiting := accounts.page(tenant, None, 1, "pending"):

        def changes(account_id: str = waiting[0].id) -> list[Change]:
            before = accounts.get(tenant, account_id)
            if before is None or before.state != "pending":
                return []
            after = replace(before, state=PROTECTED, next_due_at=before.next_due_at or service.clock.now())
            note = audit.entry(service.clock, who, "account.approve", after.id, {"upn": after.upn})
            return [*accounts.changes(before, after), note]

        service.registry.commit(tenant, changes)
        let_in += 1
    return let_in


def _with_tenant(service: Service, person: Person) -> Tenant:
    """The tenant's row, made where it is not there: without `connected_at`, since no organisation consented by this."""
    domain = domain_of(person.upn)
    name = "Personal accounts" if person.tenant == PERSONAL_TENANT else domain

    def decide(before: Tenant | None) -> Decision | None:
        if before is not None:
            return None
        state = PENDING if needs_approval(service, person.tenant) else CONNECTED
        return Decision(Tenant(person.tenant, name, domain, state), "tenant.add")

    tenant = change_tenant(service, person.tenant, WHO, decide)
    assert tenant is not None, "a tenant without a row has just been given one"
    return tenant


def _after_sign_in(service: Service, before: Account | None, person: Person, tenant: Tenant) -> Account:
    """Who was let in stays in; whoever was left out by an operator stays out."""
    now = service.clock.now()
    known = before or Account(person.id, person.tenant, created_at=now, state="left")
    named = replace(known, upn=person.upn[:_TEXT_MAX], display_name=person.name[:_TEXT_MAX], state_before="")
    if not named.included:
        return replace(named, state="excluded", state_before=known.state_before)
    let_in = known.state in (PROTECTED, "sign-in-again", "no-drive", "excluded")
    organisation_is_in = tenant.state == CONNECTED and tenant.connected_at is not None
    if needs_approval(service, person.tenant) and not let_in and not organisation_is_in:
        return replace(named, state="pending")
    return replace(named, state=PROTECTED, no_drive_checked_at=None, next_due_at=known.next_due_at or now)
