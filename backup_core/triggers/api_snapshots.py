"""`/api/accounts/{a}/snapshots` and what lies in one: read from the repository, which stays as it is."""

from typing import Any

import azure.functions as func

from backup_core.browse.listing import list_folder
from backup_core.browse.origins import read_origins
from backup_core.errors import Damaged, NoRepository, Usage
from backup_core.registry.accounts import Account
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import find_snapshot, load_snapshots
from backup_core.service.workplace import open_account_repository
from backup_core.triggers import ids, routes, shapes
from backup_core.triggers.documents import item_document, snapshot_document
from backup_core.triggers.http import Answer, Refusal
from backup_core.triggers.lookup import visible_account
from backup_core.triggers.paging import next_page, split_page
from backup_core.triggers.problems import not_here
from backup_core.triggers.serving import Call, serve
from backup_core.triggers.shapes import NoBody, Page

blueprint = func.Blueprint()


def list_snapshots(call: Call[shapes.PageQuery, NoBody, Page[shapes.Snapshot]]) -> Answer:
    """The newest first. Nothing where there is no repository yet; a damaged snapshot does not hide the others."""
    account, query = _account(call), call.query
    try:
        repository = _repository(call, account)
    except NoRepository:
        return call.answer(Page(items=[], next=None))
    found = load_snapshots(repository, _pass_over)[::-1]
    if query.after is not None:
        later = [number for number, each in enumerate(found, 1) if each.id == query.after]
        if not later:
            raise Refusal(400, "query", "after is no snapshot that is there. Begin the list anew.")
        found = found[later[0] :]
    page, more = split_page(found, query.limit)
    origins = read_origins(repository, page)
    there = next_page(f"/api/accounts/{account.id}/snapshots", {"limit": query.limit}, page[-1].id) if more else None
    return call.answer(Page(items=[snapshot_document(each, origins[each.tree]) for each in page], next=there))


def list_items(call: Call[shapes.ItemsQuery, NoBody, Page[shapes.Item]]) -> Answer:
    """The children of one folder, folders first."""
    account, query = _account(call), call.query
    wanted = ids.snapshot_in_path(call.request.route["snapshot"])
    try:
        repository = _repository(call, account)
        snapshot = find_snapshot(load_snapshots(repository, _pass_over), wanted)
    except (NoRepository, Usage):
        raise not_here() from None
    page, more = split_page(list_folder(repository, snapshot, query.path)[query.after :], query.limit)
    there = None
    if more:
        path = f"/api/accounts/{account.id}/snapshots/{snapshot.id}/items"
        there = next_page(path, {"limit": query.limit, "path": query.path}, query.after + query.limit)
    return call.answer(Page(items=[item_document(each) for each in page], next=there))


def _account(call: Call[Any, NoBody, Any]) -> Account:
    return visible_account(call.service, call.operator, call.request.route["account"])


def _repository(call: Call[Any, NoBody, Any], account: Account) -> Repository:
    return open_account_repository(call.service, account.tenant, account.id, read_only=True)


def _pass_over(_snapshot_id: str, _error: Damaged) -> None:
    """`check` tells of it, and the dashboard."""


serve(blueprint, routes.LIST_SNAPSHOTS, list_snapshots)
serve(blueprint, routes.LIST_ITEMS, list_items)
