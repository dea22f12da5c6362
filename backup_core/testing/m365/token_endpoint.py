"""The token endpoint: what an app gets for itself, for a person's code, and for a refresh token."""

import json
from dataclasses import replace
from typing import Any

from backup_core.testing.m365.codes import CodeBook
from backup_core.testing.m365.directory import User
from backup_core.testing.m365.proofs import proved
from backup_core.testing.m365.realm import Realm
from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.registrations import Registration
from backup_core.testing.m365.tokens import ACCESS_SECONDS, CONSUMERS, Grant, Session, base64url


class TokenEndpoint:
    def __init__(self, realm: Realm, codes: CodeBook) -> None:
        self._realm, self._codes = realm, codes

    def answer(self, form: dict[str, str], name: str) -> dict[str, Any]:
        """`name`: the tenant in the address. Raises Refused."""
        tenant_id = self._realm.tenant_id(name)
        grant_type = _field(form, "grant_type")
        app = self._realm.app(_field(form, "client_id"))
        if grant_type == "client_credentials":
            return self._app_only(form, app, tenant_id)
        if grant_type not in ("refresh_token", "authorization_code"):
            raise Refused(70003, grant_type)
        if not proved(self._realm, form, app, tenant_id) and not app.public_flows:
            raise Refused(7000218)
        if grant_type == "refresh_token":
            return self._refreshed(form, app, name)
        return self._redeemed(form, app, name)

    def _app_only(self, form: dict[str, str], app: Registration, tenant_id: str | None) -> dict[str, Any]:
        if tenant_id is None or tenant_id == CONSUMERS:
            raise Refused(9001023)
        if not proved(self._realm, form, app, tenant_id):
            raise Refused(7000218)
        scope = _field(form, "scope")
        resource, found, rest = scope.partition("/.default")
        if not found or rest.strip():
            raise Refused(1002012, scope)
        self._realm.check_resource(resource)
        roles = self._realm.consent.roles_of(tenant_id, app)
        token = self._realm.tokens.issue(Grant(tenant_id, app.client_id, roles=roles))
        return {**_lifetime(), "access_token": token}

    def _refreshed(self, form: dict[str, str], app: Registration, name: str) -> dict[str, Any]:
        session = self._realm.tokens.redeem(_field(form, "refresh_token"), app.client_id)
        user = self._user(session, "refresh_token")
        self._realm.admit(name, session.tenant_id)
        asked = form.get("scope", "").split()
        allowed = app.scopes if session.scopes is None else session.scopes & app.scopes
        if not allowed or not self._realm.scopes(asked) <= allowed | {".default"}:
            raise Refused(65001, app.client_id)
        return self._for_person(form, user, replace(session, scopes=allowed), asked)

    def _redeemed(self, form: dict[str, str], app: Registration, name: str) -> dict[str, Any]:
        signed_in = self._codes.redeem(
            _field(form, "code"), app.client_id, form.get("redirect_uri", ""), form.get("code_verifier", "")
        )
        session = signed_in.session
        user = self._user(session, "code")
        self._realm.admit(name, session.tenant_id)
        return self._for_person(form, user, session, list(signed_in.scopes), signed_in.nonce)

    def _for_person(
        self, form: dict[str, str], user: User, session: Session, asked: list[str], nonce: str = ""
    ) -> dict[str, Any]:
        """No scope asked for means what was granted before, a refresh token included."""
        assert session.app_id is not None and session.scopes is not None
        answer: dict[str, Any] = {**_lifetime(), "scope": " ".join(sorted(session.scopes))}
        answer["access_token"] = self._realm.tokens.issue(
            Grant(session.tenant_id, session.app_id, user=session.user, scopes=session.scopes)
        )
        if not asked or "offline_access" in asked:
            answer["refresh_token"] = self._realm.tokens.issue_refresh(session)
        if "openid" in asked:
            answer["id_token"] = self._id_token(user, session, nonce)
        if form.get("client_info"):
            answer["client_info"] = base64url(json.dumps({"uid": user.id, "utid": session.tenant_id}).encode())
        return answer

    def _user(self, session: Session, field: str) -> User:
        user = self._realm.user(session.tenant_id, session.user)
        if user is None:
            raise Refused(70000, field)
        return user

    def _id_token(self, user: User, session: Session, nonce: str) -> str:
        now = int(self._realm.clock.now().timestamp())
        claims = {
            "aud": session.app_id,
            "iss": f"{self._realm.login_url()}/{session.tenant_id}/v2.0",
            "iat": now,
            "nbf": now,
            "exp": now + ACCESS_SECONDS,
            "name": user.display_name,
            "oid": user.id,
            "preferred_username": user.upn,
            "sub": base64url(f"{session.app_id}{user.id}".encode())[:43],
            "tid": session.tenant_id,
            "ver": "2.0",
        }
        return self._realm.tokens.signed(claims | ({"nonce": nonce} if nonce else {}))


def _field(form: dict[str, str], name: str) -> str:
    if not form.get(name):
        raise Refused(900144, name)
    return form[name]


def _lifetime() -> dict[str, Any]:
    return {"token_type": "Bearer", "expires_in": ACCESS_SECONDS - 1, "ext_expires_in": ACCESS_SECONDS - 1}
