"""How every client of Azure Storage sends: sockets, time limits, the identity of the machine. It retries nothing.

`REQUESTS_CA_BUNDLE`, `HTTPS_PROXY` and `NO_PROXY` are honoured by `requests`, on which the SDKs send, for Blob, for
Table and for the tokens of azure-identity alike.
"""

import io
from typing import Any

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter

from backup_core.clock import Clock

_CONNECT_SECONDS = 20
_READ_SECONDS = 60
# The limit for connecting also covers each send of a body (see _PiecewiseAdapter): 13 KiB/s a connection is enough.
_PIECE_BYTES = 256 * 1024


def identity() -> Any:
    """The identity of this machine: managed, or whoever did `az login`."""
    # Costs 0.2 s and is needed only where there is no key.
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    return DefaultAzureCredential()


class PatientTransport(RequestsTransport):  # type: ignore[misc]  # the SDK exports it without a type
    """Sends for many threads. `connections`: sockets that are kept, one for each thread that calls."""

    def __init__(self, connections: int, clock: Clock) -> None:
        session = requests.Session()
        session.mount("https://", _PiecewiseAdapter(connections))
        session.mount("http://", _PiecewiseAdapter(connections))
        # An authenticator that adds nothing, because `requests` would else replace the signature by a line of ~/.netrc.
        session.auth = lambda request: request
        super().__init__(session=session, connection_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS)
        self._clock = clock

    def sleep(self, duration: float) -> None:
        """How the SDK waits between two tries: a stopped program does not, and a test does not at all."""
        self._clock.sleep(duration)


class _PiecewiseAdapter(HTTPAdapter):
    """Keeps a socket for every thread, and sends a body in pieces.

    A socket's time limit covers one send from beginning to end. A pack of 32 MiB in one send would have to be through
    after 20 seconds, which a slow line with several threads never manages; in pieces the limit is for each of them.
    """

    def __init__(self, connections: int) -> None:
        super().__init__(pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, blocksize=_PIECE_BYTES)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, blocksize=_PIECE_BYTES)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        if isinstance(request.body, bytes) and len(request.body) > _PIECE_BYTES:
            request.body = io.BytesIO(request.body)  # type: ignore[assignment]  # shares the bytes, copies nothing
        return super().send(request, *args, **options)
