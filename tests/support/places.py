"""Where repositories of end-to-end tests lie, a local folder or a container in Azurite, seen past our own code."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from backup_core.testing.azurite import Azurite


class Place(Protocol):
    """`location` and `settings`: what a command is told of it."""

    location: str
    settings: dict[str, str]

    def objects(self) -> dict[str, bytes]:
        """Everything that is stored there, by its name below the repository's root; {} where nothing is."""

    def names(self) -> list[str]:
        """The names alone, sorted."""

    def folder(self, scratch: Path) -> Path:
        """The repository as a folder that stock restic can open: the thing itself, or a copy below `scratch`."""


@dataclass
class LocalPlace:
    path: Path

    def __post_init__(self) -> None:
        self.location, self.settings = str(self.path), dict[str, str]()

    def objects(self) -> dict[str, bytes]:
        return {name: (self.path / name).read_bytes() for name in self.names()}

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file())

    def folder(self, scratch: Path) -> Path:
        return self.path


class AzuritePlace:
    """A prefix in a container of its own, read through the SDK alone."""

    def __init__(self, azurite: Azurite, prefix: str = "some/where") -> None:
        self._prefix = prefix + "/"
        container = f"e2e-{secrets.token_hex(8)}"
        self.location = f"azure:{container}:/{prefix}"
        self.settings = {"AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string}
        self._client = ContainerClient.from_connection_string(azurite.connection_string, container)

    def objects(self) -> dict[str, bytes]:
        return {name: self._client.download_blob(self._prefix + name).readall() for name in self.names()}

    def names(self) -> list[str]:
        try:
            found = sorted(self._client.list_blob_names())
        except ResourceNotFoundError:
            return []
        assert all(name.startswith(self._prefix) for name in found), "something was put beside the repository"
        return [name.removeprefix(self._prefix) for name in found]

    def folder(self, scratch: Path) -> Path:
        copy = scratch / f"copy-{secrets.token_hex(4)}"
        for name, data in self.objects().items():
            path = copy / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return copy
