"""What lies between this machine and Azure: a slow line, a proxy, a certificate of one's own."""

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backup_core.clock import SystemClock
from backup_core.errors import NotFound, Temporary
from backup_core.storage import azure_transport
from backup_core.storage.azure_blob import AzureBlobStore
from backup_core.storage.azure_client import BlobAccount
from backup_core.testing.azurite import ACCOUNT_KEY

ABSENT = b"HTTP/1.1 404 Not Found\r\nx-ms-error-code: BlobNotFound\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def read_head(connection: socket.socket) -> bytes:
    """A request up to its empty line, and what came with it of its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        if not more:
            break
        received += more
    return received


@contextmanager
def serving(answer: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port at which each connection is handed to `answer`, one after the other."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the listener was closed: the test is over
            try:
                with tls.wrap_socket(connection, server_side=True) if tls else connection as stream:
                    answer(stream)
            except OSError:
                connection.close()  # the client did not like us

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join()


def store_at(url: str) -> AzureBlobStore:
    """A store whose account answers at this address, tried once."""
    account = BlobAccount(f"AccountName=vault;AccountKey={ACCOUNT_KEY};BlobEndpoint={url}")
    return AzureBlobStore(account, "box", clock=SystemClock(), retries=0)


def test_a_slow_line_may_take_longer_for_a_pack_than_one_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for each piece of a body: a pack that needs twice as long in all still arrives, whole."""
    monkeypatch.setattr(azure_transport, "_CONNECT_SECONDS", 0.6)
    pack_bytes = 16 << 20
    arrived: list[int] = []
    pause = threading.Event()

    def read_slowly(connection: socket.socket) -> None:
        received = len(read_head(connection).partition(b"\r\n\r\n")[2])
        while received < pack_bytes:
            pause.wait(0.01)
            piece = connection.recv(1 << 17)
            if not piece:
                return  # the client gave up
            received += len(piece)
        arrived.append(received)
        connection.sendall(CREATED)

    with serving(read_slowly) as port:
        store_at(f"http://127.0.0.1:{port}/vault").put_new("data/ab/1", bytes(pack_bytes))
    assert arrived == [pack_bytes]


def test_https_proxy_is_used_and_no_proxy_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go through HTTPS_PROXY, except to the hosts that NO_PROXY names."""
    asked: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        asked.append(read_head(connection).split(b"\r\n")[0])
        connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

    with serving(refuse) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(Temporary):
            store_at("https://vault.invalid").get("config")
        assert [line.rpartition(b" ")[0] for line in asked] == [b"CONNECT vault.invalid:443"]
        monkeypatch.setenv("NO_PROXY", "vault.invalid")
        with pytest.raises(Temporary):
            store_at("https://vault.invalid").get("config")
        assert len(asked) == 1


def test_a_certificate_of_ones_own_is_trusted_only_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REQUESTS_CA_BUNDLE makes an account behind a private authority readable; without it the reason is named."""
    own_file = tmp_path / "own.pem"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own_file.write_bytes(own_certificate())
    tls.load_cert_chain(own_file)

    def answer(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(ABSENT)

    with serving(answer, tls) as port:
        with pytest.raises(Temporary, match="certificate"):
            store_at(f"https://127.0.0.1:{port}/vault").get("config")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own_file))
        with pytest.raises(NotFound):
            store_at(f"https://127.0.0.1:{port}/vault").get("config")


def own_certificate() -> bytes:
    """A key and a certificate for 127.0.0.1 that nobody else has signed, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1))
        .not_valid_after(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
