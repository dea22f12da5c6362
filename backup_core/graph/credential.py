"""How the app proves itself at the sign-in host: by a secret, a certificate, or the identity that Azure gives it.

Which of them is used is the settings' to say.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msal

from backup_core.clock import Clock
from backup_core.errors import AccessDenied, Usage
from backup_core.graph.attempts import Attempts
from backup_core.graph.gate import Gate
from backup_core.graph.sign_in_host import Answer, answered
from backup_core.graph.transport import new_session, send

Credential = str | dict[str, Any]  # as msal takes it

# Whom a managed identity's token is for when it stands for the app; each cloud has its own.
AUDIENCES = {
    "global": "api://AzureADTokenExchange",
    "usgov": "api://AzureADTokenExchangeUSGov",
    "usgov-dod": "api://AzureADTokenExchangeUSGov",
    "china": "api://AzureADTokenExchangeChina",
}

_ANSWER_MAX_BYTES = 1 << 16
# The endpoint is on the same machine: whoever waits longer for it runs elsewhere than the setting supposes.
_READ_SECONDS = 30.0
_PATIENCE_SECONDS = 30.0


class ManagedIdentity:
    """A user-assigned identity of this app, by its client id: a federated credential, so that there is no secret.

    msal finds the platform's endpoint. Its tokens last a day and are kept in memory. Shared by all threads.
    """

    def __init__(self, client_id: str, clock: Clock, *, audience: str = AUDIENCES["global"], retries: int = 3) -> None:
        self._client_id, self._audience, self._retries = client_id, audience, retries
        self._gate = Gate(clock)
        self._cache = msal.TokenCache()
        self._session = new_session(1)
        self._session.trust_env = False  # the endpoint is on this very machine, where no proxy leads

    def assertion(self) -> str:
        """A token that proves the app at the sign-in host. AccessDenied, Temporary."""
        identity = msal.UserAssignedManagedIdentity(client_id=self._client_id)
        client = msal.ManagedIdentityClient(identity, http_client=self, token_cache=self._cache)
        try:
            token = client.acquire_token_for_client(resource=self._audience)["access_token"]
        except (ValueError, KeyError, TypeError, AttributeError):  # an answer without a token, or none that it reads
            token = None
        if not isinstance(token, str):
            raise AccessDenied(
                "oauth2: cannot fetch token: the managed identity gives no token to prove the app with.",
                why="Azure refuses it, or this program does not run where that identity is assigned.",
                remedy="DRIVEKEEP_MANAGED_IDENTITY must be the client id of a user-assigned identity of this app.",
                reason="sign-in",
            )
        return token

    def get(self, url: str, params: Any = None, headers: Mapping[str, str] | None = None, **_: Any) -> Answer:
        """What msal asks the platform's endpoint."""
        attempts = Attempts(self._gate, self._retries, _PATIENCE_SECONDS)
        return answered(
            lambda: send(self._session, "GET", url, headers=headers or {}, params=params, read_seconds=_READ_SECONDS),
            attempts,
            self._gate.clock,
            _ANSWER_MAX_BYTES,
            said=("the endpoint of the managed identity", "Asking for the managed identity's token"),
        )


def credential_of(
    secret: str | None = None, certificate: Path | None = None, identity: ManagedIdentity | None = None
) -> Credential:
    """The one proof that is given. Usage where it is none or several, or a certificate file that cannot be used."""
    if sum(proof is not None for proof in (secret, certificate, identity)) != 1:
        raise Usage("App-only access needs exactly one of a client secret, a client certificate and an identity.")
    if identity is not None:
        return {"client_assertion": identity.assertion}
    return _certificate(certificate) if certificate is not None else secret or ""


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
