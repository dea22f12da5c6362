"""A Graph client whose time, tokens and chance a test holds in its hand; a content host that misbehaves to order."""

import datetime
import ipaddress
import json
import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
import responses
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backup_core.graph.client import GraphClient
from backup_core.graph.download import Downloads, ItemFailed
from backup_core.graph.gate import Gate
from backup_core.graph.links import LinkRule
from backup_core.graph.quickxorhash import QuickXorHash
from backup_core.graph.transport import new_session
from backup_core.testing.fake_clock import FakeClock


@dataclass
class CountedTokens:
    """token-1, and the next one each time a new one is demanded."""

    number: int = 1
    renewals: int = 0

    def token(self, renew: bool = False) -> str:
        if renew:
            self.renewals += 1
            self.number += 1
        return f"token-{self.number}"


@dataclass
class World:
    """What a test needs of the world outside."""

    clock: FakeClock
    gate: Gate
    session: requests.Session
    waits: list[float]
    tokens: CountedTokens = field(default_factory=CountedTokens)

    def client(
        self, graph_url: str = "https://graph.microsoft.com", retries: int = 3, patience: float = 900.0
    ) -> GraphClient:
        rule = LinkRule(graph_url, ["127.0.0.1"])
        return GraphClient(graph_url, self.tokens, rule, self.gate, self.clock, self.session, retries, patience)


@pytest.fixture
def world() -> Iterator[World]:
    clock = FakeClock()
    waits: list[float] = []
    with new_session(4) as session:
        yield World(clock, Gate(clock, waits.append, jitter=lambda: 1.0), session, waits)


@pytest.fixture
def graph() -> Iterator[responses.RequestsMock]:
    """Graph's side of the wire; a request that no test announced fails."""
    with responses.RequestsMock(assert_all_requests_are_fired=True) as mock:
        yield mock


@pytest.fixture
def error_body() -> Callable[..., dict[str, object]]:
    def make(code: str, message: str = "", inner: str = "") -> dict[str, object]:
        error: dict[str, object] = {"code": code, "message": message}
        if inner:
            error["innerError"] = {"code": inner, "request-id": "r"}
        return {"error": error}

    return make


@dataclass
class Asked:
    """A request as the content host saw it; header names in lower case."""

    path: str
    headers: dict[str, str]


class ContentHost:
    """One connection a request, over TLS on loopback. Answers come from `script`; its last one is given for ever.

    An answer is raw bytes, head and all, and what happens after them: "close", "reset" or "hang"; or a function that
    makes both of the request.
    """

    def __init__(self, certificate: Path) -> None:
        self.script: list[tuple[bytes, str] | Callable[[Asked], tuple[bytes, str]]] = []
        self.asked: list[Asked] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"

    def add(self, head: str, body: bytes = b"", then: str = "close") -> None:
        """`head`: status line and headers, without the last blank line."""
        self.script.append((head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body, then))

    def add_rest(self, content: bytes, etag: str = '"v1"', most: int = 1 << 60) -> None:
        """What the request's Range asks for, as an honest host would send it, at most so many bytes of it."""

        def answer(asked: Asked) -> tuple[bytes, str]:
            first = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
            piece = content[first : first + most]
            head = f"HTTP/1.1 206 Partial Content\r\nETag: {etag}\r\nContent-Length: {len(piece)}\r\n"
            place = f"Content-Range: bytes {first}-{first + len(piece) - 1}/{len(content)}\r\n\r\n"
            return (head + place).encode() + piece, "close"

        self.script.append(answer)

    def stop(self) -> None:
        self._stopped.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self._context.wrap_socket(connection, server_side=True) as tls:
                with tls.makefile("rb") as lines:
                    path = lines.readline().split()[1].decode()
                    pairs = [line.decode().split(":", 1) for line in iter(lines.readline, b"\r\n")]
                self.asked.append(Asked(path, {name.lower(): value.strip() for name, value in pairs}))
                entry = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                answer, then = entry(self.asked[-1]) if callable(entry) else entry
                tls.sendall(answer)
                if then == "hang":
                    self._stopped.wait(20)
                if then == "reset":
                    tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (OSError, IndexError):
            pass  # the client hung up, or did not like the certificate


@pytest.fixture(scope="session")
def host_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, which is its own CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "content host of a test")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + datetime.timedelta(days=36500))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = builder.add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    kind = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "host.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + pem)
    return path


