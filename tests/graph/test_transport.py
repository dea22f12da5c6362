"""Sending: real connections, the settings around them, slow bodies, and the limit on speed."""

import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from backup_core.errors import Temporary, Usage
from backup_core.graph import transport
from backup_core.graph.attempts import Attempts, Cut, NoAnswer
from backup_core.graph.body import STALL_BYTES, STALL_SECONDS, Body
from backup_core.graph.rate_limit import RateLimit
from backup_core.testing.fake_clock import FakeClock

JSON = b'{"id": "' + b"x" * 5000 + b'"}'
OK = f"HTTP/1.1 200 OK\nContent-Length: {len(JSON)}"


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (OK, JSON[:2000]),
        ("HTTP/1.1 200 OK", JSON[:2000]),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"7D0\r\n" + JSON[:2000] + b"\r\n"),
        (OK, b""),
    ],
)
def test_half_an_answer_is_none(world: Any, content_host: Any, head: str, body: bytes, then: str) -> None:
    """A body that breaks off in the middle, noticed or not, is asked for again."""
    content_host.add(head, body, then)
    content_host.add(OK, JSON)
    assert len(world.client(content_host.url).get_json("/me")["id"]) == 5000
    assert len(content_host.asked) == 2


def test_nobody_listens(world: Any) -> None:
    """A refused connection spends the retries, then the call is temporary."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NoAnswer):
        world.client(f"https://127.0.0.1:{port}", retries=1).get_json("/me")
    assert world.clock.sleeps == [1]


def test_a_silent_server(world: Any, content_host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the request and says nothing is given up after the read timeout."""
    monkeypatch.setattr(transport.send, "__kwdefaults__", {"read_seconds": 0.2})
    content_host.script.append((b"", "hang"))
    content_host.script.append((b"", "hang"))
    with pytest.raises(NoAnswer, match="no answer within the time allowed"):
        world.client(content_host.url, retries=0).get_json("/me")


def test_a_missing_ca_file(world: Any, content_host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA file that is not there is the user's to mend: named, and not retried."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(Usage, match="REQUESTS_CA_BUNDLE"):
        world.client(content_host.url).get_json("/me")
    assert world.clock.sleeps == []


def test_the_proxy_is_used(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY is where connections go; a proxy that refuses is named as what failed."""
    lines: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                lines.append(connection.recv(4096).split(b"\r\n")[0])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(NoAnswer, match="proxy"):
            world.client(retries=0).get_json("/me")
        thread.join()
    assert [line.split()[:2] for line in lines] == [[b"CONNECT", b"graph.microsoft.com:443"]]


def test_netrc_does_not_replace_the_token(world: Any, content_host: Any) -> None:
    """An entry for Graph's host in ~/.netrc changes nothing."""
    (Path.home() / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    content_host.add(OK, JSON)
    world.client(content_host.url).get_json("/me")
    assert content_host.asked[0].headers["authorization"] == "Bearer token-1"


class Slow:
    """A body that gives so many bytes a read, and takes so long for each."""

    def __init__(self, clock: FakeClock, count: int, seconds: float) -> None:
        self.clock, self.count, self.seconds = clock, count, seconds

    def read1(self, length: int, decode_content: bool) -> bytes:
        self.clock.advance(self.seconds)
        return bytes(min(length, self.count))


def slow(clock: FakeClock, count: int, seconds: float, **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code = 200
    response.headers.update(headers)
    response.raw = Slow(clock, count, seconds)
    return response


def test_a_dripping_answer(world: Any) -> None:
    """An answer that drips for ever, each byte within the read timeout, is given up after five minutes."""
    with pytest.raises(Cut, match="300 s"):
        transport.read_body(slow(world.clock, 1, 50), world.clock)
    assert world.clock.monotonic() <= 360


def test_a_dripping_body() -> None:
    """Content slower than a kibibyte a second over five minutes is a cut; a little faster is not."""
    clock = FakeClock()
    view = memoryview(bytearray(1 << 20))
    body = Body(slow(clock, 1, 50, **{"Content-Length": "1000000"}), 0, clock)
    assert 0 < body.readinto(view) < 10
    with pytest.raises(Cut, match="KiB came in"):
        body.readinto(view)
        body.readinto(view)
    enough = int(STALL_BYTES / STALL_SECONDS * 10) + 1
    body = Body(slow(clock, enough, 10), 0, clock)
    for _ in range(20):
        assert body.readinto(view[: 10 * enough]) == 10 * enough


def test_a_body_that_begins_to_drip() -> None:
    """A gigabyte that came quickly does not excuse a drip that follows it."""
    clock = FakeClock()
    response = slow(clock, 1 << 20, 1)
    body = Body(response, 0, clock)
    view = memoryview(bytearray(1 << 20))
    for _ in range(1000):
        body.readinto(view)
    response.raw.count, response.raw.seconds = 1, 50
    began = clock.monotonic()
    with pytest.raises(Cut, match="KiB came in"):
        for _ in range(3):
            body.readinto(view)
    assert clock.monotonic() - began <= 2 * STALL_SECONDS


def test_a_slow_reader_is_no_stall() -> None:
    """Time that passes between the reads, in hashing and storing, is not the host's."""
    clock = FakeClock()
    body = Body(slow(clock, 10, 0), 0, clock)
    for _ in range(20):
        clock.advance(200)
        assert body.readinto(memoryview(bytearray(10))) == 10


def test_the_limit_holds_for_all_threads() -> None:
    """Bytes are paid for in time, whichever thread reads them; a quiet minute is not saved up."""
    clock = FakeClock()
    limit = RateLimit(1000, clock)
    for count in (500, 1500, 1000):
        limit.take(count)
    assert clock.monotonic() == 3
    clock.advance(60)
    limit.take(1000)
    assert clock.monotonic() == 64


def test_a_limited_body() -> None:
    """A body under a limit comes in pieces that are paid for one by one."""
    clock = FakeClock()
    limit = RateLimit(100 << 10, clock)
    body = Body(slow(clock, 1 << 20, 0), 0, clock, limit)
    view = memoryview(bytearray(1 << 20))
    assert sum(body.readinto(view) for _ in range(8)) == 200 << 10
    assert clock.monotonic() == pytest.approx(2)


def test_patience_comes_back_with_progress(world: Any) -> None:
    """A transfer of days may be throttled again and again; what counts is what one stretch of it waits."""
    attempts = Attempts(world.gate, retries=1, patience=100)
    for _ in range(5):
        attempts.throttled(60)
        attempts.begin()
        attempts.failed(Cut("x"), "it")
        attempts.progressed()
    attempts.throttled(60)
    attempts.begin()
    with pytest.raises(Temporary, match="429"):
        attempts.throttled(60)
