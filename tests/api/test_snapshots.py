"""`/api/accounts/{a}/snapshots` and their items: what the repository holds, page by page."""

import base64
from pathlib import Path

import pytest
from support.api import ANN, PROGRAM, A, Api, ApiService, new_service, operator
from support.snapshots import Lost, Snapshots

from backup_core.errors import AccessDenied, Temporary, WrongPassword
from backup_core.repository import layout
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, save_snapshot
from backup_core.storage.locations import AzureLocation
from backup_core.storage.memory import MemoryStore
from backup_core.storage.metered import MeteredStore
from backup_core.storage.read_only import ReadOnlyStore
from backup_core.testing.fake_clock import FakeClock
from backup_core.triggers import api_snapshots
from backup_core.wiring import Place

URL = f"/api/accounts/{ANN}/snapshots"
TREE = {"b.txt": b"1234", "A": {"sub": {"deep": b"12"}, "z": b""}, "ä/ö & ?": {"x": b"1"}, "half \ud800": b"1"}


@pytest.fixture
def snapshots(service: ApiService) -> Snapshots:
    made = Snapshots()
    service.repositories[A, ANN] = made.repository
    return made


def paths(api: Api, url: str) -> list[str]:
    seen, there = [], url
    while there:
        page = api.get(there)
        assert page.status == 200, page
        seen += [item["path"] for item in page.document["items"]]
        there = page.document["next"]
    return seen


def test_no_repository_yet_is_an_empty_list(api: Api) -> None:
    """An account that was never backed up has no snapshots, and no items."""
    assert api.get(URL).document == {"items": [], "next": None}
    assert api.get(f"{URL}/latest/items").status == 404


def test_snapshots_come_newest_first(snapshots: Snapshots, api: Api) -> None:
    """In pages, each once, with what `snapshots --json` has."""
    ids = [snapshots.add({"a": bytes([number])}).id for number in range(5)][::-1]
    for limit in (1, 2, 5, 100):
        seen, there = [], f"{URL}?limit={limit}"
        while there:
            page = api.get(there, operator(A)).document
            seen += [each["id"] for each in page["items"]]
            there = page["next"]
        assert seen == ids
    newest = api.get(URL).document["items"][0]
    assert newest["short_id"] == newest["id"][:8]
    assert newest["source"] == {"type": "onedrive-changes", "account": "ann@example.org", "path": "onedrive://"}
    assert (newest["complete"], newest["suspicious"]) == (True, False)
    assert api.get(f"{URL}?after={'0' * 64}").status == 400


def test_what_restic_made_is_listed(snapshots: Snapshots, api: Api) -> None:
    """Without a source, and neither complete nor incomplete."""
    snapshots.add({"a": b"1"}, origin=None)
    (only,) = api.get(URL).document["items"]
    assert (only["source"], only["complete"]) == (None, None)
    assert paths(api, f"{URL}/latest/items") == ["a"]


def test_a_folder_is_listed_without_what_is_below(snapshots: Snapshots, api: Api) -> None:
    """Folders first, by name, from the root or from a path in any case; a file is itself."""
    snapshot = snapshots.add(TREE)
    for name in ("latest", snapshot.id, snapshot.id[:8], snapshot.id[:8].upper()):
        assert paths(api, f"{URL}/{name}/items") == ["A", "ä/ö & ?", "b.txt", "half ?"]
    for limit in (1, 2, 3):
        assert paths(api, f"{URL}/latest/items?limit={limit}") == ["A", "ä/ö & ?", "b.txt", "half ?"]
        assert paths(api, f"{URL}/latest/items?limit={limit}&path=/a/") == ["A/sub", "A/z"]
    assert paths(api, f"{URL}/latest/items?path=A%2Fsub") == ["A/sub/deep"]
    assert paths(api, f"{URL}/latest/items?path=A/sub/DEEP") == ["A/sub/deep"]
    assert paths(api, f"{URL}/latest/items?path=%C3%A4/%C3%B6%20%26%20%3F&limit=1") == ["ä/ö & ?/x"]
    (deep,) = api.get(f"{URL}/latest/items?path=A/sub").document["items"]
    assert (deep["type"], deep["size"], deep["verdict"]) == ("file", 2, "verified")


