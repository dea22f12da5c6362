"""The sign-in host (Entra): finds the route of a request, and puts every refusal into Microsoft's words.

It shows no page that waits for anybody: whoever would sit before the browser is set beforehand.
"""

import base64
import re
import secrets
import uuid
from collections.abc import Callable
from urllib.parse import unquote, unquote_plus

from backup_core.testing.m365.authorize import AuthorizePage, Visitor
from backup_core.testing.m365.codes import CodeBook
from backup_core.testing.m365.consent_page import ConsentPage
from backup_core.testing.m365.discovery import configuration, instances
from backup_core.testing.m365.realm import Realm
from backup_core.testing.m365.redirects import error_page
from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.token_endpoint import TokenEndpoint
from backup_core.testing.m365.tokens import public_keys
from backup_core.testing.m365.wire import Request, Response

_PAGES = ("/authorize", "/adminconsent")


class SignIn:
    def __init__(self, realm: Realm, visitor: Visitor) -> None:
        self._realm = realm
        codes = CodeBook(realm.clock)
        consent_page = ConsentPage(realm)
        self._tokens = TokenEndpoint(realm, codes)
        self._routes: list[tuple[str, re.Pattern[str], Callable[[Request, str], Response]]] = [
            ("GET", re.compile(r"/common/(discovery/instance)"), self._instances),
            ("GET", re.compile(r"/([^/]+)/v2\.0/\.well-known/openid-configuration"), self._configuration),
            ("GET", re.compile(r"/([^/]+)/discovery/v2\.0/keys"), self._keys),
            ("GET", re.compile(r"/([^/]+)/v2\.0/adminconsent"), consent_page.version_2),
            ("GET", re.compile(r"/([^/]+)/adminconsent"), consent_page.version_1),
            ("GET", re.compile(r"/([^/]+)/oauth2/v2\.0/authorize"), AuthorizePage(realm, visitor, codes).answer),
            ("POST", re.compile(r"/([^/]+)/oauth2/v2\.0/token"), self._token),
        ]

    def handle(self, request: Request) -> Response:
        try:
            response = self._route(request)
        except Refused as refusal:
            response = error_page(refusal) if request.path.endswith(_PAGES) else self._refusal(refusal, request)
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
        return Response.of_json(instances(request, self._realm.login_url()))

    def _configuration(self, _: Request, name: str) -> Response:
        realm = self._realm
        found = configuration(realm.login_url(), realm.graph_url(), name, realm.tenant_id(name))
        return Response.of_json(found, headers={"cache-control": "max-age=86400, private"})

    def _keys(self, _: Request, name: str) -> Response:
        self._realm.tenant_id(name)
        return Response.of_json(public_keys())

    def _token(self, request: Request, name: str) -> Response:
        return Response.of_json(self._tokens.answer(_form(request), name))

    def _refusal(self, refusal: Refused, request: Request) -> Response:
        now, trace = self._realm.clock.now(), _guid()
        correlation = request.headers.get("client-request-id") or _guid()
        timestamp = f"{now:%Y-%m-%d %H:%M:%S}Z"
        body = {
            "error": refusal.error,
            "error_description": f"{refusal} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
            "error_codes": [refusal.number],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"{self._realm.login_url()}/error?code={refusal.number}",
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


def _guid() -> str:
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
