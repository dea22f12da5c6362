"""`/api/tenants/{t}/accounts` and `/api/accounts/{a}`: who is protected, and changing that. It enrols nobody."""

from typing import Any

import azure.functions as func
import msgspec

from backup_core.errors import Usage
from backup_core.onboarding.inclusion import TenantWaits, letting_in_tenant
from backup_core.registry import audit
from backup_core.registry.accounts import Account
from backup_core.registry.table import Change
from backup_core.runs.schedule import valid_cron
from backup_core.triggers import ids, routes, shapes
from backup_core.triggers.account_change import changed
from backup_core.triggers.documents import account_document, check_match, entity_tag
from backup_core.triggers.http import Answer, Refusal
from backup_core.triggers.lookup import visible_account, visible_tenant
from backup_core.triggers.paging import next_page, split_page
from backup_core.triggers.problems import not_here
from backup_core.triggers.serving import Call, serve
from backup_core.triggers.shapes import NoBody, NoQuery, Page

blueprint = func.Blueprint()


def list_accounts(call: Call[shapes.AccountsQuery, NoBody, Page[shapes.Account]]) -> Answer:
    """By id; the table itself sorts out a state."""
    query, accounts = call.query, call.service.registry.accounts
    tenant = visible_tenant(call.service, call.operator, ids.tenant_in_path(call.request.route["tenant"])).id
    page, more = split_page(accounts.page(tenant, query.after, query.limit + 1, query.state), query.limit)
    asked = {"limit": query.limit, "state": query.state}
    there = next_page(f"/api/tenants/{tenant}/accounts", asked, page[-1].id) if more else None
    return call.answer(Page(items=[account_document(each) for each in page], next=there))


def show_account(call: Call[NoQuery, NoBody, shapes.Account]) -> Answer:
    return _shown(call, visible_account(call.service, call.operator, call.request.route["account"]))


def change_account(call: Call[NoQuery, shapes.AccountChange, shapes.Account]) -> Answer:
    """One transaction with its audit row; who sent If-Match changes only the version that they have seen."""
    found = visible_account(call.service, call.operator, call.request.route["account"])
    wanted = _checked(call.body)
    service, accounts = call.service, call.service.registry.accounts

    def changes() -> list[Change]:
        before = accounts.get(found.tenant, found.id)
        if before is None:
            raise not_here()
        check_match(call.request, before.etag)
        may_approve = call.operator.tenant is None
        after = changed(before, wanted, due_again=service.runs.due_again, may_approve=may_approve)
        if after == before:
            return []
        who = call.operator.who
        note = audit.entry(service.clock, who, "account.change", found.id, msgspec.to_builtins(wanted))
        return [*accounts.changes(before, after), *letting_in_tenant(service, before, after, who), note]

    try:
        service.registry.commit(found.tenant, changes)
    except TenantWaits as error:
        raise Refusal(409, error.reason, str(error)) from None
    return _shown(call, accounts.get(found.tenant, found.id) or found)


def _checked(wanted: shapes.AccountChange) -> shapes.AccountChange:
    """With the schedule as it is kept. Refusal 400."""
    if wanted.exclude not in ([], msgspec.UNSET):
        raise Refusal(
            400, "not-built", "exclude cannot be set: exclusions of an account are not supported by this version."
        )
    if isinstance(wanted.schedule, str):
        try:
            wanted.schedule = valid_cron(wanted.schedule)
        except Usage as error:
            raise Refusal(400, "schedule", f"schedule: {error}") from None
    return wanted


def _shown(call: Call[Any, Any, shapes.Account], account: Account) -> Answer:
    return call.answer(account_document(account), {"ETag": entity_tag(account.etag)})


serve(blueprint, routes.LIST_ACCOUNTS, list_accounts)
serve(blueprint, routes.SHOW_ACCOUNT, show_account)
serve(blueprint, routes.CHANGE_ACCOUNT, change_account)
