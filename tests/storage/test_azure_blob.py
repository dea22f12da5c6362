"""What Azure Blob Storage promises beyond the contract: tiers, containers, pages, retries, words without secrets."""

import datetime
import logging
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import responses
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError

from backup_core.clock import SystemClock
from backup_core.errors import AccessDenied, AlreadyExists, Damaged, DrivekeepError, NotFound, Temporary, Usage
from backup_core.storage.azure_blob import AzureBlobStore
from backup_core.storage.azure_client import BlobAccount
from backup_core.testing.azurite import ACCOUNT_KEY, Azurite

SIGNATURE = "c2VjcmV0LXNpZ25hdHVyZS1vZi1hLXRlc3Q%3D"
BY_SIGNATURE = f"BlobEndpoint=https://vault.blob.core.windows.net;SharedAccessSignature=sv=2024-11-04&sig={SIGNATURE}"
BLOB_URL = "https://vault.blob.core.windows.net/box/folder/config"
LIST_URL = "https://vault.blob.core.windows.net/box"


class PatientClock(SystemClock):
    """Waits in no time, and remembers how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def now(self) -> datetime.datetime:
        return datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def faked_store(clock: PatientClock | None = None, **options: object) -> AzureBlobStore:
    """A store in an account whose answers `responses` gives."""
    return AzureBlobStore(BlobAccount(BY_SIGNATURE), "box", "folder", clock=clock or PatientClock(), **options)  # type: ignore[arg-type]


def real_store(azurite: Azurite, container: str, prefix: str = "", **options: object) -> AzureBlobStore:
    """A store in Azurite."""
    account = BlobAccount(azurite.connection_string)
    return AzureBlobStore(account, container, prefix, clock=PatientClock(), **options)  # type: ignore[arg-type]


def refusal(method: str, status: int, code: str = "", url: str = BLOB_URL) -> responses.BaseResponse:
    """Azure's answer to every request of this method, with its word for the reason."""
    headers = {"x-ms-error-code": code} if code else {}
    return responses.add(method, url, status=status, headers=headers, body="")


READS_AND_WRITES: list[tuple[str, Callable[[AzureBlobStore], object]]] = [
    ("GET", lambda store: store.get("config")),
    ("GET", lambda store: store.get_range("config", 0, 1)),
    ("HEAD", lambda store: store.size("config")),
    ("PUT", lambda store: store.put_new("config", b"x")),
    ("DELETE", lambda store: store.delete("config")),
]


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AuthenticationFailed", AccessDenied),
        (403, "AuthorizationPermissionMismatch", AccessDenied),
        (401, "NoAuthenticationInformation", AccessDenied),
        (409, "BlobImmutableDueToPolicy", AccessDenied),
        (409, "ContainerBeingDeleted", Temporary),
        (400, "InvalidResourceName", Usage),
        (400, "SomethingNew", DrivekeepError),
        (429, "", Temporary),
        (500, "InternalError", Temporary),
        (503, "ServerBusy", Temporary),
    ],
)
@pytest.mark.parametrize(("method", "call"), READS_AND_WRITES)
@responses.activate
def test_every_refusal_has_its_class(
    method: str, call: Callable[[AzureBlobStore], object], status: int, code: str, expected: type[DrivekeepError]
) -> None:
    """Each of Azure's answers becomes one error of ours, with a remedy, whatever method it came to."""
    refusal(method, status, code)
    with pytest.raises(expected) as caught:
        call(faked_store())
    assert type(caught.value) is expected
    assert caught.value.why
    assert caught.value.remedy


@pytest.mark.parametrize(("method", "call"), READS_AND_WRITES)
@responses.activate
def test_a_404_that_is_not_azures_own_is_no_absence(method: str, call: Callable[[AzureBlobStore], object]) -> None:
    """A 404 of a proxy or of a wrong host must not look like an empty place for a new repository."""
    refusal(method, 404)
    with pytest.raises(Temporary):
        call(faked_store())