@pytest.fixture
def content_host(host_certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ContentHost]:
    """Trusted through REQUESTS_CA_BUNDLE, as a user would do it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(host_certificate))
    host = ContentHost(host_certificate)
    yield host
    host.stop()


class Scene:
    """Graph, which knows one file, and the host of its content."""

    ITEM_URL = "https://graph.microsoft.com/v1.0/drives/b!x/items/01F"
    CONTENT = random.Random(5).randbytes(300_000)

    def __init__(self, world: World, graph: responses.RequestsMock, host: ContentHost) -> None:
        self.world, self.graph, self.host = world, graph, host
        graph.assert_all_requests_are_fired = False
        graph.add_passthru(host.url)

    def item(self, link: str | None = "", **facts: Any) -> dict[str, Any]:
        running = QuickXorHash()
        running.update(self.CONTENT)
        item: dict[str, Any] = {"id": "01F", "name": "a.docx", "size": len(self.CONTENT), "eTag": '"{G},1"'}
        item["file"] = {"hashes": {"quickXorHash": running.base64()}}
        if link is not None:
            item["@microsoft.graph.downloadUrl"] = link or f"{self.host.url}/first?tempauth=CANARY"
        return {name: fact for name, fact in {**item, **facts}.items() if fact is not None}

    def forget(self) -> None:
        """Begin anew on both sides."""
        self.graph.reset()
        self.graph.add_passthru(self.host.url)
        self.host.script.clear()

    def knows(self, *items: dict[str, Any]) -> None:
        """What Graph says of the file, one answer after the other; the last one for ever."""
        for item in items:
            self.graph.get(self.ITEM_URL, json=item)

    def downloads(self, retries: int = 3, patience: float = 900.0) -> Downloads:
        world = self.world
        rule = LinkRule("https://graph.microsoft.com", ["127.0.0.1"])
        client = world.client(retries=retries, patience=patience)
        return Downloads(client, world.session, rule, world.gate, world.clock, retries, patience)

    def read(self, **limits: Any) -> tuple[bytes, Any]:
        """The whole content and the finished download."""
        if not any(call for call in self.graph.registered()):
            self.knows(self.item())
        with self.downloads(**limits).open("b!x", "01F") as body:
            buffer = memoryview(bytearray(100_001))
            pieces = []
            while count := body.readinto(buffer):
                pieces.append(bytes(buffer[:count]))
            assert body.readinto(buffer) == 0
            return b"".join(pieces), body

    def fails(self, **limits: Any) -> str:
        with pytest.raises(ItemFailed) as caught:
            self.read(**limits)
        assert "CANARY" not in str(caught.value) + repr(caught.value)
        return caught.value.reason


@pytest.fixture
def scene(world: World, graph: responses.RequestsMock, content_host: ContentHost) -> Scene:
    return Scene(world, graph, content_host)


class Entra:
    """A sign-in host that hands out numbered tokens and remembers what it was sent."""

    TENANT = "22222222-3333-4444-5555-666666666666"
    CLIENT = "99999999-8888-7777-6666-555555555555"
    LOGIN = "https://localhost:4444"
    SECRET = "CANARY-client-secret"

    def __init__(self, mock: responses.RequestsMock, tenant: str, login: str = "https://localhost:4444") -> None:
        self.mock, self.url = mock, f"{login}/{tenant}/oauth2/v2.0/token"
        self.forms: list[dict[str, str]] = []
        self.refusals: list[tuple[int, dict[str, Any]]] = []
        self.rotates = True
        self.seconds = 3600
        self.configuration = {
            "issuer": f"{login}/{tenant}/v2.0",
            "authorization_endpoint": f"{login}/{tenant}/oauth2/v2.0/authorize",
            "token_endpoint": self.url,
        }
        mock.add_callback("GET", f"{login}/{tenant}/v2.0/.well-known/openid-configuration", self._describe)
        mock.add_callback("POST", self.url, self._answer)

    def refuse(self, error: str, number: int, status: int = 400, times: int = 1) -> None:
        text = f"AADSTS{number}: something about {self.SECRET} CANARY-description. Trace ID: x"
        body = {"error": error, "error_description": text, "error_codes": [number]}
        self.refusals += [(status, body)] * times

    def _describe(self, _: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        return 200, {}, json.dumps(self.configuration)

    def _answer(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        body = request.body.decode() if isinstance(request.body, bytes) else request.body
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.forms.append(form)
        if self.refusals:
            status, refusal = self.refusals.pop(0)
            return status, {}, json.dumps(refusal)
        answer = {
            "token_type": "Bearer",
            "expires_in": self.seconds,
            "access_token": f"CANARY-access-{len(self.forms)}",
        }
        if form["grant_type"] == "refresh_token" and self.rotates:
            answer["refresh_token"] = f"CANARY-refresh-{len(self.forms)}"
        return 200, {}, json.dumps(answer)


@pytest.fixture
def mock() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def entra(mock: responses.RequestsMock) -> Entra:
    return Entra(mock, Entra.TENANT)


@pytest.fixture
def common(mock: responses.RequestsMock) -> Entra:
    return Entra(mock, "common")