def test_what_is_not_there_is_not_there(snapshots: Snapshots, api: Api) -> None:
    """Another path, a snapshot that nobody has, the beginning of several."""
    first, second = snapshots.add({"a": b"1"}).id, snapshots.add({"a": b"2"}).id
    assert api.get(f"{URL}/latest/items?path=b").status == 404
    assert api.get(f"{URL}/latest/items?path=a/b").status == 404
    assert api.get(f"{URL}/{'0' * 64}/items").status == 404
    common = next((number for number in range(64) if first[number] != second[number]), 0)
    if common:
        assert api.get(f"{URL}/{first[:common]}/items").status == 404


def test_a_damaged_snapshot_hides_no_other(snapshots: Snapshots, api: Api) -> None:
    """It is left out; a damaged folder is said to be damaged, without a word of the inside."""
    bad, good = snapshots.add({"a": b"1"}).id, snapshots.add({"lost": Lost(), "a": b"2"}).id
    name = layout.snapshot_name(bad)
    sealed = bytearray(snapshots.store.get(name))
    sealed[-1] ^= 1
    snapshots.store.delete(name)
    snapshots.store.put_new(name, bytes(sealed))
    assert [each["id"] for each in api.get(URL).document["items"]] == [good]
    assert paths(api, f"{URL}/latest/items") == ["lost", "a"]
    assert api.get(f"{URL}/latest/items?path=lost").document["reason"] == "damaged"


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (WrongPassword("No key of the repository opens."), 503, "wrong-key"),
        (Temporary("account.blob.core", reason="storage-unreachable", retry_after=7), 503, "storage-unreachable"),
        (AccessDenied("The account's key is refused."), 503, "access-denied"),
    ],
)  # fmt: skip
def test_a_repository_that_does_not_open(
    service: ApiService, api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, reason: str
) -> None:
    """503 with the reason; what the error says of storage stays inside."""

    def refuse(*_arguments: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr(api_snapshots, "open_account_repository", refuse)
    for url in (URL, f"{URL}/latest/items"):
        reply = api.get(url, PROGRAM)
        assert (reply.status, reply.document["reason"]) == (status, reason)
        assert str(error).encode() not in reply.body
    assert reply.headers.get("retry-after") == ("7" if reason == "storage-unreachable" else None)


def test_the_accounts_own_password_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, woken: list) -> None:
    """The repository where the service keeps it, read-only; with another master key 503 says which kind of trouble."""
    stores: dict[tuple[str, str], MemoryStore] = {}

    def place(_service: ApiService, tenant: str, account: str, *, read_only: bool) -> Place:
        kept = stores.setdefault((tenant, account), MemoryStore())
        store = MeteredStore(ReadOnlyStore(kept) if read_only else kept)
        return Place(AzureLocation("drivekeep", f"{tenant}/{account}"), store, store, 1 << 20)

    monkeypatch.setattr(ApiService, "place", place)
    api = Api(new_service(tmp_path))
    assert api.get(URL).document["items"] == []
    (password,) = api.service.master.repository_passwords(A, ANN)
    made = Repository.create(stores[A, ANN], password, FakeClock())
    assert api.get(URL).document["items"] == []
    save_snapshot(made, Snapshot(time="2026-11-02T08:00:00Z", tree="0" * 64, paths=["/OneDrive"]))
    assert len(api.get(URL).document["items"]) == 1
    other = base64.b64encode(b"o" * 32).decode()
    api.service = new_service(tmp_path, DRIVEKEEP_MASTER_KEY=other)
    reply = api.get(URL)
    assert (reply.status, reply.document["reason"]) == (503, "wrong-key")
    api.service = new_service(tmp_path, DRIVEKEEP_MASTER_KEY="@Microsoft.KeyVault(SecretUri=https://v/)")
    reply = api.get(URL)
    assert (reply.status, reply.document["reason"]) == (503, "key-vault")
