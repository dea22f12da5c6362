"""Who sends a request, and whose things they may see. It does not know what the request is about.

An operator is a program with an API key, or a person whom App Service authentication has signed in and who has the app
role `Operator`. The platform's header is believed only where a setting and the platform both say that it is the
platform's: anybody can send such a header to an app that nothing stands in front of.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

import msgspec

from backup_core.errors import DrivekeepError
from backup_core.onboarding.connect import PERSONAL_TENANT
from backup_core.service import Service
from backup_core.settings.platform import signs_people_in
from backup_core.triggers.http import Refusal, Request
from backup_core.triggers.problems import not_here

KEY_HEADER = "x-drivekeep-key"
PRINCIPAL_HEADER = "x-ms-client-principal"

ROLE = "Operator"
# Personal accounts share one tenant, and so belong to nobody who signs in with one of them.
_NOBODYS = {PERSONAL_TENANT: "00000000-0000-0000-0000-000000000000"}
_ROLES = ("roles",)
_TENANT = ("tid", "http://schemas.microsoft.com/identity/claims/tenantid")
_NAME = ("preferred_username", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "upn")
_OBJECT = ("oid", "http://schemas.microsoft.com/identity/claims/objectidentifier")

_HEADER_CHARS_MAX = 64 * 1024  # a person in hundreds of groups has 20 KiB of claims
_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


class _Claim(msgspec.Struct):
    typ: str
    val: str


class _Claims(msgspec.Struct):
    auth_typ: str
    claims: list[_Claim]

    def named(self, names: tuple[str, ...]) -> list[str]:
        """What is said under these names, the first name first."""
        return [claim.val for name in names for claim in self.claims if claim.typ == name]


@dataclass(frozen=True)
class Person:
    """Whom the platform has signed in. `tenant`: where they belong, in lower case."""

    name: str
    tenant: str
    is_operator: bool


@dataclass(frozen=True)
class Operator:
    """`who`: as the audit names them. `tenant`: the only one whose things they see; None sees all."""

    who: str
    tenant: str | None

    def sees(self, tenant: str) -> bool:
        return self.tenant is None or self.tenant == tenant.lower()

    def require(self, tenant: str) -> None:
        """Refusal 404 for another tenant's things: to be called before anything of them is read."""
        if not self.sees(tenant):
            raise not_here()

    def require_all(self) -> None:
        """Refusal 403 where only the home tenant and the API key may."""
        if self.tenant is not None:
            raise Refusal(403, "not-home", "Only an operator of the home tenant, or a program with a key, may do this.")


def require_operator(request: Request, service: Service) -> Operator:
    """Who asks. Refusal: 401 for nobody, 403 for a person without the role."""
    found = find_operator(request, service)
    if found is not None:
        return found
    if find_person(request, service) is not None:
        raise Refusal(
            403, "no-role", f"You are signed in, but have no app role {ROLE}. An administrator can assign it."
        )
    raise _nobody(f"Sign in, or send a key in the header {KEY_HEADER}.")


def find_operator(request: Request, service: Service) -> Operator | None:
    """Who asks; None for anybody who is no operator. Refusal 401 for a key or a principal that is none."""
    key = request.header(KEY_HEADER)
    if key:
        return Operator(f"API key {_number_of(key, _text(service, 'DRIVEKEEP_API_KEY'))}", None)
    person = find_person(request, service)
    if person is None or not person.is_operator:
        return None
    home = _text(service, "DRIVEKEEP_HOME_TENANT").strip().lower()
    if home and person.tenant == home:
        return Operator(person.name, None)
    return Operator(person.name, _NOBODYS.get(person.tenant, person.tenant))


def find_person(request: Request, service: Service) -> Person | None:
    """Whom the platform has signed in; None where nobody is, or where its header is not to be believed."""
    header = request.header(PRINCIPAL_HEADER)
    if not header or _text(service, "DRIVEKEEP_TRUST_PRINCIPAL") != "true" or not signs_people_in():
        return None
    claims = _decoded(header)
    if claims.auth_typ != "aad":
        return None
    tenant = _only(claims, _TENANT).lower()
    if not _GUID.match(tenant):
        raise _nobody("The principal names no tenant.")
    name = next(iter(claims.named(_NAME)), "") or _only(claims, _OBJECT) or "a person without a name"
    return Person(name[:200], tenant, ROLE in claims.named(_ROLES))


def _decoded(header: str) -> _Claims:
    if len(header) > _HEADER_CHARS_MAX:
        raise _nobody("The principal is too long.")
    try:
        return msgspec.json.decode(base64.b64decode(header, validate=True), type=_Claims)
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        raise _nobody("The principal is not what App Service authentication sends.") from None


def _only(claims: _Claims, names: tuple[str, ...]) -> str:
    """The value of a claim that there can be only one of, under whichever of its names."""
    values = {value.lower() for value in claims.named(names)}
    if len(values) > 1:
        raise _nobody("The principal contradicts itself.")
    return values.pop() if values else ""


def _number_of(given: str, keys: str) -> int:
    """Which of the keys it is, from 1. All are compared, in a time that does not depend on what they are."""
    digest = hashlib.sha256(given.encode(errors="replace")).digest()
    found = 0
    for number, key in enumerate(filter(None, map(str.strip, keys.split(","))), 1):
        same = hmac.compare_digest(digest, hashlib.sha256(key.encode()).digest())
        found = number if same else found
    if not found:
        raise _nobody("The key is not one of this installation's.")
    return found


def _text(service: Service, name: str) -> str:
    """A setting; "" where its value cannot be used: nobody is let in by a mistake."""
    try:
        return service.settings.text(name)
    except DrivekeepError:
        return ""


def _nobody(detail: str) -> Refusal:
    return Refusal(401, "nobody", detail)
