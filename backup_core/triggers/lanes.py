"""Starting orchestrations by name. Each id lives at most once: to find it alive already is as good as to start it."""

from typing import Any

import azure.durable_functions as df

LANE = "lane"
ENROL = "enrol_tenant"


def lane_id(tenant: str, number: int) -> str:
    return f"lane-{tenant}-{number}"


def enrolment_id(tenant: str) -> str:
    return f"enrol-{tenant}"


async def start_lanes(client: df.DurableOrchestrationClient, tenants: list[str], per_tenant: int) -> None:
    """Lanes work off what is queued for a tenant, and end when nothing is."""
    for tenant in tenants:
        for number in range(per_tenant):
            await start_once(client, LANE, lane_id(tenant, number), {"tenant": tenant, "lane": lane_id(tenant, number)})


async def start_enrolment(client: df.DurableOrchestrationClient, tenant: str, prove: str = "") -> None:
    """Read the tenant's users. `prove`: who asks to have a consent proved first that is slow to arrive."""
    await start_once(client, ENROL, enrolment_id(tenant), {"tenant": tenant, "prove": prove})


async def start_once(client: df.DurableOrchestrationClient, name: str, instance_id: str, job: dict[str, Any]) -> None:
    try:
        await client.start_new(name, instance_id, job)
    except Exception as error:
        # The client has no class of its own for this. The host says: "... with the status Running already exists."
        if "already exists" not in str(error):
            raise
