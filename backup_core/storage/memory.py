"""Objects in this process's memory, for tests and dry runs. They are gone when it ends."""

import threading
from collections.abc import Iterator

from backup_core.clock import Clock, SystemClock
from backup_core.errors import AlreadyExists, Damaged, NotFound
from backup_core.storage.names import check_folder, check_name, check_range
from backup_core.storage.store import Buffer, Store, Stored


class MemoryStore(Store):
    """`clock` gives the objects their `modified`; a test that ages them holds it in its hand."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes:
        found = self._objects.get(check_name(name))
        if found is None:
            raise NotFound(f"There is no object {name}.")
        return found[0]

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        check_range(offset, length)
        data = self.get(name)
        if offset + length > len(data):
            raise Damaged(f"{name} ends after {len(data)} bytes; {length} bytes from {offset} were asked for.")
        return data[offset : offset + length]

    def put_new(self, name: str, data: Buffer) -> None:
        stored = (bytes(data), self._clock.now().timestamp())
        with self._lock:
            if check_name(name) in self._objects:
                raise AlreadyExists(f"There is an object {name} already.")
            self._objects[name] = stored

    def size(self, name: str) -> int:
        return len(self.get(name))

    def list(self, prefix: str = "") -> Iterator[Stored]:
        check_folder(prefix)
        with self._lock:
            found = sorted(item for item in self._objects.items() if item[0].startswith(prefix))
        return iter([Stored(name, len(data), modified) for name, (data, modified) in found])

    def delete(self, name: str) -> None:
        with self._lock:
            self._objects.pop(check_name(name), None)
