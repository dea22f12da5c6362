"""Which links may be followed, and where a token may go. Every link that comes from outside is asked about here."""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from backup_core.errors import DrivekeepError, Usage

# Hosts that Microsoft delivers content from, and everything below them.
_CONTENT_DOMAINS = {
    "global": ("sharepoint.com", "svc.ms", "1drv.com", "microsoftpersonalcontent.com"),
    "usgov": ("sharepoint.us",),
    "usgov-dod": ("sharepoint-mil.us",),
    "china": ("sharepoint.cn",),
}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DEFAULT_PORTS = {"https": 443, "http": 80}

# Stricter than any client's parser, so that no two of them can read two different hosts out of one link: printable
# ASCII, no backslash, no user name, no empty label, no trailing dot. `[…]` is an IPv6 address.
_LABEL = r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?"
_LINK = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?"
    r"(?P<rest>[/?][!-~]*)?",
    re.IGNORECASE | re.ASCII,
)


class ForeignLink(DrivekeepError):
    """A link that leads where it must not. Its text names the host at most."""

    reason = "foreign-link"


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int


class LinkRule:
    """`graph_url`: Graph's root. `allowed_hosts`: further hosts of content, by exact name, on every port."""

    def __init__(self, graph_url: str, allowed_hosts: Iterable[str] = (), cloud: str = "global") -> None:
        self.graph_url = graph_url.rstrip("/")
        origin = origin_of(self.graph_url)
        if origin is None or (origin.scheme != "https" and origin.host not in _LOOPBACK):
            raise Usage(
                f"DRIVEKEEP_GRAPH_URL is not usable: {_shown(graph_url)}.",
                why="Tokens go there, so it must be an https address.",
                remedy="Leave it unset, or give an address like https://graph.microsoft.com.",
            )
        self._graph = origin
        self._allowed = frozenset(_bare(host) for host in allowed_hosts)
        self._domains = _CONTENT_DOMAINS[cloud]

    def leads_to_graph(self, link: str) -> bool:
        return origin_of(link) == self._graph

    def check_graph(self, link: str) -> str:
        """The link, if it leads to exactly Graph's scheme, host and port. ForeignLink."""
        if not self.leads_to_graph(link):
            raise ForeignLink(
                f"A link from Microsoft Graph leads to another host: {_shown(link)}. It was not followed.",
                why="A token goes only to the scheme, host and port of Graph.",
                remedy="If Graph is reached through another address, name it in DRIVEKEEP_GRAPH_URL.",
            )
        return link

    def check_content(self, link: str) -> str:
        """The link, if a host of Microsoft's or an allowed one delivers it by https. ForeignLink."""
        origin = origin_of(link)
        if origin is None or origin.scheme != "https" or not self._delivers(origin):
            raise ForeignLink(
                f"A download link leads to a host that is not allowed: {_shown(link)}. It was not followed.",
                remedy="If that host is right, name it in DRIVEKEEP_ALLOWED_HOSTS.",
            )
        return link

    def _delivers(self, origin: Origin) -> bool:
        if _bare(origin.host) in self._allowed:
            return True
        microsoft = any(origin.host.endswith("." + domain) for domain in self._domains)
        return microsoft and origin.port == _DEFAULT_PORTS["https"]


def origin_of(link: str) -> Origin | None:
    """Scheme, host and port of a link that can be read in one way only; None of any other."""
    match = _LINK.fullmatch(link)
    if match is None:
        return None
    scheme, host = match["scheme"].lower(), match["host"].lower()
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS[scheme]
    return Origin(scheme, host, port) if 0 < port < 65536 else None


def _bare(host: str) -> str:
    return host.strip().lower().removeprefix("[").removesuffix("]")


def _shown(link: str) -> str:
    """The host alone: paths and queries of links carry tokens."""
    origin = origin_of(link)
    if origin is not None:
        return f"{origin.scheme}://{origin.host}:{origin.port}"
    try:
        host = urlsplit(link).hostname or ""
    except ValueError:
        host = ""
    return re.sub(r"[^!-~]", "?", host)[:100] or "an address that cannot be read"