@responses.activate
def test_a_listing_that_is_refused_is_not_an_empty_one() -> None:
    """Only a missing container is an empty listing; a stranger's 404 and a refusal raise."""
    for status, code, expected in ((404, "", Temporary), (403, "AuthorizationFailure", AccessDenied)):
        responses.reset()
        refusal("GET", status, code, LIST_URL)
        with pytest.raises(expected):
            list(faked_store().list())
    responses.reset()
    refusal("GET", 404, "ContainerNotFound", LIST_URL)
    assert list(faked_store().list()) == []


@pytest.mark.parametrize("retries", [0, 1, 3, 5])
@responses.activate
def test_a_call_is_tried_as_often_as_the_setting_says(retries: int) -> None:
    """`retries` tries follow the first one, for answers and for broken connections alike, and then it is Temporary."""
    for body in ("", requests.ConnectionError("refused"), requests.ReadTimeout("slow")):
        responses.reset()
        answer = responses.add("GET", BLOB_URL, status=503, body=body)
        with pytest.raises(Temporary):
            faked_store(retries=retries).get("config")
        assert answer.call_count == retries + 1


@responses.activate
def test_waits_begin_with_about_a_second_and_grow() -> None:
    """The waits between tries are by the program's clock: 1, 3 and 5 seconds, each give or take one."""
    refusal("PUT", 500)
    clock = PatientClock()
    with pytest.raises(Temporary):
        faked_store(clock, retries=3).put_new("config", b"x")
    assert len(clock.waits) == 3
    assert all(abs(wait - mean) <= 1 for wait, mean in zip(clock.waits, (1, 3, 5), strict=True))


@responses.activate
def test_a_refusal_is_not_tried_again() -> None:
    """What waiting cannot change is asked once."""
    answer = refusal("GET", 403, "AuthorizationFailure")
    clock = PatientClock()
    with pytest.raises(AccessDenied):
        faked_store(clock).get("config")
    assert answer.call_count == 1
    assert clock.waits == []


def test_a_dead_port_is_temporary_and_says_so() -> None:
    """A store that nobody serves is Temporary after the retries, in the system's own words."""
    clock = PatientClock()
    account = BlobAccount(f"AccountName=vault;AccountKey={ACCOUNT_KEY};BlobEndpoint=http://127.0.0.1:1/vault")
    store = AzureBlobStore(account, "box", clock=clock, retries=3)
    for call in (
        store.get,
        store.size,
        store.delete,
        lambda name: store.put_new(name, b""),
        lambda _: list(store.list()),
    ):
        clock.waits.clear()
        with pytest.raises(Temporary, match="Connection refused") as caught:
            call("config")
        assert len(clock.waits) == 3
        assert "HTTPS_PROXY" in caught.value.remedy


def assert_no_secret_in(error: DrivekeepError) -> None:
    """Neither the error, nor its representation, nor a traceback with all its causes, holds a key or a signature."""
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) + str(error)
    for secret in (SIGNATURE, "sig=", ACCOUNT_KEY, ACCOUNT_KEY[:20]):
        assert secret not in told


@responses.activate
def test_no_secret_is_in_an_error() -> None:
    """Addresses with signatures stay out of messages and tracebacks, for refusals and for broken connections."""
    for body, status in (("", 403), ("", 500), (requests.ConnectionError(f"for {BLOB_URL}?sig={SIGNATURE}"), 0)):
        responses.reset()
        responses.add("GET", BLOB_URL, body=body, status=status)
        with pytest.raises(DrivekeepError) as caught:
            faked_store(retries=0).get("config")
        assert_no_secret_in(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        f"AccountKey={ACCOUNT_KEY}",
        f"AccountName=vault;AccountKey={ACCOUNT_KEY};EndpointSuffix",
        "AccountName=vault;EndpointSuffix=core.windows.net",
        "BlobEndpoint=https://vault.blob.core.windows.net",
    ],
)
def test_an_unusable_connection_string_is_a_usage_error(text: str) -> None:
    """A connection string that is cut, or holds no key, is refused before anything is asked anonymously."""
    with pytest.raises(Usage, match="AZURE_STORAGE_CONNECTION_STRING") as caught:
        AzureBlobStore(BlobAccount(text), "box", clock=PatientClock())
    assert_no_secret_in(caught.value)
    assert caught.value.remedy


