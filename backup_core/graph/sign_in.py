"""Tokens for Graph, by msal: of an app for a whole tenant, or of one person who signed in."""

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msal

from backup_core.errors import AccessDenied, Temporary, Usage
from backup_core.graph.links import origin_of
from backup_core.graph.sign_in_host import MICROSOFT_HOSTS, SignInHost, error_numbers, sign_in_error
from backup_core.graph.token_file import TokenFile

GRAPH_HOSTS = frozenset(
    {
        "graph.microsoft.com",
        "graph.microsoft.us",
        "dod-graph.microsoft.us",
        "microsoftgraph.chinacloudapi.cn",
    }
)
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
        """msal's result with a new token in it. A new msal application each time: an old one repeats refusals."""

    def _application(self, kind: Callable[..., Any], tenant: str, client_id: str, **more: Any) -> Any:
        try:
            return kind(
                client_id,
                authority=f"{self._host.url}/{tenant}",
                http_client=self._host,
                # msal asks Microsoft about hosts that it does not know, and there the answer is always no.
                instance_discovery=None if self._host.is_microsoft else False,
                **more,
            )
        except (ValueError, KeyError, RuntimeError):  # msal's ways to say that the authority describes no such tenant
            raise AccessDenied(
                f"oauth2: cannot fetch token: the sign-in host knows no tenant {tenant}.",
                remedy="Check DRIVEKEEP_TENANT and DRIVEKEEP_AUTHORITY_URL.",
                reason="sign-in",
            ) from None


class AppOnly(_Tokens):
    """The app's own access to a tenant, by a `secret` or a `certificate` (a PEM file with its key)."""

    def __init__(
        self,
        host: SignInHost,
        tenant: str,
        client_id: str,
        graph_url: str,
        *,
        secret: str | None = None,
        certificate: Path | None = None,
    ) -> None:
        super().__init__(host)
        if (secret is None) == (certificate is None):
            raise Usage("App-only access needs either a client secret or a client certificate.")
        self._tenant, self._client_id = tenant, client_id
        self._scope = f"{graph_resource(graph_url)}/.default"
        self._credential = secret if certificate is None else _certificate(certificate)

    def _fetch(self) -> Mapping[str, Any]:
        application = self._application(
            msal.ConfidentialClientApplication, self._tenant, self._client_id, client_credential=self._credential
        )
        result = _asked(lambda: application.acquire_token_for_client(scopes=[self._scope]))
        if "access_token" not in result:
            raise sign_in_error(result, signed_in=False)
        return result


class SignedIn(_Tokens):
    """One person's access, by the tokens in a file. `tenant` `common` takes personal and work accounts."""

    def __init__(
        self, host: SignInHost, token_file: Path, client_id: str, graph_url: str, tenant: str = "common"
    ) -> None:
        super().__init__(host)
        self._file = TokenFile(token_file)
        self._tenant, self._client_id = tenant, client_id
        resource = graph_resource(graph_url)
        # Graph of the worldwide cloud is who a scope without a host belongs to.
        self._prefix = "" if resource == "https://graph.microsoft.com" else f"{resource}/"
        self._scopes: tuple[str, ...] = SCOPES

    def _fetch(self) -> Mapping[str, Any]:
        hosts = MICROSOFT_HOSTS if self._host.is_microsoft else frozenset({self._host.host})
        cache, refresh_token = self._file.read(self._client_id, hosts)
        application = self._application(msal.PublicClientApplication, self._tenant, self._client_id, token_cache=cache)
        result = self._refresh(application, refresh_token)
        if self._scopes is SCOPES and _NEEDS_ADMIN & error_numbers(result):
            self._scopes = SCOPES_WITHOUT_ADMIN
            result = self._refresh(application, refresh_token)
        if "access_token" not in result:
            raise sign_in_error(result, signed_in=True)
        # At once: each use of a refresh token brings a new one, and the old one lives on borrowed time.
        self._file.replace(cache)
        return result

    def _refresh(self, application: Any, refresh_token: str) -> Mapping[str, Any]:
        scopes = [self._prefix + scope for scope in self._scopes]
        return _asked(lambda: application.acquire_token_by_refresh_token(refresh_token, scopes=scopes))


def _asked(ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return ask()
    except (ValueError, KeyError, TypeError, AttributeError):  # msal reads an answer that is not as it should be
        raise Temporary(
            "oauth2: cannot fetch token: the sign-in host's answer makes no sense.",
            why="Something between this machine and Microsoft may have answered in its place.",
            remedy="Check the network and the proxy, then run the same command again.",
        ) from None


def graph_resource(graph_url: str) -> str:
    """Whose scopes are asked for: the cloud's own Graph, also where another address leads to it."""
    origin = origin_of(graph_url.rstrip("/"))
    return f"https://{origin.host}" if origin and origin.host in GRAPH_HOSTS else "https://graph.microsoft.com"


def _certificate(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        text = ""
    key = re.search(r"-----BEGIN (?:RSA |EC )?PRIVATE KEY-----.*?-----END [A-Z ]+-----", text, re.DOTALL)
    certificate = re.search(r"-----BEGIN CERTIFICATE-----.*-----END CERTIFICATE-----", text, re.DOTALL)
    if key is None or certificate is None:
        raise Usage(
            f"The certificate file {path} is not usable.",
            why="It must hold a private key without a password and its certificate, both as PEM.",
            remedy="Name such a file in DRIVEKEEP_CLIENT_CERTIFICATE.",
        )
    return {"private_key": key[0], "public_certificate": certificate[0]}
