"""A store that counts what a cloud would charge for. It does not see retries below it, nor change anything."""

import threading
from collections.abc import Iterator

from backup_core.storage.store import Buffer, Store, Stored

# Azure bills a listing by pages of this many names; counted alike everywhere, so that figures can be compared.
_NAMES_A_REQUEST = 5000


class Meter:
    """What was counted. `requests`: calls, also failed ones; bytes: of those that succeeded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = self.bytes_read = self.bytes_written = 0

    def count(self, *, requests: int = 0, read: int = 0, written: int = 0) -> None:
        with self._lock:
            self.requests += requests
            self.bytes_read += read
            self.bytes_written += written


class MeteredStore(Store):
    """`meter`: where to count, for two stores that are one for whoever pays; else a meter of its own."""

    def __init__(self, inner: Store, meter: Meter | None = None) -> None:
        self._inner = inner
        self.meter = meter or Meter()
        self._count = self.meter.count

    @property
    def requests(self) -> int:
        return self.meter.requests

    @property
    def bytes_read(self) -> int:
        return self.meter.bytes_read

    @property
    def bytes_written(self) -> int:
        return self.meter.bytes_written

    def get(self, name: str) -> bytes:
        self._count(requests=1)
        data = self._inner.get(name)
        self._count(read=len(data))
        return data

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        self._count(requests=1)
        data = self._inner.get_range(name, offset, length)
        self._count(read=len(data))
        return data

    def put_new(self, name: str, data: Buffer) -> None:
        self._count(requests=1)
        self._inner.put_new(name, data)
        self._count(written=len(data))

    def size(self, name: str) -> int:
        self._count(requests=1)
        return self._inner.size(name)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        self._count(requests=1)
        for number, stored in enumerate(self._inner.list(prefix)):
            if number and number % _NAMES_A_REQUEST == 0:
                self._count(requests=1)
            yield stored

    def delete(self, name: str) -> None:
        self._count(requests=1)
        self._inner.delete(name)
