"""Starting orchestrations by name. Each id lives at most once: to find it alive already is as good as to start it."""

import asyncio
from typing import Any

import azure.durable_functions as df

from backup_core.service import current

LANE = "lane"
ENROL = "enrol_tenant"

# A lane that finds nothing takes seconds to end: its last answer waits in a queue that is polled every ten seconds.
LOOKS_MAX, LOOK_SECONDS = 15, 1.0


def lane_id(tenant: str, number: int) -> str:
    return f"lane-{tenant}-{number}"


def enrolment_id(tenant: str) -> str:
    return f"enrol-{tenant}"


async def start_lanes(client: df.DurableOrchestrationClient, tenants: list[str], per_tenant: int) -> None:
    """Lanes work off what is queued for a tenant, and end when nothing is.

    One that was there already may have looked for the last time, before the drive was queued for which it is asked
    now. Where all are like that, they are waited for.
    """
    for tenant in tenants:
        names = [lane_id(tenant, number) for number in range(per_tenant)]
        for look in range(LOOKS_MAX):
            if look:
                await asyncio.sleep(LOOK_SECONDS)
            started = [await start_once(client, LANE, name, {"tenant": tenant, "lane": name}) for name in names]
            if any(started) or not await asyncio.to_thread(_are_needed, tenant):
                break


def _are_needed(tenant: str) -> bool:
    """Whether a drive waits and no lane works, which would look at the queue again after its drive."""
    service = current.get()
    return service.runs.waiting(tenant, service.clock.now()) > 0 and not service.runs.active(tenant)


async def start_enrolment(client: df.DurableOrchestrationClient, tenant: str, prove: str = "") -> None:
    """Read the tenant's users. `prove`: who asks to have a consent proved first that is slow to arrive."""
    await start_once(client, ENROL, enrolment_id(tenant), {"tenant": tenant, "prove": prove})


async def start_once(client: df.DurableOrchestrationClient, name: str, instance_id: str, job: dict[str, Any]) -> bool:
    """False where it is alive already."""
    try:
        await client.start_new(name, instance_id, job)
    except Exception as error:
        # The client has no class of its own for this. The host says: "... with the status Running already exists."
        if "already exists" not in str(error):
            raise
        return False
    return True
