"""What Microsoft's tokens say of themselves: whose they are, for which app, with which roles. It verifies no signature.

It needs none: these tokens come straight from the sign-in host over TLS, and Graph checks them each time. A token from
anywhere else must not be read here.
"""

import base64
import datetime
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from backup_core.errors import AccessDenied

_SKEW = datetime.timedelta(minutes=5)  # between Microsoft's clocks and ours


class AppClaims(NamedTuple):
    """Of an app-only token. Ids in lower case; "" where the token does not say."""

    tenant: str
    app: str
    roles: frozenset[str]


class Person(NamedTuple):
    """Who signed in. `id`: the object id in the tenant; a personal account's tenant is Microsoft's own."""

    tenant: str
    id: str
    upn: str
    name: str


def app_claims(token: str) -> AppClaims:
    """AccessDenied where it cannot be read."""
    claims = _claims(token)
    roles = claims.get("roles")
    return AppClaims(
        _text(claims, "tid").lower(),
        (_text(claims, "appid") or _text(claims, "azp")).lower(),
        frozenset(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else frozenset(),
    )


def person(claims: Mapping[str, Any], client_id: str, now: datetime.datetime) -> Person:
    """Who an id token is about. AccessDenied where it is not for this app, not of now, or does not say who."""
    tenant, account = _text(claims, "tid").lower(), _text(claims, "oid").lower()
    issuer, audience = _text(claims, "iss").lower(), claims.get("aud")
    fits = isinstance(audience, str) and audience.lower() == client_id.lower()
    fits = fits and issuer.startswith("https://") and issuer.endswith(f"/{tenant}/v2.0")
    if not (tenant and account and fits and _is_of_now(claims, now)):
        raise _senseless()
    upn = _text(claims, "preferred_username") or _text(claims, "email") or account
    return Person(tenant, account, upn, _text(claims, "name") or upn)


def _is_of_now(claims: Mapping[str, Any], now: datetime.datetime) -> bool:
    begins, ends = claims.get("nbf", 0), claims.get("exp")
    if not isinstance(begins, int | float) or not isinstance(ends, int | float):
        return False
    return (now + _SKEW).timestamp() >= begins and ends > (now - _SKEW).timestamp()


def _claims(token: str) -> dict[str, Any]:
    try:
        payload = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise _senseless()
    return claims


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _senseless() -> AccessDenied:
    return AccessDenied(
        "oauth2: cannot fetch token: the token that came says nothing that can be relied on.",
        why="It is for another app, out of date by this machine's clock, or not one of Microsoft's.",
        remedy="Check this machine's clock, DRIVEKEEP_CLIENT_ID and DRIVEKEEP_AUTHORITY_URL.",
        reason="sign-in",
    )
