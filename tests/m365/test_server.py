"""One origin over real TLS: what a client may rely on, and what a scripted fault does to it."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from backup_core.clock import SystemClock
from backup_core.testing.m365.certificates import make_certificates
from backup_core.testing.m365.faults import Alter, Close, Fault, FaultPlan, Reset, Slow, Status, Truncate, WithoutLength
from backup_core.testing.m365.listener import reset_on_close
from backup_core.testing.m365.log import RequestLog
from backup_core.testing.m365.server import OriginServer
from backup_core.testing.m365.wire import Request, Response

BIG = bytes(range(256)) * 4096  # 1 MiB


class _Sawtooth:
    """A made-up source: byte n is n modulo 251."""

    size = 3_000_001

    def read(self, offset: int, length: int) -> bytes:
        return bytes(n % 251 for n in range(offset, min(self.size, offset + length)))


def _route(request: Request) -> Response:
    if request.path == "/big":
        return Response(body=BIG)
    if request.path == "/source":
        return Response(206, source=_Sawtooth(), first=int(request.query["first"]), count=int(request.query["count"]))
    if request.path == "/nothing":
        return Response(204)
    if request.path == "/broken":
        raise RuntimeError("a mistake of the simulator")
    return Response.of_json(
        {"method": request.method, "path": request.path, "query": request.query, "body": request.body.decode()}
    )


class _Origin:
    def __init__(self, folder: Path) -> None:
        self.faults, self.log = FaultPlan(), RequestLog()
        self.ca_file, tls = make_certificates(["localhost", "127.0.0.1"], folder)
        self.server = OriginServer("graph", _route, tls=tls, clock=SystemClock(), faults=self.faults, log=self.log)
        self.url = f"https://localhost:{self.server.port}"
        self.session = requests.Session()
        self.session.trust_env = False  # a CA bundle of the machine would beat `verify`
        self.session.verify = str(self.ca_file)

    def get(self, path: str, **more: object) -> requests.Response:
        return self.session.get(self.url + path, timeout=10, **more)  # type: ignore[arg-type]

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        plain = socket.create_connection(("127.0.0.1", self.server.port), timeout=10)
        return context.wrap_socket(plain, server_hostname="localhost")


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[_Origin]:
    made = _Origin(tmp_path)
    made.server.start()
    yield made
    made.session.close()
    made.server.stop()


def _exchange(origin: _Origin, sent: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    received = b""
    with origin.connect() as connection:
        connection.sendall(sent)
        while piece := connection.recv(65536):
            received += piece
    return received


def test_a_request_arrives_as_it_was_sent(origin: _Origin) -> None:
    """Method, path as encoded, query and body reach the route unchanged."""
    answer = origin.session.post(origin.url + "/a%20b/c?x=1&y=", data="payload", timeout=10)
    assert answer.json() == {"method": "POST", "path": "/a%20b/c", "query": {"x": "1", "y": ""}, "body": "payload"}
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert "date" in answer.headers


def test_connections_are_kept(origin: _Origin) -> None:
    """Many requests go over one connection, and one that asks to close is closed."""
    request = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    received = _exchange(origin, request * 20 + last)
    assert received.count(b"HTTP/1.1 200 OK") == 21
    assert received.count(b"connection: close") == 1


def test_an_old_client_gets_one_answer(origin: _Origin) -> None:
    """HTTP/1.0 knows no kept connections: the answer ends with its own."""
    received = _exchange(origin, b"GET /x HTTP/1.0\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in received


def test_bodies_and_requests_do_not_run_into_each_other(origin: _Origin) -> None:
    """Requests that arrive in one packet are told apart by their lengths, and a body that comes in pieces is whole."""
    posts = b"POST /%d HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s"
    last = b"POST /3 HTTP/1.1\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n" + b"c" * 200_000
    received = _exchange(origin, posts % (1, 5, b"first") + posts % (2, 6, b"second") + last)
    seen = [json.loads(part.partition(b"\r\n\r\n")[2]) for part in received.split(b"HTTP/1.1 200 OK")[1:]]
    assert [asked["body"] for asked in seen] == ["first", "second", "c" * 200_000]
    assert [(asked["method"], asked["path"]) for asked in seen] == [("POST", "/1"), ("POST", "/2"), ("POST", "/3")]


@pytest.mark.parametrize(("first", "count"), [(0, 3_000_001), (5, 1), (2_999_999, 100), (250_000, 600_000), (7, 0)])
def test_a_source_is_sent_in_its_chosen_part(origin: _Origin, first: int, count: int) -> None:
    """A body that never lies in memory comes whole, with the length of the chosen part."""
    answer = origin.get(f"/source?first={first}&count={count}")
    expected = _Sawtooth().read(first, count)
    assert answer.content == expected
    assert answer.headers["content-length"] == str(len(expected))
    assert origin.log[-1].sent_bytes == len(expected)


def test_head_gives_the_length_without_the_body(origin: _Origin) -> None:
    """HEAD answers as GET would, and the connection stays usable."""
    head = origin.session.head(origin.url + "/big", timeout=10)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(BIG)), b"")
    assert origin.get("/x").ok
    assert (origin.log[0].method, origin.log[0].sent_bytes) == ("HEAD", 0)


def test_an_answer_without_content_has_no_length(origin: _Origin) -> None:
    """204 carries no Content-Length, and the next answer is not mistaken for its body."""
    answer = origin.get("/nothing")
    assert answer.status_code == 204
    assert "content-length" not in answer.headers
    assert origin.get("/x").ok


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET x HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /x HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"GET /x HTTP/1.1\r\nbad name : v\r\n\r\n", b"400"),
        (b"POST /x HTTP/1.1\r\nHost: localhost\r\n\r\n", b"411"),
        (b"PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"PUT /x HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"PUT /x HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"GET /x HTTP/1.1\r\nlong: " + b"x" * 70_000, b"431"),
    ],
)
def test_what_is_no_request_is_refused(origin: _Origin, sent: bytes, status: bytes) -> None:
    """A malformed request gets an HTML refusal, never reaches a route, and ends the connection."""
    received = _exchange(origin, sent)
    assert received.startswith(b"HTTP/1.1 " + status)
    assert b"text/html" in received
    assert len(origin.log) == 0


def test_a_whole_url_is_read_as_its_path(origin: _Origin) -> None:
    """A request line may name the host as well, as clients of proxies write it."""
    received = _exchange(origin, b"GET https://localhost/a?b=c HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert b'"path": "/a"' in received


def test_a_failing_route_is_remembered(origin: _Origin) -> None:
    """A mistake of the simulator answers 500 and is kept, so that no test passes over it."""
    assert origin.get("/broken").status_code == 500
    assert [str(crash) for crash in origin.server.crashes] == ["a mistake of the simulator"]


def test_the_log_masks_credentials(origin: _Origin) -> None:
    """A token never stands in the log, and two requests with one token still look alike."""
    for token in ("secret-one", "secret-one", "secret-two"):
        origin.get("/x?a=b", headers={"Authorization": f"Bearer {token}"})
    logged = [entry.headers["authorization"] for entry in origin.log]
    assert logged[0] == logged[1] != logged[2]
    assert "secret" not in repr(list(origin.log))
    assert (origin.log[0].method, origin.log[0].path, origin.log[0].query) == ("GET", "/x", "a=b")


def test_the_log_keeps_as_many_as_it_was_told() -> None:
    """A simulation that serves for days does not remember every request."""
    log = RequestLog(keep=2)
    for number in range(5):
        log.add(log.arrive(Request("graph", "GET", f"/{number}")), 200, SystemClock().now())
    assert [entry.path for entry in log] == ["/3", "/4"]


def test_status_comes_instead_of_the_route(origin: _Origin) -> None:
    """A scripted status answers for the route once, with its headers, and the next request is served."""
    origin.faults.add("GET graph /x", Status(429, {"error": {"code": "TooManyRequests"}}, {"Retry-After": "2.128"}))
    refused = origin.get("/x")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2.128")
    assert refused.json()["error"]["code"] == "TooManyRequests"
    assert origin.get("/x").ok
    assert [entry.status for entry in origin.log] == [429, 200]


def test_an_unregistered_status_can_be_scripted(origin: _Origin) -> None:
    """Graph answers 509, which no register knows."""
    origin.faults.add("/x", Status(509, "bandwidth"))
    assert origin.get("/x").status_code == 509


def test_alter_changes_the_true_answer(origin: _Origin) -> None:
    """The route is asked, and its answer is changed on the way."""

    def flip(response: Response) -> Response:
        response.body = b"\x01" + response.body[1:]
        return response

    origin.faults.add("/big", Alter(flip))
    assert origin.get("/big").content == b"\x01" + BIG[1:]
    assert origin.get("/big").content == BIG


def _stream(answer: requests.Response) -> tuple[bytes, Exception | None]:
    """The bytes that arrived, and what ended them."""
    received = b""
    try:
        for piece in answer.raw.stream(1000, decode_content=False):
            received += piece
    except Exception as error:
        return received, error
    return received, None


@pytest.mark.parametrize(("after", "expected"), [(0, 0), (1, 1), (500_000, 500_000), (-1, len(BIG) - 1)])
def test_truncate_cuts_a_promised_body(origin: _Origin, after: int, expected: int) -> None:
    """The head promises the whole, exactly so many bytes come, and the end is orderly."""
    origin.faults.add("/big", Truncate(after))
    with origin.get("/big", stream=True) as answer:
        answer.raw.enforce_content_length = False  # a client that does not count takes it for the whole
        received, error = _stream(answer)
    assert answer.headers["content-length"] == str(len(BIG))
    assert (received, error) == (BIG[:expected], None)
    assert origin.log[-1].sent_bytes == expected


class _BareTls:
    """TLS over a plain socket that the test reads itself: Python 3.11's own TLS socket takes a reset for an end."""

    def __init__(self, origin: _Origin) -> None:
        context = ssl.create_default_context(cafile=str(origin.ca_file))
        self.plain = socket.create_connection(("127.0.0.1", origin.server.port), timeout=10)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._do(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        self._do(lambda: self._tls.write(data))

    def receive(self) -> bytes:
        return self._do(lambda: self._tls.read(65536))

    def _do(self, action: Callable[[], Any]) -> Any:
        while True:
            try:
                return action()
            except ssl.SSLWantReadError:
                pass
            finally:
                if self._outgoing.pending:
                    self.plain.sendall(self._outgoing.read())
            piece = self.plain.recv(65536)
            if not piece:
                raise EOFError("an orderly end")
            self._incoming.write(piece)


@pytest.mark.parametrize("after", [0, 1, 300_000, -1])
def test_reset_breaks_a_body(origin: _Origin, after: int) -> None:
    """Exactly so many bytes arrive, and then the connection is reset, not ended."""
    origin.faults.add("/big", Reset(after))
    client, received = _BareTls(origin), b""
    with client.plain:
        client.send(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while True:
                received += client.receive()
    assert received.partition(b"\r\n\r\n")[2] == (BIG[:after] if after >= 0 else BIG[:-1])


@pytest.mark.parametrize(
    "fault", [Truncate(len(BIG)), Truncate(-len(BIG) - 1), Reset(len(BIG) + 1), WithoutLength(len(BIG))]
)
def test_a_cut_that_cuts_nothing_is_a_mistake(origin: _Origin, fault: Fault) -> None:
    """A script that cuts behind the end of a body is reported, since it tests nothing."""
    origin.faults.add("/big", fault)
    with contextlib.suppress(requests.RequestException):
        origin.get("/big")
    assert ["cuts nothing" in str(crash) for crash in origin.server.crashes] == [True]


def test_close_says_nothing(origin: _Origin) -> None:
    """The connection ends without a word, and the log shows that the request came."""
    origin.faults.add("/x", Close())
    assert _exchange(origin, b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
    assert origin.log[0].status == 0


@pytest.mark.parametrize("after", [None, 12_345])
def test_without_length_hides_the_cut(origin: _Origin, after: int | None) -> None:
    """The body has no length: a client cannot tell a cut one from a whole one by HTTP alone."""
    origin.faults.add("/big", WithoutLength(after))
    answer = origin.get("/big")
    assert "content-length" not in answer.headers
    assert answer.content == BIG[:after]


def test_slow_waits_before_the_answer_or_within(origin: _Origin) -> None:
    """The pause comes where the script says; the whole answer comes after it."""
    origin.faults.add("/big", Slow(0.2))
    origin.faults.add("/big", Slow(0.2, after=1000))
    for _ in range(2):
        started = time.monotonic()
        assert origin.get("/big").content == BIG
        assert time.monotonic() - started >= 0.2


def test_stopping_ends_a_long_pause_and_idle_connections(origin: _Origin) -> None:
    """A server that is stopped neither waits out a scripted pause nor for a silent client."""
    origin.faults.add("/x", Slow(600))
    idle, waiting = origin.connect(), origin.connect()
    waiting.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
    silent = socket.create_connection(("127.0.0.1", origin.server.port))  # a handshake that never comes
    while not origin.faults.fired():
        time.sleep(0.001)
    started = time.monotonic()
    origin.server.stop()
    assert time.monotonic() - started < 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("m365-")]
    for connection in (idle, waiting, silent):
        with contextlib.suppress(OSError):
            connection.close()


def test_a_client_that_leaves_disturbs_nobody(origin: _Origin) -> None:
    """A client that goes away in the middle of a body, or of its own request, stops no other."""
    with origin.connect() as connection:
        connection.sendall(b"GET /source?first=0&count=3000001 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(100)
    with origin.connect() as connection:
        connection.sendall(b"PUT /x HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
    assert origin.get("/x").ok
    assert origin.server.crashes == []


def test_clients_that_only_knock_disturb_nobody(origin: _Origin) -> None:
    """Connections that are reset before a word, or that speak no TLS, do not stop the port from being served."""
    for number in range(50):
        with socket.create_connection(("127.0.0.1", origin.server.port), timeout=10) as knocking:
            if number % 2:
                knocking.sendall(b"GET / HTTP/1.1\r\n\r\n")
            reset_on_close(knocking)
    assert origin.get("/x").ok


def test_only_its_own_authority_is_needed(origin: _Origin) -> None:
    """A client that trusts only the usual authorities refuses the certificate; the CA file alone makes it fit."""
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(origin.url + "/x", timeout=10)
    assert origin.get("/x").ok


def test_the_certificate_passes_the_strict_check(origin: _Origin) -> None:
    """Python 3.13 checks certificates by the letter of RFC 5280 unless told otherwise."""
    context = ssl.create_default_context(cafile=str(origin.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    plain = socket.create_connection(("127.0.0.1", origin.server.port), timeout=10)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        assert connection.version() in ("TLSv1.2", "TLSv1.3")


def test_it_listens_on_loopback_alone(origin: _Origin) -> None:
    """No other machine can reach the simulation."""
    assert origin.server._listener._socket.getsockname()[0] == "127.0.0.1"
