"""The page on which a person signs in and lets an app read their files, as a browser meets it: one redirect back.

Nobody types a password: `Visitor` says who sits there and what they do.
"""

import re
from dataclasses import dataclass
from typing import Literal, Protocol

from backup_core.testing.m365.codes import CodeBook, SignedIn
from backup_core.testing.m365.realm import Realm
from backup_core.testing.m365.redirects import redirect, redirect_uri
from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.registrations import Registration
from backup_core.testing.m365.tokens import CONSUMERS, Session
from backup_core.testing.m365.wire import Request, Response

_S256 = re.compile(r"[A-Za-z0-9_-]{43}")
_NO_CONSENT, _DECLINED = 65001, 65004
_REFUSALS = {
    "access_denied": _DECLINED,
    "consent_required": _NO_CONSENT,
    "interaction_required": 50076,
    "login_required": 50058,
}


class Person(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...


@dataclass
class Visitor:
    """Who sits before the sign-in page; may be changed at any time. `user` None: the first user who fits the address.

    `approve` gives the app a code; the others are the `error` that it gets instead.
    """

    user: Person | None = None
    outcome: Literal["approve", "access_denied", "consent_required", "interaction_required", "login_required"] = (
        "approve"
    )


class AuthorizePage:
    def __init__(self, realm: Realm, visitor: Visitor, codes: CodeBook) -> None:
        self._realm, self._visitor, self._codes = realm, visitor, codes

    def answer(self, request: Request, name: str) -> Response:
        """Raises Refused for what must not be redirected: an unknown app, a foreign address, a person of elsewhere."""
        app = self._realm.app(request.query.get("client_id", ""))
        back = redirect_uri(request, app)
        tenant_id, user_id = self._who(name)
        self._realm.admit(name, tenant_id)
        if self._realm.user(tenant_id, user_id) is None:
            raise Refused(50034)
        try:
            code = self._code(request, app, Session(tenant_id, user_id, app.client_id), back)
        except Refused as refused:
            return redirect(request, back, _told(refused))
        return redirect(request, back, {"code": code})

    def _code(self, request: Request, app: Registration, session: Session, back: str) -> str:
        query = request.query
        if query.get("response_type") != "code":
            raise Refused(700054, query.get("response_type", ""))
        challenge = query.get("code_challenge", "")
        if challenge and not (query.get("code_challenge_method") == "S256" and _S256.fullmatch(challenge)):
            raise Refused(50147)
        asked = query.get("scope", "").split()
        if not asked:
            raise Refused(900144, "scope")
        wanted = self._realm.scopes(asked)
        if self._visitor.outcome != "approve":
            raise Refused(_REFUSALS[self._visitor.outcome], app.client_id)
        granted = app.scopes if ".default" in wanted else wanted & app.scopes
        if not wanted - {".default"} <= app.scopes:
            raise Refused(_NO_CONSENT, app.client_id)
        allowed = Session(session.tenant_id, session.user, app.client_id, frozenset(granted))
        return self._codes.issue(SignedIn(allowed, back, tuple(asked), query.get("nonce", ""), challenge))

    def _who(self, name: str) -> tuple[str, str]:
        """Tenant and object id. Raises Refused where nobody fits."""
        if self._visitor.user is not None:
            return self._visitor.user.tenant_id, self._visitor.user.id
        named = self._realm.tenant_id(name)
        for directory in self._realm.tenants:
            tenant_id = directory.tenant.id
            fits = named == tenant_id or (named is None and not (name == "organizations" and tenant_id == CONSUMERS))
            if fits and directory.users:
                return tenant_id, directory.users[0].id
        raise Refused(50020, name)


def _told(refused: Refused) -> dict[str, str]:
    """A refusal in the words of this page: a missing consent, at the token endpoint an invalid grant, has its own."""
    error = "consent_required" if refused.number == _NO_CONSENT else refused.error
    told = {"error": error, "error_description": str(refused)}
    return {**told, "error_subcode": "cancel"} if refused.number == _DECLINED else told
