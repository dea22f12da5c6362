"""Routes of the directory: who is signed in, who is there, what the organisation is called."""

import base64
from typing import Any
from urllib.parse import quote, urlencode

from backup_core.testing.m365.call import Call
from backup_core.testing.m365.directory import User
from backup_core.testing.m365.graph_errors import GraphError, invalid_request, no_such_user
from backup_core.testing.m365.permissions import require_all_users, require_organization, require_user
from backup_core.testing.m365.rendering import moment
from backup_core.testing.m365.select import Selection
from backup_core.testing.m365.wire import Response

USERS_PAGE = 100
USERS_MOST = 999
_SHOWN_WITHOUT_SELECT = ("id", "displayName", "mail", "userPrincipalName")


def me(call: Call) -> Response:
    user = call.me()
    require_user(call.grant, user)
    return Response.of_json(_user(call, user, f"{call.graph_base}/$metadata#users/$entity"))


def one_user(call: Call, key: str) -> Response:
    user = call.directory.user(key)
    require_user(call.grant, user)
    if user is None:
        raise no_such_user(key)
    return Response.of_json(_user(call, user, f"{call.graph_base}/$metadata#users/$entity"))


def all_users(call: Call) -> Response:
    require_all_users(call.grant)
    call.refuse_options("filter", "search", "orderby", "expand")
    size = _page_size(call)
    found = call.directory.users_after(_position(call.option("skiptoken")), size + 1)
    users = found[:size]
    shown: dict[str, Any] = {
        "@odata.context": f"{call.graph_base}/$metadata#users",
        "value": [_user(call, user) for user in users],
    }
    if len(found) > size:
        options = {"$top": str(size), "$skiptoken": _token(users[-1].number)}
        select = call.option("select")
        query = urlencode(options | ({"$select": select} if select else {}), quote_via=quote, safe="$,")
        shown["@odata.nextLink"] = f"{call.graph_base}/users?{query}"
    return Response.of_json(shown)


def organization(call: Call) -> Response:
    require_organization(call.grant)
    tenant = call.directory.tenant
    domain = {"name": tenant.domain, "isDefault": True, "isInitial": True, "type": "Managed"}
    value = {"id": tenant.id, "displayName": tenant.display_name, "verifiedDomains": [domain]}
    return Response.of_json({"@odata.context": f"{call.graph_base}/$metadata#organization", "value": [value]})


def _user(call: Call, user: User, context: str | None = None) -> dict[str, Any]:
    every = {
        "id": user.id,
        "displayName": user.display_name,
        "mail": user.upn,
        "userPrincipalName": user.upn,
        "userType": "Guest" if user.guest else "Member",
        "accountEnabled": user.enabled,
        "assignedLicenses": [{"skuId": "6fd2c87f-b296-42f0-b197-1e91e994b900"}] if user.licensed else [],
        "onPremisesSyncEnabled": None,
        "createdDateTime": moment(call.directory.created),
    }
    selection = Selection.of(call.request.query)
    names = _SHOWN_WITHOUT_SELECT if selection.text is None else tuple(every)
    shown = {name: every[name] for name in names if name in selection}
    return {"@odata.context": context, **shown} if context else shown


def _page_size(call: Call) -> int:
    top = call.option("top")
    if top is not None and not (top.isdigit() and 1 <= int(top) <= USERS_MOST):
        raise GraphError(
            400,
            "Request_BadRequest",
            f"Invalid page size specified: '{top}'. Must be between 1 and {USERS_MOST} inclusive.",
        )
    return int(top) if top else USERS_PAGE


def _token(position: int) -> str:
    return "RFNwdA" + base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def _position(token: str | None) -> int:
    """The number of the last user that was shown."""
    if token is None:
        return -1
    try:
        text = token.removeprefix("RFNwdA")
        return int(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise invalid_request("Invalid skip token.") from None
