"""A store that refuses to change anything, for commands that only look. It adds nothing to reading."""

from collections.abc import Iterator
from typing import NoReturn

from backup_core.errors import Usage
from backup_core.storage.store import Buffer, Store, Stored


class ReadOnlyStore(Store):
    """`put_new` and `delete` raise Usage and do not reach the inner store."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def get(self, name: str) -> bytes:
        return self._inner.get(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        return self._inner.get_range(name, offset, length)

    def put_new(self, name: str, data: Buffer) -> None:
        _refuse(name)

    def size(self, name: str) -> int:
        return self._inner.size(name)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        return self._inner.list(prefix)

    def delete(self, name: str) -> None:
        _refuse(name)


def _refuse(name: str) -> NoReturn:
    raise Usage(
        f"{name} was not changed.",
        why="The repository was opened for reading only.",
        remedy="Run the command without the option that asks for that.",
    )
