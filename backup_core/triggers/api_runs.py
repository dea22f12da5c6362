"""`/api/runs`: asking for a run, watching it, cancelling it. It backs up nothing: lanes do, when they are woken."""

from typing import Any

import azure.durable_functions as df

from backup_core.errors import Damaged, NotFound, Usage
from backup_core.registry.accounts import Account
from backup_core.runs.asking import Refused
from backup_core.runs.run import Outcome, Run
from backup_core.service import current
from backup_core.triggers import ids, lanes, routes, shapes
from backup_core.triggers.documents import result_document, run_document
from backup_core.triggers.http import Answer, Refusal
from backup_core.triggers.lookup import visible_tenant
from backup_core.triggers.paging import next_page, split_page
from backup_core.triggers.problems import not_here
from backup_core.triggers.serving import Call, serve, serve_then
from backup_core.triggers.shapes import NoBody, NoQuery, Page

blueprint = df.Blueprint()

_LISTS_MAX = 100  # of the items that a summary names; the report has all of them


def start_run(call: Call[NoQuery, shapes.RunWanted, shapes.Run]) -> Answer:
    """A drive that is being backed up already is not backed up twice: its run is the answer."""
    wanted = call.body
    tenant = ids.tenant_given(wanted.tenant)
    account = None if wanted.account is None else ids.account_given(wanted.account)
    visible_tenant(call.service, call.operator, tenant)
    account_id = account and _found(call, tenant, account).id
    try:
        run = call.service.runs.request(
            tenant,
            account_id,
            trigger="api",
            source=wanted.source,
            tags=tuple(wanted.tags),
            dry_run=wanted.dry_run,
            who=call.operator.who,
        )
    except Refused as error:
        raise Refusal(409, error.reason, str(error)) from None
    return _accepted(call, run)


def cancel_run(call: Call[NoQuery, NoBody, shapes.Run]) -> Answer:
    """A run that has ended stays as it is."""
    run = _visible(call)
    if run.open:
        call.service.runs.cancel(run.id, call.operator.who)
    return _accepted(call, call.service.runs.get(run.id))


def list_runs(call: Call[shapes.RunsQuery, NoBody, Page[shapes.Run]]) -> Answer:
    """The newest first, without their results."""
    query, tenant = call.query, call.operator.tenant
    if query.tenant is not None:
        tenant = visible_tenant(call.service, call.operator, ids.tenant_given(query.tenant)).id
    after = query.after and ids.run_given(query.after)
    page, more = split_page(call.service.runs.page(tenant, after, query.limit + 1), query.limit)
    asked = {"tenant": query.tenant, "limit": query.limit}
    there = next_page("/api/runs", asked, page[-1].id) if more else None
    return call.answer(Page(items=[run_document(each) for each in page], next=there))


def show_run(call: Call[shapes.RunQuery, NoBody, shapes.Run]) -> Answer:
    """With its results, as many as were asked for."""
    run, query = _visible(call), call.query
    page, more = split_page(call.service.runs.results(run.id, query.after, query.limit + 1), query.limit)
    there = next_page(f"/api/runs/{run.id}", {"limit": query.limit}, page[-1].account) if more else None
    return call.answer(run_document(run, [_result(call, each) for each in page], there))


def _visible(call: Call[Any, NoBody, shapes.Run]) -> Run:
    """The run of an address; its id says whose it is, so that another tenant's is refused unread. Refusal 404."""
    tenant, run_id = ids.run_in_path(call.request.route["run"])
    call.operator.require(tenant)
    return call.service.runs.get(run_id)


def _found(call: Call[Any, Any, Any], tenant: str, id_or_upn: str) -> Account:
    found = call.service.registry.accounts.find(tenant, id_or_upn)
    if found is None:
        raise not_here()
    return found


def _result(call: Call[Any, NoBody, shapes.Run], outcome: Outcome) -> shapes.Result:
    """Where the report cannot be read, the lists are left out: to say that they are empty would be a lie."""
    try:
        lists = call.service.runs.reports.head(outcome.report, _LISTS_MAX)
    except (NotFound, Damaged, Usage):
        lists = {}
    return result_document(outcome, lists)


def _accepted(call: Call[NoQuery, Any, shapes.Run], run: Run) -> Answer:
    return call.answer(run_document(run), {"Location": f"/api/runs/{run.id}"}, tenant=run.tenant)


async def _look_at_lanes(client: df.DurableOrchestrationClient, made: Answer) -> None:
    await lanes.start_lanes(client, [made.tenant], current.get().drives_per_tenant)


serve_then(blueprint, routes.START_RUN, start_run, _look_at_lanes)
serve(blueprint, routes.CANCEL_RUN, cancel_run)
serve(blueprint, routes.LIST_RUNS, list_runs)
serve(blueprint, routes.SHOW_RUN, show_run)
