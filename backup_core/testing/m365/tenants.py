"""Every tenant of the simulated world, found by name; what is in one is in `directory.py`."""

from collections.abc import Iterator

from backup_core.testing.m365.directory import Directory
from backup_core.testing.m365.drive import Drive


class Tenants:
    """`first` is the tenant in which the reading app is registered."""

    def __init__(self, first: Directory) -> None:
        self.first = first
        self._by_name: dict[str, Directory] = {}
        self.add(first)

    def add(self, directory: Directory) -> None:
        """ValueError where the id or the domain is another tenant's."""
        names = (directory.tenant.id, directory.tenant.domain.lower())
        if any(name in self._by_name for name in names):
            raise ValueError(f"there is a tenant {directory.tenant.domain} already")
        self._by_name |= dict.fromkeys(names, directory)

    def find(self, name: str) -> Directory | None:
        """By id or domain, whatever the case."""
        return self._by_name.get(name.lower())

    def drive(self, drive_id: str) -> tuple[Directory, Drive] | None:
        """A drive of any tenant, for the content host, which asks for no token."""
        for directory in self:
            if drive := directory.drive(drive_id):
                return directory, drive
        return None

    def __iter__(self) -> Iterator[Directory]:
        return iter(dict.fromkeys(self._by_name.values()))
