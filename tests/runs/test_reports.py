"""The sealed report of a drive's run: what goes in comes out, and nobody else reads it."""

import zlib

import pytest

from backup_core.errors import Damaged, DrivekeepError, NotFound
from backup_core.registry.master_key import MasterKey
from backup_core.registry.sealing import Sealer
from backup_core.runs.reports import Reports
from backup_core.storage.memory import MemoryStore

FAILED = [{"path": f"Private/{number}.txt", "id": str(number), "reason": "malware"} for number in range(300)]
SKIPPED = [{"path": "Notes", "id": "n", "reason": "package"}]
SUMMARY = {"items_failed": FAILED, "items_skipped": SKIPPED, "files_new": 3}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def reports(store: MemoryStore, key: bytes = bytes(32)) -> Reports:
    return Reports(store, lambda: Sealer(MasterKey(key), "report"))


def test_a_report_comes_back(store: MemoryStore) -> None:
    """Whole or its head, by the names that the summary has; its name says whose it is."""
    name = reports(store).put("T", "run-1", "ACC", SUMMARY)
    assert name == "t/reports/run-1/acc"
    assert reports(store).head(name, 1000) == {"items_failed": FAILED, "items_skipped": SKIPPED}
    assert reports(store).head(name, 100)["items_failed"] == FAILED[:100]


def test_nothing_to_report_is_no_object(store: MemoryStore) -> None:
    """No lists, no report; its empty name reads as empty lists."""
    assert reports(store).put("t", "r", "a", {"files_new": 1, "items_failed": [], "items_skipped": []}) == ""
    assert list(store.list()) == []
    assert reports(store).head("", 100) == {"items_failed": [], "items_skipped": []}


def test_no_path_can_be_read_in_the_store(store: MemoryStore) -> None:
    """What lies there is sealed, and opens under no other key and no other name."""
    name = reports(store).put("t", "r", "a", SUMMARY)
    assert b"Private" not in store.get(name)
    with pytest.raises(Damaged):
        reports(store, bytes(31) + b"x").head(name, 1)
    store.put_new("t/reports/r/b", store.get(name))
    with pytest.raises(Damaged):
        reports(store).head("t/reports/r/b", 1)
    with pytest.raises(NotFound):
        reports(store).head("t/reports/r/c", 1)


def test_a_report_is_put_again(store: MemoryStore) -> None:
    """The same once more leaves the object; another attempt's replaces it, also where that one is damaged."""
    name = reports(store).put("t", "r", "a", SUMMARY)
    first = store.get(name)
    assert reports(store).put("t", "r", "a", SUMMARY) == name
    assert store.get(name) == first
    reports(store).put("t", "r", "a", {"items_failed": SKIPPED})
    assert reports(store).head(name, 9) == {"items_failed": SKIPPED, "items_skipped": []}
    store.delete(name)
    store.put_new(name, b"junk")
    reports(store).put("t", "r", "a", SUMMARY)
    assert reports(store).head(name, 1000)["items_failed"] == FAILED


@pytest.mark.parametrize(
    ("plain", "reason"),
    [(b"no zlib", "damaged"), (b'{"format":"drivekeep-report/2"}', "newer-format"), (b'{"x":1}', "damaged")],
)
def test_what_is_no_report(store: MemoryStore, plain: bytes, reason: str) -> None:
    """Something that opens and is none is told apart from a later version's."""
    body = plain if plain == b"no zlib" else zlib.compress(plain)
    store.put_new("t/reports/r/a", Sealer(MasterKey(bytes(32)), "report").seal(body, "t/reports/r/a").encode())
    with pytest.raises(DrivekeepError) as refused:
        reports(store).head("t/reports/r/a", 1)
    assert refused.value.reason == reason
