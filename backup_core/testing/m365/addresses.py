"""By which names the three HTTPS origins are reached: their own on loopback, or Microsoft's through the proxy.

It opens nothing. A link in an answer must name the host by which the request came, or a client that knows only
Microsoft's hosts would be led astray.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from backup_core.testing.m365.wire import Origin

ORIGINS: tuple[Origin, ...] = ("graph", "login", "content")  # over HTTPS; the managed identity is asked over HTTP
# Two host names and three ports: a client that compares only the host, or only the port, takes one origin for another.
LOCAL_HOSTS: dict[Origin, str] = {"graph": "localhost", "login": "localhost", "content": "127.0.0.1"}

_reached: ContextVar[tuple[Origin, str] | None] = ContextVar("reached", default=None)


class Addresses:
    """`ports` is filled when the servers listen; `content_name` is the public name of the host that serves content."""

    def __init__(self, content_name: str) -> None:
        self.names: dict[Origin, str] = {
            "graph": "graph.microsoft.com",
            "login": "login.microsoftonline.com",
            "content": content_name,
        }
        self.ports: dict[Origin, int] = {}

    def port_of(self, name: str) -> int | None:
        """The local port that a public name leads to; None for a host of the rest of the world."""
        for origin, public in self.names.items():
            if public == name.lower():
                return self.ports[origin]
        return None

    def url(self, origin: Origin) -> str:
        """The origin's root, as the client that is being served must call it."""
        reached = _reached.get()
        if reached is not None and reached[1] in self.names.values():
            return f"https://{self.names[origin]}"
        if reached is not None and reached[0] == origin:
            return f"https://{reached[1]}"
        return f"https://{LOCAL_HOSTS[origin]}:{self.ports[origin]}"


@contextmanager
def reached_as(origin: Origin, host: str | None) -> Iterator[None]:
    """While a request is served: the origin that it reached, and the Host that it named, if it named one."""
    token = _reached.set((origin, host.lower().removesuffix(":443")) if host else None)
    try:
        yield
    finally:
        _reached.reset(token)
