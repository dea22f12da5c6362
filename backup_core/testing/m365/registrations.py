"""Which applications the simulated tenant knows, how each proves itself, and what it has consent for."""

from dataclasses import dataclass, field

from cryptography import x509

_READ_AND_WRITE = frozenset({"Files.Read", "Files.ReadWrite", "Files.Read.All", "Files.ReadWrite.All", "User.Read"})


@dataclass
class Registration:
    """May be changed while the simulation runs: an empty `roles` is consent withdrawn, `enabled` False an app removed.

    `public_flows`: a user's tokens may be refreshed without a credential; `any_secret`: whatever secret is sent fits.
    """

    client_id: str
    secrets: set[str] = field(default_factory=set)
    certificates: list[x509.Certificate] = field(default_factory=list)
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    public_flows: bool = True
    any_secret: bool = False
    enabled: bool = True

    @property
    def confidential(self) -> bool:
        return bool(self.secrets or self.certificates or self.any_secret)


class Registrations:
    def __init__(self, *registrations: Registration) -> None:
        self._by_id = {registration.client_id: registration for registration in registrations}

    def find(self, client_id: str) -> Registration | None:
        registration = self._by_id.get(client_id.lower())
        return registration if registration is not None and registration.enabled else None


def well_known() -> list[Registration]:
    """Programs that nobody here wrote, and that run against the simulation unchanged."""
    sites = frozenset({"Sites.Read.All", "Sites.ReadWrite.All"})
    rclone = Registration(
        "b15665d9-eda6-4092-8539-0eec376afd59", any_secret=True, scopes=_READ_AND_WRITE | sites
    )  # rclone's secret is in its source, so it proves nothing and is not repeated here
    onedrive_client = Registration("d50ca740-c83f-4d1b-b616-12c519384f0c", scopes=_READ_AND_WRITE | sites)
    return [rclone, onedrive_client]
