"""An operator's yes or no to one account: what becomes of it, and of its tenant. Who may say so is asked elsewhere."""

import datetime
from collections.abc import Callable
from dataclasses import replace

from backup_core.errors import DrivekeepError
from backup_core.onboarding.needs import Service
from backup_core.registry import audit
from backup_core.registry.accounts import PROTECTED, Account
from backup_core.registry.table import Change
from backup_core.registry.tenants import CONNECTED, PENDING

DueAgain = Callable[[Account], datetime.datetime]

OUT, WAITING = "excluded", "pending"

# States that an operator's yes or no moves. The others are facts: nobody has a drive because somebody says so.
_CAN_BE_LEFT_OUT = (PROTECTED, WAITING, "no-drive", "sign-in-again")


class TenantWaits(DrivekeepError):
    """Nobody is let in whose whole organisation waits for that."""

    reason = "pending"


def left_out(account: Account) -> Account:
    """Who was never let in is remembered as such: to be left out and taken in again is no way round an approval."""
    if account.state not in _CAN_BE_LEFT_OUT:
        return replace(account, included=False)
    was = WAITING if account.state == WAITING else account.state_before
    return replace(account, included=False, state=OUT, state_before=was)


def taken_in(account: Account, due_again: DueAgain, *, may_approve: bool) -> Account:
    """`due_again`: when an account, as it is given, is due if it is to be backed up from now on. `may_approve`: without
    it, whoever was never let in goes on waiting. Who was in already stays due when they were.
    """
    waits = account.state == WAITING or (account.state == OUT and account.state_before == WAITING)
    if waits and not may_approve:
        return replace(account, included=True, state=WAITING, state_before="")
    if account.state in (OUT, WAITING):
        after = replace(account, included=True, state=PROTECTED, state_before="")
    else:
        after = replace(account, included=True)
    if after == account and account.next_due_at is not None:
        return account
    return replace(after, next_due_at=due_again(after))


def letting_in_tenant(service: Service, before: Account, after: Account, who: str) -> list[Change]:
    """What lets the tenant in with the first of its people: where only single people of it have connected, it waits for
    nothing else, and nobody would be backed up. TenantWaits where the organisation itself has consented and waits.
    """
    if before.state == after.state or after.state != PROTECTED:
        return []
    tenant = service.registry.tenants.get(after.tenant)
    if tenant is None or tenant.state != PENDING:
        return []
    if tenant.connected_at is not None:
        raise TenantWaits(
            "The account's whole organisation waits to be let in.",
            remedy="Approve the tenant: that lets in whoever waits in it.",
        )
    note = audit.entry(service.clock, who, "tenant.approve", tenant.id)
    return [*service.registry.tenants.changes(tenant, replace(tenant, state=CONNECTED)), note]
