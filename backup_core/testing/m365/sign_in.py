"""The sign-in host (Entra): discovery, and tokens for an app by itself or for a user's refresh token.

It shows no page: signing in by browser or device code is not part of it.
"""

import base64
import json
import re
import secrets
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, unquote_plus

from backup_core.clock import Clock
from backup_core.testing.m365.assertions import ASSERTION_TYPE, check_assertion
from backup_core.testing.m365.directory import Directory, User
from backup_core.testing.m365.discovery import configuration, instances
from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.registrations import Registration, Registrations
from backup_core.testing.m365.tokens import ACCESS_SECONDS, CONSUMERS, Grant, Session, TokenBook, base64url, public_keys
from backup_core.testing.m365.wire import Request, Response

_SHARED_TENANTS = ("common", "organizations", "consumers")  # anybody's tenant: no app can sign in by itself there
_SIGN_IN_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
_GRAPH = "https://graph.microsoft.com"


class SignIn:
    """`login_url` and `graph_url` give those hosts' roots as the client that is being served knows them."""

    def __init__(
        self,
        directory: Directory,
        registrations: Registrations,
        tokens: TokenBook,
        clock: Clock,
        login_url: Callable[[], str],
        graph_url: Callable[[], str],
    ) -> None:
        self._directory, self._registrations, self._tokens, self._clock = directory, registrations, tokens, clock
        self._login_url, self._graph_url = login_url, graph_url
        self._routes: list[tuple[str, re.Pattern[str], Callable[[Request, str], Response]]] = [
            ("GET", re.compile(r"/common/(discovery/instance)"), self._instances),
            ("GET", re.compile(r"/([^/]+)/v2\.0/\.well-known/openid-configuration"), self._configuration),
            ("GET", re.compile(r"/([^/]+)/discovery/v2\.0/keys"), self._keys),
            ("POST", re.compile(r"/([^/]+)/oauth2/v2\.0/token"), self._token),
        ]

    def handle(self, request: Request) -> Response:
        try:
            response = self._route(request)
        except Refused as refusal:
            response = self._refusal(refusal, request)
        response.headers.setdefault("cache-control", "no-store, no-cache")
        response.headers["x-ms-request-id"] = _guid()
        if "client-request-id" in request.headers:
            response.headers["client-request-id"] = request.headers["client-request-id"]
        return response

    def _route(self, request: Request) -> Response:
        known = False
        for method, pattern, answer in self._routes:
            if found := pattern.fullmatch(request.path):
                if method == request.method:
                    return answer(request, unquote(found[1]))
                known = True
        if known:
            return Response(405, {"content-type": "text/plain"}, b"Method not allowed.\n")
        text = f"The simulated sign-in host has no route {request.method} {request.path}.\n"
        return Response(404, {"content-type": "text/plain"}, text.encode())

    def _instances(self, request: Request, _: str) -> Response:
        return Response.of_json(instances(request, self._login_url()))

    def _configuration(self, _: Request, tenant: str) -> Response:
        found = configuration(self._login_url(), self._graph_url(), tenant, self._tenant_id(tenant))
        return Response.of_json(found, headers={"cache-control": "max-age=86400, private"})

    def _keys(self, _: Request, tenant: str) -> Response:
        self._tenant_id(tenant)
        return Response.of_json(public_keys())

    def _token(self, request: Request, tenant: str) -> Response:
        form = _form(request)
        tenant_id = self._tenant_id(tenant)
        grant_type = _field(form, "grant_type")
        app = self._registrations.find(_field(form, "client_id"))
        if app is None:
            raise Refused(700016, form["client_id"])
        if grant_type == "client_credentials":
            answer = self._app_only(form, app, tenant_id)
        elif grant_type == "refresh_token":
            answer = self._refreshed(form, app, tenant, tenant_id)
        else:
            raise Refused(70003, grant_type)
        return Response.of_json(answer)

    def _app_only(self, form: dict[str, str], app: Registration, tenant_id: str | None) -> dict[str, Any]:
        if tenant_id in (None, CONSUMERS):
            raise Refused(9001023)
        assert tenant_id is not None
        if not self._proved(form, app, tenant_id):
            raise Refused(7000218)
        scope = _field(form, "scope")
        resource, found, rest = scope.partition("/.default")
        if not found or rest.strip():
            raise Refused(1002012, scope)
        self._check_resource(resource)
        token = self._tokens.issue(Grant(tenant_id, app.client_id, roles=app.roles))
        return {**_lifetime(), "access_token": token}

    def _refreshed(self, form: dict[str, str], app: Registration, tenant: str, tenant_id: str | None) -> dict[str, Any]:
        if not self._proved(form, app, tenant_id) and not app.public_flows:
            raise Refused(7000218)
        session = self._tokens.redeem(_field(form, "refresh_token"), app.client_id)
        user = self._user(session)
        if tenant_id not in (None, session.tenant_id) or (tenant == "organizations" and session.tenant_id == CONSUMERS):
            raise Refused(50020, tenant)
        asked = form.get("scope", "").split()
        scopes = self._consented(asked, app, session)
        answer: dict[str, Any] = {**_lifetime(), "scope": " ".join(sorted(scopes))}
        answer["access_token"] = self._tokens.issue(
            Grant(session.tenant_id, app.client_id, user=session.user, scopes=scopes)
        )
        if not asked or "offline_access" in asked:
            answer["refresh_token"] = self._tokens.issue_refresh(replace(session, scopes=scopes))
        if "openid" in asked:
            answer["id_token"] = self._id_token(user, app, session)
        if form.get("client_info"):
            answer["client_info"] = base64url(json.dumps({"uid": user.id, "utid": session.tenant_id}).encode())
        return answer

    def _proved(self, form: dict[str, str], app: Registration, tenant_id: str | None) -> bool:
        """Whether the app showed a credential at all; a wrong one is Refused."""
        secret, assertion = form.get("client_secret"), form.get("client_assertion")
        if not secret and not assertion:
            return False
        if not app.confidential:
            raise Refused(700025)
        if secret:
            if not app.any_secret and secret not in app.secrets:
                raise Refused(7000215, app.client_id)
            return True
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise Refused(900144, "client_assertion_type")
        names, ends = self._names_of(tenant_id), ("oauth2/v2.0/token", "v2.0")
        audiences = {f"{self._login_url()}/{name}/{end}" for name in names for end in ends}
        check_assertion(assertion or "", app.client_id, app.certificates, audiences, self._clock.now())
        return True

    def _consented(self, asked: list[str], app: Registration, session: Session) -> frozenset[str]:
        """The scopes of Graph that the new token carries; what was not consented to is Refused."""
        allowed = app.scopes if session.scopes is None else session.scopes & app.scopes
        wanted = set()
        for scope in asked:
            resource, found, name = scope.rpartition("/")
            if found:
                self._check_resource(resource)
            wanted.add(name)
        wanted -= _SIGN_IN_SCOPES
        if not allowed or not (wanted <= allowed | {".default"}):
            raise Refused(65001, app.client_id)
        return allowed

    def _check_resource(self, resource: str) -> None:
        if resource.rstrip("/") not in (_GRAPH, self._graph_url()):
            raise Refused(500011, resource)

    def _user(self, session: Session) -> User:
        for user in self._directory.users:
            if user.id == session.user:
                if not user.enabled:
                    raise Refused(50057)
                return user
        raise Refused(70000)

    def _tenant_id(self, name: str) -> str | None:
        """None for the shared ones. Raises Refused for a tenant that nobody knows."""
        tenant = self._directory.tenant
        if name.lower() in (tenant.id, tenant.domain.lower()):
            return tenant.id
        if name.lower() in ("consumers", CONSUMERS):
            return CONSUMERS
        if name.lower() in _SHARED_TENANTS:
            return None
        raise Refused(90002, name)

    def _names_of(self, tenant_id: str | None) -> tuple[str, ...]:
        tenant = self._directory.tenant
        return (tenant.id, tenant.domain) if tenant_id == tenant.id else _SHARED_TENANTS

    def _id_token(self, user: User, app: Registration, session: Session) -> str:
        now = int(self._clock.now().timestamp())
        return self._tokens.signed(
            {
                "aud": app.client_id,
                "iss": f"{self._login_url()}/{session.tenant_id}/v2.0",
                "iat": now,
                "nbf": now,
                "exp": now + ACCESS_SECONDS,
                "name": user.display_name,
                "oid": user.id,
                "preferred_username": user.upn,
                "sub": base64url(f"{app.client_id}{user.id}".encode())[:43],
                "tid": session.tenant_id,
                "ver": "2.0",
            }
        )

    def _refusal(self, refusal: Refused, request: Request) -> Response:
        now, trace = self._clock.now(), _guid()
        correlation = request.headers.get("client-request-id") or _guid()
        timestamp = f"{now:%Y-%m-%d %H:%M:%S}Z"
        body = {
            "error": refusal.error,
            "error_description": f"{refusal} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
            "error_codes": [refusal.number],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"{self._login_url()}/error?code={refusal.number}",
        }
        if refusal.suberror:
            body["suberror"] = refusal.suberror
        return Response.of_json(body, refusal.status)


def _form(request: Request) -> dict[str, str]:
    """The fields of the body; an app may also write its id and secret into a Basic header, as Go programs try first."""
    try:
        form = request.form()
        scheme, _, credential = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            client_id, _, secret = base64.b64decode(credential).decode().partition(":")
            form |= {"client_id": unquote_plus(client_id), "client_secret": unquote_plus(secret)}
    except ValueError:
        return {}  # refused for what it lacks
    return form


def _field(form: dict[str, str], name: str) -> str:
    if not form.get(name):
        raise Refused(900144, name)
    return form[name]


def _lifetime() -> dict[str, Any]:
    return {"token_type": "Bearer", "expires_in": ACCESS_SECONDS - 1, "ext_expires_in": ACCESS_SECONDS - 1}


def _guid() -> str:
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