def test_a_key_that_is_not_base64_is_a_usage_error() -> None:
    """A key with a character missing is named as such at the first call, without a single wait."""
    clock = PatientClock()
    store = AzureBlobStore(BlobAccount(account_name="vault", account_key=ACCOUNT_KEY[:-1]), "box", clock=clock)
    with pytest.raises(Usage) as caught:
        store.get("config")
    assert clock.waits == []
    assert_no_secret_in(caught.value)


def test_no_identity_is_a_usage_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a key asks for an identity; where there is none it says so, and does not wait for one."""

    def no_token(*_scopes: str, **_options: object) -> None:
        raise ClientAuthenticationError("no credential in the chain provided a token")

    monkeypatch.setattr(DefaultAzureCredential, "get_token", no_token)
    monkeypatch.setattr(DefaultAzureCredential, "get_token_info", no_token)
    clock = PatientClock()
    store = AzureBlobStore(BlobAccount(account_name="vault"), "box", clock=clock)
    with pytest.raises(Usage, match="No usable credentials"):
        store.get("config")
    assert clock.waits == []


@pytest.mark.parametrize("account", [BlobAccount(), BlobAccount(account_key="x"), BlobAccount(account_name="ev.il/x")])
def test_an_account_without_a_name_is_a_usage_error(account: BlobAccount) -> None:
    """No credentials at all, or a name that would lead to another host, is refused with what to set."""
    with pytest.raises(Usage, match="AZURE_ACCOUNT_NAME"):
        AzureBlobStore(account, "box", clock=PatientClock())


def test_an_account_hides_its_secrets() -> None:
    """Printing the settings of an account prints neither key nor connection string."""
    shown = repr(BlobAccount(BY_SIGNATURE, "vault", ACCOUNT_KEY))
    assert SIGNATURE not in shown
    assert ACCOUNT_KEY not in shown
    assert "vault" in shown


@responses.activate
def test_an_account_without_tiers_is_written_without_them() -> None:
    """A premium account refuses the tier's header; hot objects go in without it, and later ones do not ask again."""

    def answer(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        refused = "x-ms-access-tier" in request.headers
        return (400, {"x-ms-error-code": "UnsupportedHeader"}, "") if refused else (201, {}, "")

    responses.add_callback("PUT", BLOB_URL, answer)
    store = faked_store()
    store.put_new("config", b"x")
    store.put_new("config", b"x")
    assert ["x-ms-access-tier" in call.request.headers for call in responses.calls] == [True, False, False]
    with pytest.raises(Usage, match="no access tiers"):
        faked_store(tier_of=lambda _name: "cool").put_new("config", b"x")


def test_each_object_goes_into_the_tier_that_the_rule_names(azurite: Azurite, container: str) -> None:
    """Packs may be cool or cold; everything else is hot, and says so to an account whose default is colder."""
    tiers = {"data/ab/1": "cool", "data/ab/2": "cold"}
    store = real_store(azurite, container, tier_of=lambda name: tiers.get(name, "hot"))
    for name in ("data/ab/1", "data/ab/2", "config", "locks/a"):
        store.put_new(name, b"x")
    stored = {blob.name: blob.blob_tier for blob in store._container.list_blobs()}
    inferred = {blob.name for blob in store._container.list_blobs() if blob.blob_tier_inferred}
    assert stored == {"data/ab/1": "Cool", "data/ab/2": "Cold", "config": "Hot", "locks/a": "Hot"}
    assert inferred == set()


def test_objects_lie_below_the_prefix(azurite: Azurite, container: str) -> None:
    """`azure:container:/a/b` stores config as a/b/config, as restic does, and a neighbour's objects are not seen."""
    mine, neighbour = real_store(azurite, container, "a/b"), real_store(azurite, container, "a/bc")
    mine.put_new("config", b"mine")
    neighbour.put_new("config", b"neighbour's")
    assert [found.name for found in real_store(azurite, container).list()] == ["a/b/config", "a/bc/config"]
    assert [(found.name, found.size) for found in mine.list()] == [("config", 4)]
    mine.delete("config")
    assert neighbour.get("config") == b"neighbour's"


def test_the_first_put_makes_the_container_and_reading_does_not(azurite: Azurite, container: str) -> None:
    """Looking at an absent container leaves it absent; of sixteen first puts at once none fails."""
    store = real_store(azurite, container)
    assert list(store.list()) == []
    with pytest.raises(NotFound):
        store.get("config")
    assert not store._container.exists()
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: store.put_new(f"keys/{number}", b"x"), range(16)))
    assert len(list(store.list("keys/"))) == 16


