"""What onboarding needs of the service that it runs in. It builds nothing itself."""

from typing import Any, Protocol

from backup_core.clock import Clock
from backup_core.graph.client import GraphClient, TokenSource
from backup_core.graph.credential import Credential
from backup_core.graph.sign_in_host import SignInHost
from backup_core.registry.registry import Registry
from backup_core.registry.sealing import Sealer


class Master(Protocol):
    def derive(self, info: str) -> bytes:
        """32 bytes for one purpose, out of the master key."""


class Way(Protocol):
    @property
    def client(self) -> GraphClient: ...


class Service(Protocol):
    """Properties, since whoever has them may compute them. `settings`: `graph_url`, `authority_url`."""

    @property
    def settings(self) -> Any: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def master(self) -> Master: ...
    @property
    def home_tenant(self) -> str:
        """The tenant whose operators see all, in lower case; "" where none is set."""

    @property
    def onboarding(self) -> str:
        """`open` or `approve`."""

    @property
    def enrol(self) -> str:
        """`all` or `none`."""

    @property
    def client_id(self) -> str: ...
    @property
    def sign_in_host(self) -> SignInHost: ...
    @property
    def user_credential(self) -> Credential | None:
        """What the app proves itself with when a person signs in; None for a public client."""

    def sealer(self, purpose: str) -> Sealer: ...

    def check_master_key(self) -> None:
        """Before anything is written that depends on it. DrivekeepError, reason `wrong-key`; Usage."""

    def app_tokens(self, tenant: str) -> TokenSource:
        """The app's own tokens for a tenant."""

    def graph(self, tenant: str) -> Way:
        """The way to the tenant's Graph, with the app's own access."""


def needs_approval(service: Service, tenant: str) -> bool:
    """Whether an operator of the home tenant has to let this tenant's people in."""
    return service.onboarding == "approve" and tenant.lower() != service.home_tenant.lower()
