"""Routes of items: one by id or path, a folder's children, the delta feed, and the way to a file's content."""

import base64
import json
import re
from bisect import bisect_right
from typing import Any
from urllib.parse import quote, unquote, urlencode

from backup_core.testing.m365.call import Call
from backup_core.testing.m365.content_host import refuse_content
from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.feed import FeedEntry
from backup_core.testing.m365.graph_errors import GraphError, invalid_request, item_not_found, not_simulated
from backup_core.testing.m365.item_address import Address
from backup_core.testing.m365.items import SimulatedItem
from backup_core.testing.m365.positions import invalid_paging_token
from backup_core.testing.m365.rendering import ItemRenderer
from backup_core.testing.m365.wire import Response

_FUNCTION_TOKEN = re.compile(r"delta\((?:token='?(?P<token>[^')]*)'?)?\)")
_SHARING_CHANGES = "deltashowsharingchanges"
_NEEDED_BY_SHARING_CHANGES = {"deltashowremovedasdeleted", "deltatraversepermissiongaps"}


def answer_item(call: Call, drive: Drive, rest: str) -> Response:
    """`rest`: what follows the drive in the URL, percent-encoded."""
    address = Address.parse(rest)
    with drive.lock:
        item = address.find(drive)
    if address.action in _ACTIONS:
        return _ACTIONS[address.action](call, drive, item)
    function = _FUNCTION_TOKEN.fullmatch(address.action)
    if function:
        return _delta(call, drive, item, function["token"])
    raise not_simulated(f"/{address.action} of an item")


def _one(call: Call, drive: Drive, item: SimulatedItem) -> Response:
    call.refuse_options("expand")
    if call.request.headers.get("if-none-match") == item.etag:
        return Response(304, {"etag": item.etag})
    _work_out_hashes([item])
    with drive.lock:
        shown = call.renderer(drive).live(item)
    context = f"{call.graph_base}/$metadata#drives('{drive.id}')/items/$entity"
    return Response.of_json({"@odata.context": context, **shown})


def _children(call: Call, drive: Drive, folder: SimulatedItem) -> Response:
    call.refuse_options("expand", "filter", "orderby", "search")
    if folder.children is None:
        raise item_not_found()
    size = call.page_size(call.switches.page_size)
    if folder is drive.root:  # where a walk begins
        drive.refresh_mounts()
    with drive.lock:
        names = drive.listing(folder)
        start = bisect_right(names, _read_skip_token(call.option("skiptoken")))
        shown_names = names[start : start + size]
        items = [folder.children[name] for name in shown_names]
    _work_out_hashes(items)
    with drive.lock:
        renderer = call.renderer(drive)
        value = [renderer.live(item) for item in items if not item.deleted]
    shown: dict[str, Any] = {
        "@odata.context": f"{call.graph_base}/$metadata#drives('{drive.id}')/items('{folder.id}')/children",
        "@odata.count": len(names),
        "value": value,
    }
    if start + size < len(names):
        options = _options(call, "$") | {"$skiptoken": _skip_token(shown_names[-1])}
        shown["@odata.nextLink"] = _link(call, drive, folder, "children", options)
    return Response.of_json(shown)


def _content(call: Call, drive: Drive, item: SimulatedItem) -> Response:
    with drive.lock:
        refuse_content(drive, item, call.switches)
        if call.request.headers.get("if-none-match") in (item.etag, item.ctag):
            return Response(304, {"etag": item.etag})
        location = call.renderer(drive).download_url(item)
    assert location is not None
    return Response(302, {"location": location})


def _delta_of_query(call: Call, drive: Drive, item: SimulatedItem) -> Response:
    return _delta(call, drive, item, call.option("token"))


def _delta(call: Call, drive: Drive, scope: SimulatedItem, token: str | None) -> Response:
    call.refuse_options("expand", "filter", "orderby", "search")
    _check_prefer(call)
    if scope.children is None:
        raise invalid_request("A delta of a file is not supported.")
    feed = call.world.feed(drive)
    size = call.page_size(call.switches.page_size)
    try:
        with drive.lock:
            page = feed.page(scope, token, size, "deltaexcludeparent" in call.request.headers)
    except GraphError as refusal:
        if refusal.status == 410:
            fresh = _options(call, "$") | {"token": feed.fresh_token(scope)}
            refusal.headers["location"] = _link(call, drive, scope, "delta", fresh)
        raise
    _work_out_hashes([entry.item for entry in page.entries])
    with drive.lock:
        renderer = call.renderer(drive, in_feed=True)
        value = [_rendered(renderer, entry) for entry in page.entries]
    # As seen in the wild: next links keep the dollar signs of the options, delta links do not.
    mark, name = ("$", "@odata.nextLink") if page.more else ("", "@odata.deltaLink")
    link = _link(call, drive, scope, "delta", _options(call, mark) | {"token": page.token})
    context = f"{call.graph_base}/$metadata#Collection(driveItem)"
    return Response.of_json({"@odata.context": context, name: link, "value": value})


def _rendered(renderer: ItemRenderer, entry: FeedEntry) -> dict[str, Any]:
    if entry.item.deleted or entry.form == "left":
        return renderer.tombstone(entry.item)
    return renderer.outdated(entry.item) if entry.form == "outdated" else renderer.live(entry.item)


def _check_prefer(call: Call) -> None:
    preferred = {part.strip().lower() for part in call.request.headers.get("prefer", "").split(",")}
    if _SHARING_CHANGES in preferred and not preferred >= _NEEDED_BY_SHARING_CHANGES:
        raise invalid_request(
            "Must also prefer deltashowremovedasdeleted and deltatraversepermissiongaps "
            "when preferring deltashowsharingchanges for a user request."
        )


def _work_out_hashes(items: list[SimulatedItem]) -> None:
    """Before the drive's lock is taken: a hash may mean reading gigabytes, and downloads need the lock too."""
    for item in items:
        if item.body and not item.deleted:
            item.body.quickxor()


def _options(call: Call, mark: str) -> dict[str, str]:
    return {mark + name: value for name in ("select", "top") if (value := call.option(name))}


def _link(call: Call, drive: Drive, item: SimulatedItem, action: str, options: dict[str, str]) -> str:
    query = urlencode(options, quote_via=quote, safe="$")
    return f"{call.graph_base}/drives/{drive.id}/items/{item.id}/{action}?{query}"


def _skip_token(last_name: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(["Paged", last_name]).encode()).decode().rstrip("=")


def _read_skip_token(token: str | None) -> str:
    """The name after which the page begins; "" comes before every name."""
    if token is None:
        return ""
    try:
        mark, name = json.loads(base64.urlsafe_b64decode(unquote(token) + "=" * (-len(token) % 4)))
    except (ValueError, TypeError):
        mark, name = None, None
    if mark != "Paged" or not isinstance(name, str):
        raise invalid_paging_token()
    return name


_ACTIONS = {"": _one, "children": _children, "content": _content, "delta": _delta_of_query}
