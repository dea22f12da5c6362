"""The endpoint at which an app in Azure asks for tokens of its managed identity, as App Service has it: plain HTTP on
the machine itself, with a secret header. Such a token proves an app that trusts the identity; Graph does not take it.
"""

import hmac
import secrets

from backup_core.clock import Clock
from backup_core.testing.m365.ids import made_up_guid
from backup_core.testing.m365.tokens import ACCESS_SECONDS, TokenBook
from backup_core.testing.m365.wire import Request, Response

PATH = "/msi/token"
_VERSION = "2019-08-01"


class ManagedIdentity:
    """One user-assigned identity of `tenant_id`; its tokens name `issuer` and `principal_id`, which an app trusts."""

    def __init__(self, seed: int, tenant_id: str, tokens: TokenBook, clock: Clock) -> None:
        self.client_id = made_up_guid(seed, "managed identity")
        self.principal_id = made_up_guid(seed, "managed identity", "principal")
        self.header = secrets.token_hex(16)
        self.tenant_id = tenant_id
        self._tokens, self._clock = tokens, clock

    def answer(self, request: Request, issuer: str) -> Response:
        if request.method != "GET" or request.path.rstrip("/") != PATH:
            return _refused(404, "There is nothing here.")
        if not hmac.compare_digest(request.headers.get("x-identity-header", "").encode(), self.header.encode()):
            return _refused(403, "The header X-IDENTITY-HEADER is missing or wrong.")
        query = request.query
        if query.get("api-version") != _VERSION:
            return _refused(400, f"The api-version is not {_VERSION}.")
        if not query.get("resource"):
            return _refused(400, "The parameter resource is missing.")
        if query.get("client_id", "").lower() != self.client_id:
            return _refused(400, "No managed identity was found for the given client id.")
        return Response.of_json(self._token(query["resource"], issuer))

    def _token(self, resource: str, issuer: str) -> dict[str, str]:
        now = int(self._clock.now().timestamp())
        claims = {
            "aud": resource,
            "iss": issuer,
            "sub": self.principal_id,
            "oid": self.principal_id,
            "tid": self.tenant_id,
            "iat": now,
            "nbf": now,
            "exp": now + ACCESS_SECONDS,
            "ver": "2.0",
        }
        return {
            "access_token": self._tokens.signed(claims),
            "expires_on": str(now + ACCESS_SECONDS),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": self.client_id,
        }


def _refused(status: int, message: str) -> Response:
    return Response.of_json({"statusCode": status, "message": message, "correlationId": made_up_guid(message)}, status)
