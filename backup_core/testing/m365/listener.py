"""A loopback port and the threads that serve its connections, one a connection, until it is stopped.

It knows nothing of HTTP. It binds 127.0.0.1 and nothing else: a simulation is no business of the network's.
"""

import logging
import socket
import ssl
import struct
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)
_BACKLOG = 512  # a client with many threads opens its connections at once
_JOIN_SECONDS = 10.0
_PAUSE_SECONDS = 0.05  # where the process has no file handle left, another may be closed soon


class Listener:
    """`serve` is called for each connection in a thread of its own; with `tls`, the handshake is still to come."""

    def __init__(
        self, name: str, serve: Callable[[socket.socket], None], *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._name, self._serve, self._tls = name, serve, tls
        self._socket = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, name=f"{name}-accept", daemon=True)

    def start(self) -> None:
        self._acceptor.start()

    def stop(self) -> None:
        """Ends every connection and waits for its thread."""
        with self._lock:
            self._stopped.set()
            threads = list(self._open)
            for connection in self._open.values():
                _shut(connection)
        _shut(self._socket)  # wakes the accepting thread, which close() alone does not
        self._socket.close()
        for thread in (self._acceptor, *threads):
            if thread.ident is not None:
                thread.join(_JOIN_SECONDS)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                if not self._stopped.is_set():
                    _log.warning("%s: no connection could be taken: %s", self._name, error)
                    self._stopped.wait(_PAUSE_SECONDS)
                continue
            thread = threading.Thread(target=self._run, args=(connection,), name=self._name, daemon=True)
            if self._opened(thread, connection):
                thread.start()

    def _opened(self, thread: threading.Thread, connection: socket.socket) -> bool:
        """Remembers what stop() has to end; after stop() the connection is closed at once."""
        with self._lock:
            if self._stopped.is_set():
                connection.close()
                return False
            self._open[thread] = connection
            return True

    def _run(self, connection: socket.socket) -> None:
        thread = threading.current_thread()
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection.getpeername()  # raises where the client is gone: wrap_socket would leave half a socket open
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                if not self._opened(thread, connection):
                    return
            self._serve(connection)
        except OSError as error:
            _log.debug("%s: the other side went away: %s", self._name, error)
        finally:
            with self._lock:
                self._open.pop(thread, None)
            connection.close()


def reset_on_close(connection: socket.socket) -> None:
    """The next close() sends a reset instead of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _shut(connection: socket.socket) -> None:
    try:
        # Not the method of SSLSocket: that one takes the TLS state away from the thread that still uses it.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        pass  # it was closed, or never connected
