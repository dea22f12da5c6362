"""What a sign-in library asks before it signs in: where the endpoints are, and which hosts are one host."""

from typing import Any

from backup_core.testing.m365.wire import Request


def configuration(login_url: str, graph_url: str, tenant: str, tenant_id: str | None) -> dict[str, Any]:
    """The OpenID configuration of a tenant; `tenant_id` is None for the shared ones, whose issuer is a pattern."""
    root = f"{login_url}/{tenant}"
    return {
        "issuer": f"{login_url}/{tenant_id or '{tenantid}'}/v2.0",
        "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
        "token_endpoint": f"{root}/oauth2/v2.0/token",
        "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
        "jwks_uri": f"{root}/discovery/v2.0/keys",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "cloud_instance_name": "microsoftonline.com",
        "msgraph_host": graph_url.removeprefix("https://"),
    }


def instances(request: Request, login_url: str) -> dict[str, Any]:
    """The host that was asked about, as an alias of itself alone."""
    host = login_url.removeprefix("https://")
    words = request.query.get("authorization_endpoint", "").removeprefix("https://").split("/")
    tenant = words[1] if len(words) > 1 else "common"
    return {
        "tenant_discovery_endpoint": f"https://{host}/{tenant}/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }
