"""`/api/health`, `/api/audit`, `/api/openapi.json`, and every address under `/api` that there is not."""

import heapq
from typing import Any

import azure.functions as func

from backup_core import __version__
from backup_core.triggers import ids, openapi, routes, shapes
from backup_core.triggers.documents import audit_document
from backup_core.triggers.http import Answer, Request, answer
from backup_core.triggers.lookup import visible_tenant, visible_tenants
from backup_core.triggers.paging import next_page, split_page
from backup_core.triggers.problems import not_here
from backup_core.triggers.serving import Call, serve
from backup_core.triggers.shapes import NoBody, NoQuery, Page

blueprint = func.Blueprint()

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def show_health(call: Call[NoQuery, NoBody, shapes.Health]) -> Answer:
    """Also a degraded app answers 200: whoever watches it learns more from the body than from a status."""
    problems = [
        shapes.Problem(reason=each.reason, message=each.message, remedy=each.remedy) for each in call.service.problems()
    ]
    health = shapes.Health(status="degraded" if problems else "ok", version=__version__)
    if call.caller is not None:
        health.problems = problems
    return call.answer(health)


def list_audit(call: Call[shapes.AuditQuery, NoBody, Page[shapes.AuditRow]]) -> Answer:
    """The newest first; without a tenant those of all that the caller sees, in one order."""
    query, registry = call.query, call.service.registry
    if query.tenant is not None:
        tenants = [visible_tenant(call.service, call.operator, ids.tenant_given(query.tenant)).id]
    else:
        tenants = list(visible_tenants(call.service, call.operator))
    pages = [
        [audit_document(each, tenant) for each in registry.audit.page(tenant, query.after, query.limit + 1)]
        for tenant in tenants
    ]
    # An entry's id begins with its time, so that those of several tenants sort together.
    page, more = split_page(list(heapq.merge(*pages, key=lambda each: each.id)), query.limit)
    asked = {"tenant": query.tenant, "limit": query.limit}
    return call.answer(Page(items=page, next=next_page("/api/audit", asked, page[-1].id) if more else None))


def show_openapi(call: Call[NoQuery, NoBody, dict[str, Any]]) -> Answer:
    return call.answer(openapi.document())


serve(blueprint, routes.HEALTH, show_health)
serve(blueprint, routes.LIST_AUDIT, list_audit)
serve(blueprint, routes.OPENAPI, show_openapi)


# The host of Azure asks the functions whose route fits in the order of their names, so that this one must come last.
@blueprint.function_name("unknown_api")
@blueprint.route("api/{*rest}", methods=_METHODS, auth_level=func.AuthLevel.ANONYMOUS)
def unknown_api(req: func.HttpRequest) -> func.HttpResponse:
    """The host's own 404 says nothing at all; a program is answered as by every other route."""
    return answer(req, _nothing_here)


def _nothing_here(_: Request) -> Answer:
    raise not_here()
