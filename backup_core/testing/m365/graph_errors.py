"""What Graph and the content host say when they refuse: status, code, words and headers, in Graph's envelope."""

import datetime
from collections.abc import Mapping
from typing import Any

from backup_core.testing.m365.wire import Response


class GraphError(Exception):
    """`inner`: codes from the outside in, each a level of `innerError` below the one before."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        inner: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.inner = inner
        self.headers = dict(headers or {})

    def response(self, now: datetime.datetime, request_ids: Mapping[str, str], inner_key: str) -> Response:
        details: dict[str, Any] = {"date": now.strftime("%Y-%m-%dT%H:%M:%S"), **request_ids}
        if self.inner:
            details = {**_nested(self.inner, inner_key), **details}
        error = {"code": self.code, "message": self.message, inner_key: details}
        return Response.of_json({"error": error}, self.status, self.headers)


def _nested(codes: tuple[str, ...], inner_key: str) -> dict[str, Any]:
    level: dict[str, Any] = {"code": codes[0]}
    if codes[1:]:
        level[inner_key] = _nested(codes[1:], inner_key)
    return level


def item_not_found() -> GraphError:
    return GraphError(404, "itemNotFound", "The resource could not be found.")


def invalid_request(message: str) -> GraphError:
    return GraphError(400, "invalidRequest", message)


def invalid_token(message: str) -> GraphError:
    return GraphError(401, "InvalidAuthenticationToken", message, headers={"www-authenticate": 'Bearer realm=""'})


def access_denied() -> GraphError:
    return GraphError(403, "accessDenied", "The caller does not have permission to perform the action.")


def directory_denied() -> GraphError:
    return GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")


def no_such_user(key: str) -> GraphError:
    return GraphError(
        404,
        "Request_ResourceNotFound",
        f"Resource '{key}' does not exist or one of its queried reference-property objects are not present.",
    )


def site_blocked() -> GraphError:
    return GraphError(
        423,
        "notAllowed",
        "Access to this site has been blocked. Please contact the administrator to resolve this problem.",
    )


def file_locked() -> GraphError:
    return GraphError(423, "resourceLocked", "The file is currently checked out or locked for editing by another user.")


def not_simulated(what: str) -> GraphError:
    """The simulator's own limit, said so that nobody takes it for Microsoft's answer."""
    return GraphError(501, "notImplemented", f"The simulated Microsoft 365 does not know {what}.")
