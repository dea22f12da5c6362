"""The timer: looks for what is due, for claims whose run is dead, and for lanes that are missing. All of it may happen
late, twice, or not at all, and the next tick makes up for it.
"""

import asyncio
import datetime
import logging
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from azure.durable_functions.models.OrchestrationRuntimeStatus import OrchestrationRuntimeStatus as Status

from backup_core.runs.claim import Claim
from backup_core.service import Service, current, schedule
from backup_core.service.failures import log_unexpected
from backup_core.triggers.lanes import lane_id, start_enrolment, start_lanes

blueprint = df.Blueprint()

_log = logging.getLogger(__name__)

HISTORY_DAYS = 7
STUCK_MINUTES = 45  # longer than any activity works and any lane waits
_ENDED = [Status.Completed, Status.Failed, Status.Terminated, Status.Canceled]
_ALIVE = frozenset({Status.Running, Status.Pending, Status.ContinuedAsNew, Status.Suspended})


@blueprint.function_name("tick")
@blueprint.timer_trigger(arg_name="timer", schedule="%DRIVEKEEP_SCHEDULE%", run_on_startup=False, use_monitor=True)
@blueprint.durable_client_input(client_name="client")
async def tick(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """One look at everything. One tenant's trouble is logged, and stops no other tenant."""
    service = current.get()
    tenants = await asyncio.to_thread(schedule.tenants, service)
    for tenant in tenants:
        try:
            await _look_after(service, client, tenant, _is_by_hand(service, timer))
        except Exception as error:
            log_unexpected(_log, f"The tick could not look after the tenant {tenant}.", error)
    await _purge(service, client)


def _is_by_hand(service: Service, timer: Any) -> bool:
    """Whether a person ran it: the timer's next run is still to come then, and otherwise it is this one."""
    following = (timer.schedule_status or {}).get("Next")
    if not following:
        return True
    return _in_utc(datetime.datetime.fromisoformat(following)) > service.clock.now() + datetime.timedelta(seconds=1)


async def _look_after(service: Service, client: df.DurableOrchestrationClient, tenant: str, by_hand: bool) -> None:
    for claim in await asyncio.to_thread(service.runs.active, tenant):
        await _bury(service, client, claim)
    if await asyncio.to_thread(schedule.users_are_due, service, tenant, by_hand):
        await start_enrolment(client, tenant)
    lanes = await asyncio.to_thread(schedule.queue_due, service, tenant)
    if lanes:
        await _end_hanging_lanes(service, client, tenant)
    await start_lanes(client, [tenant], lanes)


async def _bury(service: Service, client: df.DurableOrchestrationClient, claim: Claim) -> None:
    """Free a claim whose lane is dead, or that has not moved for so long that its lane must be ended."""
    status = await client.get_status(claim.lane)
    alive = status is not None and status.runtime_status in _ALIVE
    if alive and claim.beat_at is not None:
        alive = service.clock.now() - claim.beat_at < datetime.timedelta(minutes=STUCK_MINUTES)
        if not alive:
            await client.terminate(claim.lane, "It has not moved for too long.")
    if not alive:
        await asyncio.to_thread(schedule.free, service, claim)


async def _end_hanging_lanes(service: Service, client: df.DurableOrchestrationClient, tenant: str) -> None:
    """End the lanes that hold no claim and have not moved for too long. One that waits for its drive does not move."""
    at_work = {claim.lane for claim in await asyncio.to_thread(service.runs.active, tenant)}
    for number in range(service.drives_per_tenant):
        lane = lane_id(tenant, number)
        status = await client.get_status(lane)
        if status is None or status.runtime_status not in _ALIVE or lane in at_work or not status.last_updated_time:
            continue
        if service.clock.now() - _in_utc(status.last_updated_time) >= datetime.timedelta(minutes=STUCK_MINUTES):
            await client.terminate(lane, "It has not moved for too long.")


def _in_utc(moment: datetime.datetime) -> datetime.datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)


async def _purge(service: Service, client: df.DurableOrchestrationClient) -> None:
    """Histories of what has ended a week ago are taken away."""
    until = service.clock.now() - datetime.timedelta(days=HISTORY_DAYS)
    try:
        await client.purge_instance_history_by(
            created_time_from=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
            created_time_to=until,
            runtime_status=_ENDED,
        )
    except Exception as error:
        log_unexpected(_log, "Old histories could not be purged.", error)
