"""`/api/tenants`: who has consented, pausing one, and letting one in. It connects nobody."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import azure.durable_functions as df
import msgspec

from backup_core.onboarding.connect import approve_people
from backup_core.registry import audit
from backup_core.registry.table import Change
from backup_core.registry.tenants import CONNECTED, PENDING, Tenant
from backup_core.service import current
from backup_core.triggers import ids, lanes, routes, shapes
from backup_core.triggers.documents import check_match, entity_tag, tenant_document
from backup_core.triggers.http import Answer, Refusal
from backup_core.triggers.lookup import visible_tenant
from backup_core.triggers.paging import next_page, split_page
from backup_core.triggers.problems import not_here
from backup_core.triggers.serving import Call, serve, serve_then
from backup_core.triggers.shapes import NoBody, NoQuery, Page

blueprint = df.Blueprint()


def list_tenants(call: Call[shapes.PageQuery, NoBody, Page[shapes.Tenant]]) -> Answer:
    """All of them for those who see all, else the caller's own."""
    tenants, query = call.service.registry.tenants, call.query
    own = call.operator.tenant
    if own is not None:
        found = [tenants.get(own)] if query.after is None else []
        return call.answer(Page(items=[_document(call, each) for each in found if each], next=None))
    page, more = split_page(tenants.page(query.after, query.limit + 1), query.limit)
    there = next_page("/api/tenants", {"limit": query.limit}, page[-1].id) if more else None
    return call.answer(Page(items=[_document(call, each) for each in page], next=there))


def show_tenant(call: Call[NoQuery, NoBody, shapes.Tenant]) -> Answer:
    return _shown(call, _visible(call))


def change_tenant(call: Call[NoQuery, shapes.TenantChange, shapes.Tenant]) -> Answer:
    """Pausing keeps what is queued or running from going on; un-pausing looks at the lanes at once."""
    wanted = call.body
    if wanted.destination not in (None, msgspec.UNSET):
        raise Refusal(
            400,
            "not-built",
            "destination cannot be set: destinations of a tenant are not supported by this version. Leave it out: "
            "repositories go to the built-in container.",
        )
    before = _visible(call)
    paused = before.paused if wanted.paused is msgspec.UNSET else wanted.paused

    def changed(tenant: Tenant) -> Tenant:
        return replace(tenant, paused=paused)

    tenant = _saved(call, before.id, changed, "tenant.pause" if paused else "tenant.resume")
    goes_on = before.paused and not tenant.paused and tenant.state == CONNECTED
    return _shown(call, tenant, wakes=goes_on)


def approve_tenant(call: Call[NoQuery, NoBody, shapes.Tenant]) -> Answer:
    """A pending tenant becomes connected, and who waited in it with it; a connected one stays what it is."""
    before = _visible(call)
    call.operator.require_all()
    if before.state not in (PENDING, CONNECTED):
        raise Refusal(
            409, before.state, "This tenant has withdrawn its consent: its administrator must connect it anew."
        )

    def changed(tenant: Tenant) -> Tenant:
        return replace(tenant, state=CONNECTED, users_read_at=None) if tenant.state == PENDING else tenant

    tenant = _saved(call, before.id, changed, "tenant.approve")
    approve_people(call.service, tenant.id, call.operator.who)
    # Without `connected_at` only single people of it have connected: nobody has consented to the reading of its users.
    enrols = before.state == PENDING and tenant.connected_at is not None
    return _shown(call, tenant, wakes=enrols)


def _visible(call: Call[Any, Any, shapes.Tenant]) -> Tenant:
    return visible_tenant(call.service, call.operator, ids.tenant_in_path(call.request.route["tenant"]))


def _saved(
    call: Call[Any, Any, shapes.Tenant], tenant_id: str, changed: Callable[[Tenant], Tenant], what: str
) -> Tenant:
    """The tenant as it is now, with its audit row where it was changed."""
    service = call.service
    tenants = service.registry.tenants

    def changes() -> list[Change]:
        before = tenants.get(tenant_id)
        if before is None:
            raise not_here()
        check_match(call.request, before.etag)
        after = changed(before)
        if after == before:
            return []
        note = audit.entry(service.clock, call.operator.who, what, tenant_id, {})
        return [*tenants.changes(before, after), note]

    service.registry.commit(tenant_id, changes)
    return visible_tenant(service, call.operator, tenant_id)


def _document(call: Call[Any, Any, Any], tenant: Tenant) -> shapes.Tenant:
    return tenant_document(tenant, call.service.registry.accounts.counts(tenant.id).states)


def _shown(call: Call[Any, Any, shapes.Tenant], tenant: Tenant, wakes: bool = False) -> Answer:
    tag = {"ETag": entity_tag(tenant.etag)}
    return call.answer(_document(call, tenant), tag, tenant.id if wakes else "")


async def _look_at_lanes(client: df.DurableOrchestrationClient, made: Answer) -> None:
    if made.tenant:
        await lanes.start_lanes(client, [made.tenant], current.get().drives_per_tenant)


async def _enrol(client: df.DurableOrchestrationClient, made: Answer) -> None:
    if made.tenant:
        await lanes.start_enrolment(client, made.tenant)


serve(blueprint, routes.LIST_TENANTS, list_tenants)
serve(blueprint, routes.SHOW_TENANT, show_tenant)
serve_then(blueprint, routes.CHANGE_TENANT, change_tenant, _look_at_lanes)
serve_then(blueprint, routes.APPROVE_TENANT, approve_tenant, _enrol)
