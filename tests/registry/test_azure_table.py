"""The edge to Azure Table Storage: what its failures become, what is sent again, and how little is read."""

import base64
import gc
import json
import secrets
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from backup_core.clock import SystemClock
from backup_core.errors import AccessDenied, DrivekeepError, Temporary, Usage
from backup_core.registry.accounts import Account, Accounts
from backup_core.registry.azure_table import AzureTable, TableAccount
from backup_core.registry.table import Conflict, Delete, Insert, Put, Replace, commit
from backup_core.storage.azure_transport import PatientTransport
from backup_core.testing.azurite import ACCOUNT_KEY
from backup_core.testing.fake_clock import FakeClock

# The SDK reads a transaction's answer as a stream, and drops one that it does not like without closing its socket.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def no_socket_is_left_for_other_tests() -> Iterator[None]:
    """What the SDK dropped is collected before a test begins that takes it for its own."""
    yield
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()


Reply = tuple[int, dict[str, str], bytes]


def refusal(status: int, code: str, **headers: str) -> Reply:
    """How Azure refuses; `code` "" is somebody on the way."""
    body = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": "0:secret words of the service"}}}
    return status, headers, json.dumps(body).encode() if code else b"<html>secret words of a proxy</html>"


DONE: Reply = (204, {"ETag": 'W/"1"'}, b"")


class Service:
    """A table service of few words: gives the replies of its script, the last one again and again.

    A reply of None is a connection that breaks off after the request was read.
    """

    def __init__(self, *script: Reply | None) -> None:
        self.script = list(script)
        self.asked: list[tuple[str, str]] = []


@contextmanager
def asking(service: Service, clock: FakeClock | None = None, retries: int = 3) -> Iterator[AzureTable]:
    """The service's table; it is asked without waiting on the real clock."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service.asked.append((self.command, self.path))
            reply = service.script.pop(0) if len(service.script) > 1 else service.script[0]
            if reply is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, headers, body = reply
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    address = f"AccountName=vault;AccountKey={ACCOUNT_KEY};TableEndpoint=http://127.0.0.1:{server.server_port}/vault"
    table = AzureTable(TableAccount(address), "registry", clock=clock or FakeClock(), retries=retries)
    try:
        yield table
    finally:
        table.close()
        server.shutdown()
        server.server_close()
        thread.join()


CALLS: list[Callable[[AzureTable], object]] = [
    lambda table: table.get("home", "a"),
    lambda table: list(table.rows("home", "a", "b")),
    lambda table: table.transact("home", [Insert("a", {})]),
    lambda table: table.transact("home", [Put("a", {})]),
    lambda table: table.transact("home", [Replace("a", {}, 'W/"1"')]),
    lambda table: table.transact("home", [Delete("a")]),
    lambda table: table.transact("home", [Put("a", {}), Put("b", {})]),
    lambda table: table.create(),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (None, Temporary),
        (refusal(503, "ServerBusy"), Temporary),
        (refusal(500, "InternalError"), Temporary),
        (refusal(409, "TableBeingDeleted"), Temporary),
        (refusal(404, ""), Temporary),
        (refusal(502, ""), Temporary),
        (refusal(200, ""), Temporary),
        (refusal(403, "AuthorizationFailure"), AccessDenied),
        (refusal(401, "NoAuthenticationInformation"), AccessDenied),
        (refusal(413, "RequestBodyTooLarge"), Usage),
        (refusal(400, "InvalidInput"), DrivekeepError),
    ],
)
def test_a_failure_becomes_one_of_ours_and_never_an_absent_row(
    call: Callable[[AzureTable], object], reply: Reply | None, expected: type[DrivekeepError]
) -> None:
    """No error of the SDK leaks, nor a word of the service; only Azure's own word makes a row absent."""
    with asking(Service(reply), retries=1) as table:
        if reply and reply[0] == 200 and call in CALLS[2:6]:
            return  # a proxy that answers every write with 200 cannot be told from one that wrote
        with pytest.raises(DrivekeepError) as told:
            call(table)
    assert type(told.value) is expected
    if expected is Temporary:
        assert told.value.reason == "storage-unreachable"
    assert "secret" not in str(told.value)
    assert told.value.__cause__ is None
    assert told.value.remedy


@pytest.mark.parametrize("call", CALLS[2:7])
def test_what_was_lost_is_sent_again_after_a_wait_by_the_clock(call: Callable[[AzureTable], object]) -> None:
    """Lost replies and a busy service cost a try each, a POST too; the program's clock waits."""
    clock, service = FakeClock(), Service(None, refusal(503, "ServerBusy", Retry_After="7"), None, DONE)
    if call in CALLS[5:7]:
        service.script[-1] = refusal(400, "InvalidInput")  # the end of a batch is of no concern here
    with asking(service, clock) as table:
        try:
            call(table)
        except DrivekeepError as error:
            assert type(error) is DrivekeepError
    assert len(service.asked) == 4
    assert 7 in clock.sleeps


