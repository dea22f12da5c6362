"""What a tick does about one tenant, apart from the orchestrations that it starts for it."""

import datetime
import logging

from backup_core.errors import DrivekeepError
from backup_core.onboarding.enrolment import may_be_read
from backup_core.registry.tenants import CONNECTED, CONSENT_LOST
from backup_core.runs.claim import Claim
from backup_core.service.service import Service

_log = logging.getLogger(__name__)

USERS_READ_EVERY = datetime.timedelta(hours=1)
_PAGE = 200
_PIECES_MAX = 100  # of due accounts that one tick queues; what is left is due at the next


def tenants(service: Service) -> list[str]:
    """Ids of all tenants that are connected, or were: what is left of their runs is to be ended."""
    found: list[str] = []
    after: str | None = None
    while page := service.registry.tenants.page(after, _PAGE):
        found += [tenant.id for tenant in page if tenant.state in (CONNECTED, CONSENT_LOST)]
        after = page[-1].id
    return found


def users_are_due(service: Service, tenant: str, by_hand: bool) -> bool:
    """Whether a tenant's users are to be read: hourly, and always where a person runs the tick."""
    found = service.registry.tenants.get(tenant)
    if found is None or found.paused or not may_be_read(found):
        return False
    read_at = found.users_read_at
    return by_hand or read_at is None or service.clock.now() - read_at >= USERS_READ_EVERY


def queue_due(service: Service, tenant: str) -> int:
    """Queue what is due, and give the number of lanes that have something to do."""
    now = service.clock.now()
    for _ in range(_PIECES_MAX):
        if not service.runs.queue_due(tenant, now).more:
            break
    service.runs.queue_maintenance(tenant, now)
    return min(service.drives_per_tenant, service.runs.waiting(tenant, service.clock.now()))


def free(service: Service, claim: Claim) -> None:
    """A claim on which nobody works any more goes back into the queue, or fails as interrupted."""
    try:
        service.runs.free(claim, "its process died")
    except DrivekeepError as error:
        _log.warning("A dead claim could not be freed: %s", error)
