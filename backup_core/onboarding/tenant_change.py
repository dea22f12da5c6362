"""Changing a tenant's row when others may change it at the same time. What is changed is the caller's to say."""

from collections.abc import Callable
from typing import NamedTuple

from backup_core.onboarding.needs import Service
from backup_core.registry import audit
from backup_core.registry.table import Conflict
from backup_core.registry.tenants import Tenant

_TRIES = 10
_PAUSE_SECONDS = 0.2


class Decision(NamedTuple):
    """What a tenant is to be; `what` the audit trail calls it, "" where nobody did anything."""

    after: Tenant
    what: str


def change_tenant(
    service: Service, tenant: str, who: str, decide: Callable[[Tenant | None], Decision | None]
) -> Tenant | None:
    """Carry out what `decide` makes of the tenant as it is; it is asked anew when somebody else was first.

    Returns the tenant as it is then, which is the one that was found where `decide` returns None or changes nothing.
    Conflict after several tries.
    """
    tenants, clock = service.registry.tenants, service.clock
    for attempt in range(_TRIES):
        before = tenants.get(tenant)
        decision = decide(before)
        if decision is None or decision.after == before:
            return before
        what, details = decision.what, {"state": decision.after.state}
        notes = [audit.entry(clock, who, what, tenant, details)] if what else []
        try:
            tenants.save(before, decision.after, *notes)
        except Conflict:
            if attempt == _TRIES - 1:
                raise
            clock.sleep(_PAUSE_SECONDS * (attempt + 1))
        else:
            return decision.after
    raise AssertionError("the last attempt returns or raises")
