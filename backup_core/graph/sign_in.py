"""Tokens for Graph, by msal: of an app for a whole tenant, or of one person who signed in.

How a person signs in for the first time is `code_sign_in.py`.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backup_core.errors import Temporary
from backup_core.graph.application import asked, graph_resource, graph_scopes, new_application
from backup_core.graph.credential import Credential, ManagedIdentity, credential_of
from backup_core.graph.kept_tokens import KeptTokens, keep_cache, open_cache
from backup_core.graph.sign_in_host import MICROSOFT_HOSTS, SignInHost, error_numbers, sign_in_error

SCOPES = ("Files.Read", "Files.Read.All", "User.Read")
# What a person may consent to alone where the organisation's policy reserves Files.Read.All for administrators.
SCOPES_WITHOUT_ADMIN = ("Files.Read", "User.Read")
_NEEDS_ADMIN = frozenset({65001, 90094, 90095})

RENEW_BEFORE_END_SECONDS = 300.0  # longer than any single request takes


class _Tokens(ABC):
    """A token in memory, renewed before it ends. One thread fetches; the others wait for what it brings."""

    def __init__(self, host: SignInHost) -> None:
        self._host = host
        self._clock = host.gate.clock
        self._lock = threading.Lock()
        self._token = ""
        self._ends_at = self._clock.monotonic()

    def token(self, renew: bool = False) -> str:
        """A token with some minutes to live; a new one for certain with `renew`. AccessDenied, Temporary."""
        with self._lock:
            left = self._ends_at - self._clock.monotonic()
            if renew or left < RENEW_BEFORE_END_SECONDS:
                try:
                    result = self._fetch()
                except Temporary:
                    if renew or left <= 0:
                        raise
                    return self._token  # it is good for a little while, and the sign-in host may come back
                self._token = result["access_token"]
                self._ends_at = self._clock.monotonic() + float(result.get("expires_in", 0))
            return self._token

    @abstractmethod
    def _fetch(self) -> Mapping[str, Any]:
        """msal's result with a new token in it."""


class AppOnly(_Tokens):
    """The app's own access to a tenant, by exactly one of a secret, a certificate (a PEM file with its key) and an
    identity of Azure's.
    """

    def __init__(
        self,
        host: SignInHost,
        tenant: str,
        client_id: str,
        graph_url: str,
        *,
        secret: str | None = None,
        certificate: Path | None = None,
        identity: ManagedIdentity | None = None,
    ) -> None:
        super().__init__(host)
        self._tenant, self._client_id = tenant, client_id
        self._scope = f"{graph_resource(graph_url)}/.default"
        self._credential = credential_of(secret, certificate, identity)

    def _fetch(self) -> Mapping[str, Any]:
        application = new_application(self._host, self._tenant, self._client_id, self._credential)
        result = asked(lambda: application.acquire_token_for_client(scopes=[self._scope]))
        if "access_token" not in result:
            raise sign_in_error(result)
        return result


class SignedIn(_Tokens):
    """One person's access, by the tokens that are kept of them. `tenant` `common` takes personal and work accounts.

    `credential`: what the app proves itself with where its registration wants that; None for a public client.
    """

    def __init__(
        self,
        host: SignInHost,
        kept: KeptTokens,
        client_id: str,
        graph_url: str,
        tenant: str = "common",
        *,
        credential: Credential | None = None,
    ) -> None:
        super().__init__(host)
        self._kept, self._credential = kept, credential
        self._tenant, self._client_id, self._graph_url = tenant, client_id, graph_url
        self._scopes: tuple[str, ...] = SCOPES

    def _fetch(self) -> Mapping[str, Any]:
        hosts = MICROSOFT_HOSTS if self._host.is_microsoft else frozenset({self._host.host})
        cache, refresh_token = open_cache(self._kept, self._client_id, hosts)
        application = new_application(self._host, self._tenant, self._client_id, self._credential, cache)
        result = self._refresh(application, refresh_token)
        if self._scopes is SCOPES and _NEEDS_ADMIN & error_numbers(result):
            self._scopes = SCOPES_WITHOUT_ADMIN
            result = self._refresh(application, refresh_token)
        if "access_token" not in result:
            raise sign_in_error(result, self._kept.again)
        # At once: each use of a refresh token brings a new one, and the old one lives on borrowed time.
        keep_cache(self._kept, cache)
        return result

    def _refresh(self, application: Any, refresh_token: str) -> Mapping[str, Any]:
        scopes = graph_scopes(self._graph_url, self._scopes)
        return asked(lambda: application.acquire_token_by_refresh_token(refresh_token, scopes=scopes))
