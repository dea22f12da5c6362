"""Every sentence of the store's contract, held against every store: memory, local folder, Azurite, and the wrappers."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.clock import SystemClock
from backup_core.errors import AlreadyExists, Damaged, NotFound
from backup_core.storage.azure_blob import AzureBlobStore
from backup_core.storage.azure_client import BlobAccount
from backup_core.storage.local_folder import LocalFolderStore
from backup_core.storage.memory import MemoryStore
from backup_core.storage.metered import MeteredStore
from backup_core.storage.store import Store
from backup_core.testing.faulty_store import FaultyStore

MIB = 1 << 20


def no_hard_links(*_paths: object, **_options: object) -> None:
    """What the system says on FAT and exFAT."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=["memory", "folder", "folder without links", "azure", "azure root", "metered", "faulty"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store of each kind."""
    kind = request.param
    if kind == "folder without links":
        monkeypatch.setattr(os, "link", no_hard_links)
    if kind.startswith("azure"):
        account = BlobAccount(request.getfixturevalue("azurite").connection_string)
        prefix = "" if kind == "azure root" else "some folder/ünïcode"
        yield AzureBlobStore(account, request.getfixturevalue("container"), prefix, clock=SystemClock(), page_names=7)
    elif kind.startswith("folder"):
        yield LocalFolderStore(tmp_path / "repository")
    elif kind == "metered":
        yield MeteredStore(MemoryStore())
    else:
        yield FaultyStore(MemoryStore()) if kind == "faulty" else MemoryStore()


def test_an_object_comes_back_as_it_was_put(store: Store) -> None:
    """What was put is what get, size and list tell of, byte for byte."""
    data = bytes(range(256)) * 5
    store.put_new("data/ab/abcd", data)
    assert store.get("data/ab/abcd") == data
    assert store.size("data/ab/abcd") == len(data)
    assert [(found.name, found.size) for found in store.list()] == [("data/ab/abcd", len(data))]


def test_an_empty_object_is_an_object(store: Store) -> None:
    """Zero bytes are stored, listed and read like any others."""
    store.put_new("state/empty", b"")
    assert store.get("state/empty") == b""
    assert store.size("state/empty") == 0
    assert store.get_range("state/empty", 0, 0) == b""
    assert [found.size for found in store.list("state/")] == [0]


def test_an_object_of_40_mib_comes_back_whole(store: Store) -> None:
    """An object larger than any pack is written, read and cut into ranges without a byte astray."""
    data = os.urandom(MIB) * 40
    store.put_new("data/cd/cdef", data)
    assert store.size("data/cd/cdef") == 40 * MIB
    assert store.get("data/cd/cdef") == data
    assert store.get_range("data/cd/cdef", 17 * MIB - 3, 7 * MIB) == data[17 * MIB - 3 : 24 * MIB - 3]


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data + b"..."))[:-3]])
def test_every_kind_of_buffer_is_stored(store: Store, wrap: Callable[[bytes], bytes]) -> None:
    """Bytes, a bytearray, a view and a part of a view are all stored as the bytes that they show."""
    store.put_new("index/a", wrap(b"content" * 1000))
    assert store.get("index/a") == b"content" * 1000


def test_a_buffer_may_be_used_again_after_a_put(store: Store) -> None:
    """What the caller writes into its buffer afterwards does not reach the stored object."""
    buffer = bytearray(b"first" * 100)
    store.put_new("data/ab/one", memoryview(buffer))
    buffer[:] = b"other" * 100
    assert store.get("data/ab/one") == b"first" * 100


def test_a_taken_name_keeps_its_first_content(store: Store) -> None:
    """A second put of a name, even with equal content, is AlreadyExists and changes nothing."""
    store.put_new("config", b"first")
    for again in (b"first", b"second", b""):
        with pytest.raises(AlreadyExists):
            store.put_new("config", again)
    assert store.get("config") == b"first"
    assert [found.size for found in store.list()] == [5]


