"""An msal application for one exchange with the sign-in host, and what it says in words that may be shown.

A new one is made each time: an old one repeats a refusal from its memory. Which tokens are asked for is `sign_in.py`
and `code_sign_in.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msal

from backup_core.errors import AccessDenied, Temporary
from backup_core.graph.credential import Credential
from backup_core.graph.links import origin_of
from backup_core.graph.sign_in_host import SignInHost

GRAPH_HOSTS = frozenset(
    {
        "graph.microsoft.com",
        "graph.microsoft.us",
        "dod-graph.microsoft.us",
        "microsoftgraph.chinacloudapi.cn",
    }
)


def new_application(
    host: SignInHost,
    tenant: str,
    client_id: str,
    credential: Credential | None = None,
    cache: msal.SerializableTokenCache | None = None,
) -> Any:
    """A confidential client where there is a credential, else a public one. AccessDenied where no such tenant is."""
    kind = msal.PublicClientApplication if credential is None else msal.ConfidentialClientApplication
    more = {} if credential is None else {"client_credential": credential}
    try:
        return kind(
            client_id,
            authority=f"{host.url}/{tenant}",
            http_client=host,
            # msal asks Microsoft about hosts that it does not know, and there the answer is always no.
            instance_discovery=None if host.is_microsoft else False,
            token_cache=cache,
            **more,
        )
    except (ValueError, KeyError, RuntimeError):  # msal's ways to say that the authority describes no such tenant
        raise AccessDenied(
            f"oauth2: cannot fetch token: the sign-in host knows no tenant {tenant}.",
            remedy="Check DRIVEKEEP_TENANT and DRIVEKEEP_AUTHORITY_URL.",
            reason="sign-in",
        ) from None


def asked(ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What the sign-in host answers to `ask`, a call of msal's; a refusal too. Temporary where it makes no sense."""
    try:
        return ask()
    except (ValueError, LookupError, TypeError, AttributeError):  # msal reads an answer that is not as it should be
        raise Temporary(
            "oauth2: cannot fetch token: the sign-in host's answer makes no sense.",
            why="Something between this machine and Microsoft may have answered in its place.",
            remedy="Check the network and the proxy, then run the same command again.",
        ) from None


def graph_resource(graph_url: str) -> str:
    """Whose scopes are asked for: the cloud's own Graph, also where another address leads to it."""
    origin = origin_of(graph_url.rstrip("/"))
    return f"https://{origin.host}" if origin and origin.host in GRAPH_HOSTS else "https://graph.microsoft.com"


def graph_scopes(graph_url: str, names: tuple[str, ...]) -> list[str]:
    """A person's scopes as the sign-in host wants them: without a host they belong to the worldwide cloud's Graph."""
    resource = graph_resource(graph_url)
    prefix = "" if resource == "https://graph.microsoft.com" else f"{resource}/"
    return [prefix + name for name in names]