def test_a_listing_goes_through_all_its_pages(azurite: Azurite, container: str) -> None:
    """Names arrive in order over many pages, also where the last page is full."""
    store = real_store(azurite, container, "p", page_names=10)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: store.put_new(f"data/{number:03d}", b"." * number), range(40)))
    assert [(found.name, found.size) for found in store.list()] == [(f"data/{n:03d}", n) for n in range(40)]


def test_a_container_that_vanishes_between_two_pages_is_an_error(azurite: Azurite, container: str) -> None:
    """A listing that cannot be finished raises; it does not end early as if that were all."""
    store = real_store(azurite, container, page_names=2)
    for number in range(4):
        store.put_new(f"data/{number}", b"")
    listing = store.list()
    assert [next(listing).name, next(listing).name] == ["data/0", "data/1"]
    store._container.delete_container()
    with pytest.raises(DrivekeepError):
        next(listing)


def test_a_put_whose_reply_was_lost_finds_its_own_object(
    azurite: Azurite, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the answer to a put is lost, the repeated put ends in AlreadyExists, and the object is there, whole."""
    store = real_store(azurite, container)
    store.put_new("config", b"")
    send, lost = HTTPAdapter.send, []

    def lose_first(self: HTTPAdapter, request: requests.PreparedRequest, **options: object) -> requests.Response:
        answer = send(self, request, **options)  # type: ignore[arg-type]
        if not lost:
            lost.append(answer.status_code)
            answer.close()
            raise requests.ConnectionError(ProtocolError("Connection aborted."))
        return answer

    monkeypatch.setattr(HTTPAdapter, "send", lose_first)
    with pytest.raises(AlreadyExists):
        store.put_new("data/ab/1", b"content" * 100_000)
    assert lost == [201]
    assert store.get("data/ab/1") == b"content" * 100_000


def test_a_body_that_is_cut_is_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that ends early is repeated; a short object is never returned."""
    monkeypatch.setattr("azure.storage.blob._download.time.sleep", lambda _seconds: None)
    with responses.RequestsMock() as answers:
        for body in (b"0123", b"0123456789"):
            headers = {"Content-Length": "10", "Content-Range": "bytes 0-9/10", "ETag": '"1"'}
            answers.add("GET", BLOB_URL, body=body, status=206, headers=headers, auto_calculate_content_length=False)
        assert faked_store().get("config") == b"0123456789"
        assert len(answers.calls) == 2


def test_an_object_that_azure_ends_early_is_damage(azurite: Azurite, container: str) -> None:
    """A range that reaches over the end, or begins behind it, is Damaged."""
    store = real_store(azurite, container)
    store.put_new("data/ab/1", b"0123456789")
    for offset, length in ((5, 6), (10, 1), (100, 1), (11, 0)):
        with pytest.raises(Damaged):
            store.get_range("data/ab/1", offset, length)


def test_threads_share_one_client_without_throwing_connections_away(
    azurite: Azurite, container: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As many threads as connections keep their sockets."""
    store = real_store(azurite, container, connections=12)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(12) as threads:
        list(threads.map(lambda number: store.put_new(f"keys/{number}", b"x" * 10_000), range(120)))
    assert caplog.records == []


def test_a_netrc_file_does_not_replace_the_signature(
    azurite: Azurite, container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A default line in ~/.netrc, which `requests` would send instead of the account's signature, is not used."""
    (tmp_path / "netrc").write_text("default login someone password something\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    real_store(azurite, container).put_new("config", b"x")