def test_a_missing_name_is_not_found(store: Store) -> None:
    """Reading what is not there is NotFound, before anything was ever put and after something else was."""
    for _ in range(2):
        for read in (store.get, store.size, lambda name: store.get_range(name, 0, 1)):
            with pytest.raises(NotFound):
                read("snapshots/none")
        with pytest.raises(NotFound):
            store.get_range("snapshots/none", 0, 0)
        if not list(store.list()):
            store.put_new("snapshots/none-but-longer", b"x")


def test_a_range_is_exactly_what_was_asked_for(store: Store) -> None:
    """Ranges at both borders, in the middle and of no length give exactly those bytes."""
    store.put_new("data/ab/ten", b"0123456789")
    for offset, length in ((0, 10), (0, 1), (9, 1), (3, 4), (0, 0), (10, 0), (5, 5)):
        assert store.get_range("data/ab/ten", offset, length) == b"0123456789"[offset : offset + length]


def test_a_range_beyond_the_end_is_damage(store: Store) -> None:
    """An object shorter than what was asked for is Damaged, never a short answer."""
    store.put_new("data/ab/ten", b"0123456789")
    for offset, length in ((0, 11), (9, 2), (10, 1), (11, 0), (500, 1), (1 << 40, 5)):
        with pytest.raises(Damaged):
            store.get_range("data/ab/ten", offset, length)


def test_a_range_before_the_beginning_is_a_mistake(store: Store) -> None:
    """Negative offsets and lengths are refused, not counted from the end."""
    store.put_new("data/ab/ten", b"0123456789")
    for offset, length in ((-1, 1), (0, -1)):
        with pytest.raises(ValueError, match="not a range"):
            store.get_range("data/ab/ten", offset, length)


def test_a_listing_is_of_one_folder_at_any_depth_and_ordered_by_whole_names(store: Store) -> None:
    """A listing holds all of a folder and nothing beside it, in the order of the names as text."""
    names = ["data/ab/1", "data/ab/2", "data/b", "data-b/1", "data/ab-c/1", "data/ab.d", "datab", "a/data/x", "Z"]
    for number, name in enumerate(names):
        store.put_new(name, b"." * number)
    in_data = ["data/ab-c/1", "data/ab.d", "data/ab/1", "data/ab/2", "data/b"]
    assert [found.name for found in store.list()] == sorted(names)
    assert [found.name for found in store.list("data/")] == in_data
    assert [found.name for found in store.list("data/ab/")] == ["data/ab/1", "data/ab/2"]
    assert {found.name: found.size for found in store.list()} == {name: size for size, name in enumerate(names)}
    assert list(store.list("nothing/")) == []


def test_an_empty_store_lists_nothing(store: Store) -> None:
    """A place where nothing was put yet is an empty listing, not an error."""
    assert list(store.list()) == []
    assert list(store.list("data/ab/")) == []


def test_a_listing_shows_every_put_that_has_returned(store: Store) -> None:
    """An object is in the listing that begins right after its put, and the store's clock does not go back."""
    times = []
    for number in range(16):  # more than two of Azure's pages, which are made small here
        store.put_new(f"locks/{number:02d}", b"x")
        assert [found.name for found in store.list("locks/")] == [f"locks/{n:02d}" for n in range(number + 1)]
        times.append(list(store.list("locks/"))[-1].modified)
    assert times == sorted(times)
    assert abs(times[-1] - time.time()) < 120


def test_a_deleted_name_is_free_again(store: Store) -> None:
    """After a delete the name is gone from every view and may be put anew; deleting it twice is no error."""
    store.put_new("locks/a", b"one")
    store.put_new("locks/ab", b"stays")
    store.delete("locks/a")
    store.delete("locks/a")
    with pytest.raises(NotFound):
        store.get("locks/a")
    assert [found.name for found in store.list()] == ["locks/ab"]
    store.put_new("locks/a", b"two")
    assert store.get("locks/a") == b"two"


def test_deleting_from_an_empty_store_is_no_error(store: Store) -> None:
    """What is gone already may be deleted, where there is no folder or container too."""
    store.delete("locks/none")


WRONG_NAMES = [
    "",
    "/",
    "/data/a",
    "data/",
    "data//a",
    "../a",
    "data/../../a",
    "data/./a",
    ".",
    ".hidden",
    "data\\a",
    "data/a b",
    "däta",
    "a\0b",
    "a\n",
    "a.",
    "data/ab/abcd-tmp-0123",
    "x" * 600,
]


