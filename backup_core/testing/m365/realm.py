"""What all routes of the sign-in host share: the tenants and apps that it knows, and where it is reached."""

from collections.abc import Callable
from dataclasses import dataclass

from backup_core.clock import Clock
from backup_core.testing.m365.consent import Consent
from backup_core.testing.m365.directory import Directory, User
from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.registrations import Registration, Registrations
from backup_core.testing.m365.tenants import Tenants
from backup_core.testing.m365.tokens import CONSUMERS, TokenBook

SHARED_TENANTS = ("common", "organizations", "consumers")  # anybody's tenant: no app can sign in by itself there
SIGN_IN_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
_GRAPH = "https://graph.microsoft.com"


@dataclass(frozen=True)
class Realm:
    """`login_url` and `graph_url` give those hosts' roots as the client that is being served knows them."""

    tenants: Tenants
    registrations: Registrations
    tokens: TokenBook
    consent: Consent
    clock: Clock
    login_url: Callable[[], str]
    graph_url: Callable[[], str]

    def app(self, client_id: str) -> Registration:
        """Raises Refused."""
        app = self.registrations.find(client_id)
        if app is None:
            raise Refused(700016, client_id)
        return app

    def tenant_id(self, name: str) -> str | None:
        """None for the shared ones. Raises Refused for a tenant that nobody knows."""
        if found := self.tenants.find(name):
            return found.tenant.id
        if name.lower() in ("consumers", CONSUMERS):
            return CONSUMERS
        if name.lower() in SHARED_TENANTS:
            return None
        raise Refused(90002, name)

    def names_of(self, tenant_id: str | None) -> tuple[str, ...]:
        """Under which names the endpoints of a tenant are called."""
        directory = self.tenants.find(tenant_id) if tenant_id else None
        if directory is None or tenant_id == CONSUMERS:
            return (*SHARED_TENANTS, CONSUMERS)
        return directory.tenant.id, directory.tenant.domain

    def admit(self, name: str, tenant_id: str) -> None:
        """Raises Refused where people of this tenant cannot sign in under the name in the address."""
        if self.tenant_id(name) not in (None, tenant_id) or (name == "organizations" and tenant_id == CONSUMERS):
            raise Refused(50020, name)

    def user(self, tenant_id: str, user_id: str) -> User | None:
        """None where the person is gone. Raises Refused for a disabled one."""
        directory: Directory | None = self.tenants.find(tenant_id)
        user = directory.user(user_id) if directory else None
        if user is not None and not user.enabled:
            raise Refused(50057)
        return user

    def scopes(self, asked: list[str]) -> set[str]:
        """The asked scopes of Graph by their short names. Raises Refused for another resource."""
        wanted = set()
        for scope in asked:
            resource, found, name = scope.rpartition("/")
            if found:
                self.check_resource(resource)
            wanted.add(name)
        return wanted - SIGN_IN_SCOPES

    def check_resource(self, resource: str) -> None:
        if resource.rstrip("/") not in (_GRAPH, self.graph_url()):
            raise Refused(500011, resource)
