"""Whose drive is backed up, and single items of it."""

import string
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

from backup_core.errors import DrivekeepError, NotFound, Usage
from backup_core.graph.client import GraphClient, Json
from backup_core.graph.items import SELECT, DriveItem, normal_id, parse_item
from backup_core.graph.refusals import Refused

_DOWNLOAD_URL = "@microsoft.graph.downloadUrl"
_PAGES_MAX = 100  # nobody has so many drives; a list that goes on is a list that goes round


class Account(NamedTuple):
    id: str
    upn: str


class Drive(NamedTuple):
    id: str
    name: str
    type: str  # business, personal or documentLibrary
    account: Account


def my_drive(client: GraphClient, drive: str | None = None) -> Drive:
    """The drive of who is signed in; another one of theirs by id or name. NotFound, reason `no-drive`."""
    me = client.get_json("/me", {"$select": "id,userPrincipalName"}, valid=_has_id)
    return _drive(client, "/me", _account(me), drive)


def user_drive(client: GraphClient, account: str, drive: str | None = None) -> Drive:
    """The drive of an account, named by id or UPN, app-only. Reasons `account-gone`, `no-drive`, `drive-blocked`."""
    path = f"/users/{_segment(account)}"
    try:
        user = client.get_json(path, {"$select": "id,userPrincipalName"}, valid=_has_id)
    except Refused as refused:
        if refused.refusal.status not in (400, 404):
            raise
        raise DrivekeepError(
            f"There is no account {account} in this tenant.",
            why="It was deleted, or the name is not spelt as the tenant spells it.",
            remedy="Give its user principal name or its object id, and check DRIVEKEEP_TENANT.",
            reason="account-gone",
        ) from None
    found = _account(user)
    return _drive(client, f"/users/{_segment(found.id)}", found, drive)


def root_item(client: GraphClient, drive_id: str) -> DriveItem:
    """The folder that everything else lies in."""
    with drive_errors("the root folder"):
        return parse_item(_item(client, f"{drive_path(drive_id)}/root", SELECT))


def item_at_path(client: GraphClient, drive_id: str, path: str) -> DriveItem:
    """The item at a path below the root, in any case; "" is the root itself. NotFound."""
    segments = [segment for segment in path.split("/") if segment]
    if not segments:
        return root_item(client, drive_id)
    with drive_errors(path):
        return parse_item(_item(client, f"{drive_path(drive_id)}/root:/{'/'.join(map(_segment, segments))}", SELECT))


def get_item(client: GraphClient, drive_id: str, item_id: str) -> tuple[DriveItem, str | None]:
    """The item as it is now, with a link to its content that is good for some minutes. NotFound.

    The link is a credential of its own: it is neither stored nor shown, and its host is checked before it is used.
    """
    with drive_errors("the item"):
        json = _item(client, item_path(drive_id, item_id), f"{SELECT},content.downloadUrl")
    link = json.get(_DOWNLOAD_URL)
    return parse_item(json), link if isinstance(link, str) and link else None


def drive_path(drive_id: str) -> str:
    """Where Graph has a drive, below /v1.0."""
    return f"/drives/{_segment(drive_id)}"


def item_path(drive_id: str, item_id: str) -> str:
    """Where Graph has an item, below /v1.0."""
    return f"{drive_path(drive_id)}/items/{_segment(item_id)}"


@contextmanager
def drive_errors(wanted: str) -> Iterator[None]:
    """What Graph's refusals mean where a drive or an item was asked for; others pass as they are."""
    try:
        yield
    except Refused as refused:
        refusal = refused.refusal
        if refusal.no_drive:
            raise _no_drive() from None
        if refusal.drive_blocked:
            raise DrivekeepError(
                "This OneDrive is blocked.",
                why=refusal.message or "Microsoft answers that an administrator has locked its site.",
                remedy="Ask the administrator to unlock it in the SharePoint admin centre. What was saved stays.",
                reason="drive-blocked",
            ) from None
        if refusal.status == 404:
            raise NotFound(
                f"OneDrive does not have {wanted}.",
                why="It was deleted, or it was never there.",
                remedy="Check how it is written, and whose drive it should be in.",
            ) from None
        raise


def _drive(client: GraphClient, owner: str, account: Account, wanted: str | None) -> Drive:
    if wanted is None:
        try:
            with drive_errors("this drive"):
                return _parsed(client.get_json(f"{owner}/drive", valid=_has_id), account)
        except NotFound:  # one of Microsoft's three ways to say it does not name the reason
            raise _no_drive() from None
    with drive_errors("these drives"):
        drives = [_parsed(json, account) for json in _list(client, f"{owner}/drives")]
    matching = [drive for drive in drives if drive.id == normal_id(wanted)]
    matching = matching or [drive for drive in drives if drive.name.casefold() == wanted.casefold()]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(f"{drive.name} ({drive.id})" for drive in drives) or "none"
    raise NotFound(
        f"{account.upn} has {'several drives' if matching else 'no drive'} called {wanted}.",
        why=f"Their drives are: {names}.",
        remedy="Name one of them by its id.",
    )


def _no_drive() -> DrivekeepError:
    return DrivekeepError(
        "This account has no OneDrive.",
        why="It was never opened, or there is no licence for it.",
        remedy="Let its owner open OneDrive once, or give it a licence, then run the same command again.",
        reason="no-drive",
    )


def _list(client: GraphClient, path: str) -> list[Json]:
    found: list[Json] = []
    link = path
    for _ in range(_PAGES_MAX):
        page = client.get_json(link, valid=lambda json: isinstance(json.get("value"), list))
        found += [json for json in page["value"] if isinstance(json, dict) and _has_id(json)]
        link = page.get("@odata.nextLink") or ""
        if not link:
            break
    return found


def _item(client: GraphClient, path: str, select: str) -> Json:
    return client.get_json(path, {"$select": select}, valid=_has_id)


def _account(json: Json) -> Account:
    return Account(json["id"], _text(json.get("userPrincipalName")) or json["id"])


def _parsed(json: Json, account: Account) -> Drive:
    return Drive(
        normal_id(json["id"]),
        _text(json.get("name")) or "OneDrive",
        _text(json.get("driveType")) or "business",
        account,
    )


def _has_id(json: Json) -> bool:
    return bool(_text(json.get("id")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _segment(name: str) -> str:
    """One segment of a path. A lone dot or two would be taken for a step in the tree of paths."""
    if not name.strip(string.whitespace + "."):
        raise Usage(f"{name!r} is not a name that OneDrive can have.")
    return quote(name, safe="!")
