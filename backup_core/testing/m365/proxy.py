"""An HTTP CONNECT proxy that leads Microsoft's host names to the simulation and refuses the rest of the world.

It passes bytes and understands none of them: TLS goes through it from end to end.
"""

import socket
import threading

from backup_core.testing.m365.addresses import Addresses
from backup_core.testing.m365.listener import Listener, reset_on_close

_HEAD_BYTES = 16 << 10
_PIECE_BYTES = 256 << 10


class Proxy:
    """`refused` lists what clients wanted and did not get, as `host:port`, or a whole URL of plain HTTP."""

    def __init__(self, addresses: Addresses, port: int = 0) -> None:
        self._addresses = addresses
        self.refused: list[str] = []
        self._listener = Listener("m365-proxy", self._serve, port=port)
        self.url = f"http://127.0.0.1:{self._listener.port}"

    def start(self) -> None:
        self._listener.start()

    def stop(self) -> None:
        self._listener.stop()

    def _serve(self, client: socket.socket) -> None:
        head = _read_head(client)
        if head is None:
            return
        method, target = [*head.decode("latin-1").split(" "), ""][:2]
        port = self._local_port(target) if method == "CONNECT" else None
        if port is None:
            self.refused.append(target)
            text = b"The simulated Microsoft 365 leads to Microsoft's hosts alone.\n"
            client.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nconnection: close\r\n")
            client.sendall(b"content-length: %d\r\n\r\n%s" % (len(text), text))
            return
        with socket.create_connection(("127.0.0.1", port)) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _join(client, server)

    def _local_port(self, target: str) -> int | None:
        name, _, port = target.rpartition(":")
        return self._addresses.port_of(name) if port == "443" else None


def _read_head(client: socket.socket) -> bytes | None:
    """A client waits for the answer before it sends more, so nothing follows the head."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(_HEAD_BYTES)
        if not piece or len(head) > _HEAD_BYTES:
            return None
        head += piece
    return head


def _join(client: socket.socket, server: socket.socket) -> None:
    """Both directions until both have ended; the client's requests go up in a thread of their own."""
    up = threading.Thread(target=_pass_on, args=(client, server), name="m365-proxy-up", daemon=True)
    up.start()
    _pass_on(server, client)
    up.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """An orderly end is passed on as one, a reset as a reset."""
    try:
        while piece := source.recv(_PIECE_BYTES):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            _cut(end)


def _cut(end: socket.socket) -> None:
    try:
        reset_on_close(end)
        end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
    except OSError:
        pass  # already gone
