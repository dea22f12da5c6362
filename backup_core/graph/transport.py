"""The one place that sends a request: to Graph, to the sign-in host, to the hosts of content.

It knows timeouts, what every request says of us, and what may go wrong on the way. It does not retry, follows no
redirect and sends no token by itself.
"""

import http.cookiejar
import logging
import secrets
import ssl
import uuid
from collections.abc import Mapping
from typing import Any

import requests
import requests.adapters
import urllib3
import urllib3.exceptions

from backup_core import __version__
from backup_core.clock import Clock
from backup_core.errors import Usage
from backup_core.graph.attempts import Cut, NoAnswer

# The decoration that Microsoft asks backup products for; undecorated traffic is throttled first.
USER_AGENT = f"ISV|drivekeep|drivekeep/{__version__}"

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0  # silence; Graph's own gateway gives up after about 100 seconds, and its answer is worth having
WHOLE_ANSWER_SECONDS = 300.0  # a body that drips does not hold a thread for ever
BODY_MAX_BYTES = 64 << 20  # a page of 1,000 items is about 1 MiB
_PIECE_BYTES = 64 << 10


class _Session(requests.Session):
    """Follows no redirect, and asks once a host which proxy and which CA file the environment names.

    requests itself reads the whole environment twice for every request, a fifth of a small file's cost.
    """

    def __init__(self) -> None:
        super().__init__()
        self._around: dict[tuple[Any, ...], Any] = {}

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        host = tuple(str(url).split("/", 3)[:3])
        key = (host, stream, verify, cert)
        if key not in self._around:
            self._around[key] = super().merge_environment_settings(url, proxies, stream, verify, cert)
        return dict(self._around[key])

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None is followed, ever: requests would even read its body, of any size, to prepare what we do not do."""


def new_session(threads: int) -> requests.Session:
    """A session for so many threads. It honours REQUESTS_CA_BUNDLE, HTTPS_PROXY and NO_PROXY, nothing else around."""
    session = _Session()
    adapter = requests.adapters.HTTPAdapter(pool_connections=threads + 4, pool_maxsize=threads + 4, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["User-Agent"] = USER_AGENT
    session.auth = _no_authentication
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    # At debug level this logger writes the address of each request, and download links are credentials.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.WARNING)
    return session


def _no_authentication(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Set, so that requests does not look into ~/.netrc, whose entry would replace our token or follow a link."""
    return request


def send(
    session: requests.Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    read_seconds: float = READ_SECONDS,
    **body: Any,
) -> requests.Response:
    """One try; the body is still to be read, and the caller closes.

    Raises Cut, NoAnswer where TLS says no, Usage where the CA file is missing. `body` is what requests knows as
    `params`, `data` or `json`.
    """
    failure: Exception
    try:
        return session.request(
            method,
            url,
            headers={"Accept-Encoding": "gzip", "client-request-id": _request_id(), **headers},
            timeout=(CONNECT_SECONDS, read_seconds),
            allow_redirects=False,
            stream=True,
            **body,
        )
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        failure = _translated(error)
    raise failure  # outside of the handler: the original carries the address, and with it tokens


def read_body(response: requests.Response, clock: Clock, size_max: int = BODY_MAX_BYTES) -> bytes:
    """The whole decoded body. Cut where it is not whole, larger than `size_max` or too slow."""
    pieces: list[bytes] = []
    size = 0
    end = clock.monotonic() + WHOLE_ANSWER_SECONDS
    while piece := read_piece(response, _PIECE_BYTES, decode=True):
        pieces.append(piece)
        size += len(piece)
        if size > size_max:
            raise Cut(f"the answer is larger than {size_max >> 20} MiB")
        if clock.monotonic() > end:
            raise Cut(f"the answer was not whole after {WHOLE_ANSWER_SECONDS:.0f} s")
    return b"".join(pieces)


def read_piece(response: requests.Response, length: int, *, decode: bool) -> bytes:
    """What has arrived, up to `length` bytes, without waiting for more; b"" at the end. Cut where it breaks off."""
    try:
        return response.raw.read1(length, decode_content=decode) or b""
    except (urllib3.exceptions.HTTPError, requests.RequestException, OSError) as error:
        failure = _translated(error)
    raise failure


def _request_id() -> str:
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


def _translated(error: Exception) -> Exception:
    """The vendor's exception in our words. Never its text, which holds the address."""
    if _refused_certificate(error):
        return NoAnswer(
            "The other side's certificate was not accepted.",
            why="Its name, its date or its issuer is wrong, or something on the way reads the traffic.",
            remedy="Check this machine's clock. If a proxy of yours opens TLS, name its CA file in REQUESTS_CA_BUNDLE.",
        )
    if type(error) is OSError and "CA certificate bundle" in str(error):
        return Usage(
            "The file named in REQUESTS_CA_BUNDLE cannot be read.",
            remedy="Name a file of PEM certificates there, or unset it to use the usual ones.",
        )
    for known, why in _WORDS:
        if isinstance(error, known):
            return Cut(why, answered=False)
    return Cut(f"the connection failed ({type(error).__name__})", answered=False)


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (requests.exceptions.ConnectTimeout, "no connection within the time allowed"),
    (requests.exceptions.ProxyError, "the proxy did not let the connection through"),
    (requests.exceptions.Timeout, "no answer within the time allowed"),
    (urllib3.exceptions.ReadTimeoutError, "the answer stopped in the middle"),
    (urllib3.exceptions.IncompleteRead, "the answer ended early"),
    (urllib3.exceptions.ProtocolError, "the connection broke in the middle of the answer"),
    (urllib3.exceptions.DecodeError, "the answer cannot be unpacked"),
)


def _refused_certificate(error: BaseException | None) -> bool:
    """Whether TLS itself said no, however deep that lies. Asking again, or asking without it, is no way out."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None
