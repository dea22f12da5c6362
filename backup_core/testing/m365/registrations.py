"""Which applications there are, how each proves itself, and what it asks for; `consent.py` says what it was given."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cryptography import x509

_READ_AND_WRITE = frozenset({"Files.Read", "Files.ReadWrite", "Files.Read.All", "Files.ReadWrite.All", "User.Read"})


@dataclass(frozen=True)
class FederatedCredential:
    """Whose signed statement stands for the app's own: a managed identity, by its principal id, of the app's tenant."""

    tenant_id: str
    subject: str
    audience: str = "api://AzureADTokenExchange"


@dataclass
class Registration:
    """May be changed while the simulation runs: without `roles` no tenant's token has any, `enabled` False removes it.

    `public_flows`: a user's tokens may be had without a credential; `any_secret`: whatever secret is sent fits.
    `redirect_uris` None: every https address, and plain http on this machine.
    """

    client_id: str
    secrets: set[str] = field(default_factory=set)
    certificates: list[x509.Certificate] = field(default_factory=list)
    federated: list[FederatedCredential] = field(default_factory=list)
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    redirect_uris: set[str] | None = None
    public_flows: bool = True
    any_secret: bool = False
    enabled: bool = True

    @property
    def confidential(self) -> bool:
        return bool(self.secrets or self.certificates or self.federated or self.any_secret)

    def redirects_to(self, uri: str) -> bool:
        """Whether a browser may be sent there. Plain http is for this machine, where the port does not count."""
        parts = urlsplit(uri)
        on_this_machine = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")
        if self.redirect_uris is None:
            return on_this_machine or (parts.scheme == "https" and bool(parts.hostname))
        if not on_this_machine:
            return uri in self.redirect_uris
        return _without_port(uri) in map(_without_port, self.redirect_uris)


class Registrations:
    def __init__(self, *registrations: Registration) -> None:
        self._by_id = {registration.client_id: registration for registration in registrations}

    def find(self, client_id: str) -> Registration | None:
        registration = self._by_id.get(client_id.lower())
        return registration if registration is not None and registration.enabled else None


def _without_port(uri: str) -> str:
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.hostname or "").geturl()


def well_known() -> list[Registration]:
    """Programs that nobody here wrote, and that run against the simulation unchanged."""
    sites = frozenset({"Sites.Read.All", "Sites.ReadWrite.All"})
    rclone = Registration(
        "b15665d9-eda6-4092-8539-0eec376afd59", any_secret=True, scopes=_READ_AND_WRITE | sites
    )  # rclone's secret is in its source, so it proves nothing and is not repeated here
    onedrive_client = Registration("d50ca740-c83f-4d1b-b616-12c519384f0c", scopes=_READ_AND_WRITE | sites)
    return [rclone, onedrive_client]
