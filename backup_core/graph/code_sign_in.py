"""A person signs in for the first time, in a browser: authorization code with PKCE. It keeps nothing.

Between the way there and the way back the caller keeps the flow where nobody else can read or change it.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msal

from backup_core.errors import AccessDenied
from backup_core.graph.application import asked, graph_scopes, new_application
from backup_core.graph.claims import Person, person
from backup_core.graph.credential import Credential
from backup_core.graph.sign_in import SCOPES_WITHOUT_ADMIN
from backup_core.graph.sign_in_host import SignInHost, sign_in_error

_KEPT = ("state", "redirect_uri", "scope", "code_verifier", "nonce", "claims_challenge")  # what msal asks the flow for


@dataclass(frozen=True)
class SignedInPerson:
    """`tokens`: msal's serialised cache, with the refresh token; it is a secret."""

    person: Person
    tokens: str = field(repr=False)


class CodeSignIn:
    """`tenant` `common` takes personal and work accounts. `credential`: None for a public client.

    It asks for what a person may consent to alone, and for no drive but their own.
    """

    def __init__(
        self,
        host: SignInHost,
        client_id: str,
        graph_url: str,
        tenant: str = "common",
        *,
        credential: Credential | None = None,
    ) -> None:
        self._host, self._tenant, self._client_id, self._credential = host, tenant, client_id, credential
        self._scopes = graph_scopes(graph_url, SCOPES_WITHOUT_ADMIN)

    def start(self, redirect_uri: str, state: str) -> tuple[str, dict[str, Any]]:
        """The address to send the browser to, and the flow, which holds the secret of PKCE. AccessDenied, Temporary."""
        application = self._application()
        # msal recommends that Microsoft posts a form to us. The cookie that ties the way back to this browser is
        # SameSite=Lax, and would not come along with a form from another site.
        warnings.filterwarnings("ignore", message="response_mode='form_post' is recommended", category=UserWarning)
        flow = application.initiate_auth_code_flow(
            self._scopes, redirect_uri=redirect_uri, state=state, prompt="select_account"
        )
        return flow["auth_uri"], {name: flow[name] for name in _KEPT if flow.get(name) is not None}

    def finish(self, flow: Mapping[str, Any], code: str) -> SignedInPerson:
        """Who came back with `code`, whose state the caller has compared. AccessDenied, Temporary.

        AccessDenied too where the answer was not meant for this browser, or brings no refresh token.
        """
        cache = msal.SerializableTokenCache()
        application = self._application(cache)
        query = {"code": code, "state": flow.get("state")}
        try:
            result = asked(lambda: application.acquire_token_by_auth_code_flow(dict(flow), query))
        except RuntimeError:  # msal's way to say that the id token is not an answer to this request
            raise _not_meant() from None
        if "access_token" not in result:
            raise sign_in_error(result)
        if not list(cache.search(msal.TokenCache.CredentialType.REFRESH_TOKEN)):
            raise _not_meant()
        claims = result.get("id_token_claims")
        found = person(claims if isinstance(claims, dict) else {}, self._client_id, self._host.gate.clock.now())
        return SignedInPerson(found, cache.serialize())

    def _application(self, cache: msal.SerializableTokenCache | None = None) -> Any:
        return new_application(self._host, self._tenant, self._client_id, self._credential, cache)


def _not_meant() -> AccessDenied:
    return AccessDenied(
        "oauth2: cannot fetch token: the sign-in did not bring what was asked for.",
        why="The answer belongs to another request, or holds no lasting access (offline_access).",
        remedy="Sign in again, in one browser window from the beginning to the end.",
        reason="sign-in",
    )
