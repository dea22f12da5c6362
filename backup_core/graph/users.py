"""The users of a tenant, what it is called, and whether one of them has a drive; with the app's own access."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import quote

from backup_core.errors import DrivekeepError
from backup_core.graph.client import GraphClient, Json
from backup_core.graph.items import normal_id
from backup_core.graph.refusals import Forbidden, Refused

PAGE_MAX = 999  # Graph answers 400 to 1,000
_SELECT = "id,userPrincipalName,displayName,userType"
_SOME = 25  # users tell which domain a tenant has


class User(NamedTuple):
    """`id` in lower case. A disabled user, or one without a licence, may have a drive: neither is asked for."""

    id: str
    upn: str
    display_name: str
    guest: bool


class UsersPage(NamedTuple):
    """`next_link`: where the list goes on; "" where it is whole. Whoever stores it seals it."""

    users: list[User]
    next_link: str


class Organization(NamedTuple):
    name: str
    domain: str


class UsersDrive(NamedTuple):
    """`finding`: `readable`; `none` where there is no drive; `closed` to us for now; `gone`, user and all."""

    finding: Literal["readable", "none", "closed", "gone"]
    drive_id: str = ""


def users_page(client: GraphClient, link: str = "", top: int = 0) -> UsersPage:
    """The first page, of `top` users where that is given, or the one at a link of the page before.

    Forbidden, Refused (a link that is too old: 400).
    """
    params = None if link else {"$select": _SELECT, "$top": str(top or PAGE_MAX)}
    page = client.get_json(link or "/users", params, valid=lambda json: isinstance(json.get("value"), list))
    users = [_user(json) for json in page["value"] if isinstance(json, dict) and _text(json, "id")]
    return UsersPage(users, _text(page, "@odata.nextLink"))


def organization(client: GraphClient) -> Organization | None:
    """What the tenant is called; None where the app may not read that, which is no error."""
    try:
        page = client.get_json(
            "/organization",
            {"$select": "displayName,verifiedDomains"},
            valid=lambda json: isinstance(json.get("value"), list),
        )
    except Forbidden:
        return None
    found = next((json for json in page["value"] if isinstance(json, dict)), {})
    domains = found.get("verifiedDomains")
    known = [each for each in domains if isinstance(each, dict)] if isinstance(domains, list) else []
    chosen = next((each for each in known if each.get("isDefault") is True), known[0] if known else {})
    return Organization(_text(found, "displayName"), _text(chosen, "name"))


def domain_by_users(client: GraphClient) -> str:
    """The domain that most of the first users have, for a tenant that does not say what it is called."""
    return usual_domain(users_page(client, top=_SOME).users)


def usual_domain(users: Iterable[User]) -> str:
    """The domain that most of them have, guests aside; "" where nobody has one."""
    domains = Counter(filter(None, (domain_of(user.upn) for user in users if not user.guest)))
    return domains.most_common(1)[0][0] if domains else ""


def drive_of(client: GraphClient, user_id: str) -> UsersDrive:
    """Whether a user has a drive that can be read. AccessDenied and Temporary are about all users, and raised."""
    try:
        drive = client.get_json(f"/users/{quote(user_id, safe='')}/drive", valid=lambda json: bool(_text(json, "id")))
    except (Refused, Forbidden) as refused:
        refusal = refused.refusal
        if refusal.status == 404 and "request_resourcenotfound" in refusal.codes:
            return UsersDrive("gone")
        if refusal.status == 404 or refusal.no_drive:
            return UsersDrive("none")
        # 423: an administrator has locked its site. Whatever else Microsoft has against this one drive may pass, too.
        return UsersDrive("closed")
    return UsersDrive("readable", normal_id(_text(drive, "id")))


def domain_of(upn: str) -> str:
    """The domain of a user principal name; "" where it has none, or is a guest's."""
    found = re.fullmatch(r"[^@]+@([^@\s]+)", upn)
    return found[1].lower() if found and "#EXT#" not in upn.upper() else ""


def is_expired_link(error: DrivekeepError) -> bool:
    """Whether a list cannot be read on from where it was, and must be begun anew."""
    return isinstance(error, Refused) and error.refusal.status in (400, 404, 410)


def _user(json: Json) -> User:
    user_id, upn = _text(json, "id").lower(), _text(json, "userPrincipalName")
    guest = _text(json, "userType").lower() == "guest"
    return User(user_id, upn or user_id, _text(json, "displayName") or upn or user_id, guest)


def _text(json: Json, name: str) -> str:
    value = json.get(name)
    return value if isinstance(value, str) else ""