def test_a_wrong_name_never_reaches_the_store(store: Store) -> None:
    """Names that could leave the store's folder, or be invisible in it, are refused by every method."""
    calls: list[Callable[[str], object]] = [
        store.get,
        store.size,
        store.delete,
        lambda name: store.get_range(name, 0, 1),
        lambda name: store.put_new(name, b"x"),
    ]
    for name in WRONG_NAMES:
        for call in calls:
            with pytest.raises(ValueError, match="not a name"):
                call(name)
    assert list(store.list()) == []


def test_a_wrong_folder_is_refused(store: Store) -> None:
    """A listing is of a folder: part of a name, or a way out of the store, is a mistake."""
    for prefix in ("data", "/", "../", "data//", "/data/", "da ta/"):
        with pytest.raises(ValueError, match="not a"):
            list(store.list(prefix))


def test_of_32_writers_of_one_name_one_wins(store: Store) -> None:
    """Racing writers: one put succeeds, 31 get AlreadyExists, and what is stored is the winner's, whole."""
    start = threading.Barrier(32)

    def write(number: int) -> bool:
        start.wait()
        try:
            store.put_new("state/heads/000000000001", bytes([number]) * 100_000)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(32) as threads:
        won = list(threads.map(write, range(32)))
    assert won.count(True) == 1
    assert store.get("state/heads/000000000001") == bytes([won.index(True)]) * 100_000
    assert len(list(store.list())) == 1


def test_a_reader_sees_whole_objects_only(store: Store) -> None:
    """While eight threads write, every object that a listing shows has its full length and content."""
    size = 300_000
    writing = threading.Event()

    def write(number: int) -> None:
        store.put_new(f"data/{number % 4:02d}/{number:04d}", bytes([number]) * size)

    def watch() -> int:
        seen = 0
        while not writing.is_set():
            for found in store.list("data/"):
                assert found.size == size
                assert store.get(found.name) == bytes([int(found.name[-4:])]) * size
                seen += 1
        return seen

    with ThreadPoolExecutor(9) as threads:
        watcher = threads.submit(watch)
        for write_result in [threads.submit(write, number) for number in range(40)]:
            write_result.result()
        writing.set()
        watcher.result()
    assert [found.size for found in store.list("data/")] == [size] * 40


NAMES = ["config", "data/aa/1", "data/aa/2", "data/aa-", "index/1", "state/heads/1"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(NAMES), st.binary(max_size=20)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES)),
        st.tuples(st.just("range"), st.sampled_from(NAMES), st.integers(0, 25), st.integers(0, 25)),
    ),
    max_size=30,
)


@pytest.mark.parametrize("kind", ["memory", "folder"])
@given(steps=STEPS)
def test_a_store_behaves_like_a_dictionary(
    kind: str, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    """After any sequence of puts, deletes and range reads a store holds what a dictionary would."""
    store = MemoryStore() if kind == "memory" else LocalFolderStore(tmp_path_factory.mktemp("model"), sync=False)
    model: dict[str, bytes] = {}
    for step in steps:
        match step:
            case ("put", str(name), bytes(data)) if name in model:
                with pytest.raises(AlreadyExists):
                    store.put_new(name, data)
            case ("put", str(name), bytes(data)):
                store.put_new(name, data)
                model[name] = data
            case ("delete", str(name)):
                store.delete(name)
                model.pop(name, None)
            case (_, str(name), int(offset), int(length)):
                check_range_read(store, model, name, offset, length)
    assert {found.name: store.get(found.name) for found in store.list()} == model
    assert [found.name for found in store.list()] == sorted(model)


def check_range_read(store: Store, model: dict[str, bytes], name: str, offset: int, length: int) -> None:
    """The store's answer to a range is what the model says it must be."""
    if name not in model:
        with pytest.raises(NotFound):
            store.get_range(name, offset, length)
    elif offset + length > len(model[name]):
        with pytest.raises(Damaged):
            store.get_range(name, offset, length)
    else:
        assert store.get_range(name, offset, length) == model[name][offset : offset + length]