@pytest.mark.parametrize(("retries", "asked"), [(0, 1), (2, 3)])
def test_tries_are_counted_for_everything_together(retries: int, asked: int) -> None:
    """DRIVEKEEP_HTTP_RETRIES is what it says, also where failures are of several kinds."""
    service = Service(None, refusal(500, "InternalError"), None, refusal(503, "ServerBusy"))
    with asking(service, retries=retries) as table, pytest.raises(Temporary):
        table.get("home", "a")
    assert len(service.asked) == asked


def test_a_success_whose_reply_was_lost_ends_well_with_commit() -> None:
    """The edge sends again and meets its own row: Conflict; reading again finds nothing left to do."""
    service = Service(None, refusal(409, "EntityAlreadyExists"))
    with asking(service) as table:
        commit(table, FakeClock(), "home", lambda: [] if len(service.asked) == 2 else [Insert("a", {})])
        with pytest.raises(Conflict):
            table.transact("home", [Insert("a", {})])
    assert len(service.asked) == 3


@pytest.mark.parametrize(
    ("account", "word"),
    [
        (TableAccount(), "DRIVEKEEP_STORAGE"),
        (TableAccount(""), "DRIVEKEEP_STORAGE"),
        (TableAccount("nonsense"), "connection string"),
        (TableAccount("AccountName=vault;EndpointSuffix=core.windows.net"), "connection string"),
        (TableAccount("AccountName=vault;AccountKey=abc;TableEndpoint=http://127.0.0.1:9/vault"), "base64"),
    ],
)
def test_unusable_credentials_are_a_matter_of_settings(account: TableAccount, word: str) -> None:
    """Usage says which setting, and shows nothing of what was set."""
    with pytest.raises(Usage) as told:
        AzureTable(account, "registry", clock=FakeClock()).get("home", "a")
    assert word in str(told.value)
    assert "abc" not in str(told.value)


def test_an_account_does_not_show_its_key() -> None:
    """A connection string is in no text that the object prints."""
    assert ACCOUNT_KEY not in repr(TableAccount(f"AccountName=a;AccountKey={ACCOUNT_KEY}"))


def test_a_wrong_key_is_refused_access(azurite: Any) -> None:
    """Azurite checks signatures as Azure does."""
    wrong = azurite.connection_string.replace(ACCOUNT_KEY, base64.b64encode(bytes(64)).decode())
    with closing(AzureTable(TableAccount(wrong), "registry", clock=FakeClock())) as table:
        for call in CALLS:
            with pytest.raises(AccessDenied):
                call(table)


@pytest.fixture
def counted(azurite: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[AzureTable, list[str]]]:
    """An empty table, and the requests that are sent to it."""
    sent: list[str] = []
    send = PatientTransport.send

    def count(self: PatientTransport, request: Any, **options: Any) -> Any:
        sent.append(f"{request.method} {request.url}")
        return send(self, request, **options)

    monkeypatch.setattr(PatientTransport, "send", count)
    account, name = TableAccount(azurite.connection_string), f"test{secrets.token_hex(8)}"
    table = AzureTable(account, name, clock=SystemClock())
    yield table, sent
    table.close()


def test_a_page_of_ten_accounts_is_one_request_for_ten_rows(counted: tuple[AzureTable, list[str]]) -> None:
    """However many accounts there are, showing ten of them asks for ten, and their number is one row."""
    table, sent = counted
    accounts = Accounts(table)
    for start in range(0, 132, 33):
        new = [(None, Account(f"{n:04d}", "t", f"{n}@x.com")) for n in range(start, start + 33)]
        table.transact("t", accounts.changes_of(new))
    sent.clear()
    assert [account.id for account in accounts.page("t", "0099", 10)] == [f"{n:04d}" for n in range(100, 110)]
    assert accounts.counts("t").states == {"protected": 132}
    assert len(accounts.due("t", SystemClock().now(), 10)) == 0
    assert len(sent) == 3
    assert "$top=10" in sent[0]
    sent.clear()
    assert len(list(table.rows("t", "account:", "account;", limit=5))) == 5
    assert accounts.find("t", "77@x.com") == accounts.get("t", "0077")
    assert len(sent) == 4


def test_a_change_alone_is_a_plain_request(counted: tuple[AzureTable, list[str]]) -> None:
    """Azure bills and times a transaction of one as more than the change itself."""
    table, sent = counted
    table.create()
    sent.clear()
    table.transact("t", [Insert("a", {})])
    table.transact("t", [Put("a", {})])
    row = table.get("t", "a")
    assert row is not None
    table.transact("t", [Replace("a", {}, row.etag)])
    assert [line.split()[0] for line in sent] == ["POST", "PUT", "GET", "PUT"]
    assert not any("$batch" in line for line in sent)
