"""The packer: what many threads put in is stored whole, bounded in memory, and no failure is silent."""

import hashlib
import random
import threading
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Damaged, DrivekeepError, Temporary
from backup_core.repository import layout, packer
from backup_core.repository.crypto import Keys
from backup_core.repository.pack import Pack, open_blob, read_header
from backup_core.repository.packer import Packer
from backup_core.repository.repository import Repository
from backup_core.storage.memory import MemoryStore
from backup_core.storage.store import Buffer, Store


def blob_id(plain: Buffer) -> bytes:
    return hashlib.sha256(plain).digest()


def repository_over(store: Store, version: int = 2) -> Repository:
    return Repository(store, Keys.random(), "0" * 64, version, store)


def pack_all(
    repository: Repository, plains: Iterable[Buffer], pack_bytes: int = 4096, *, tree: bool = False
) -> list[Pack]:
    packing = Packer(repository, tree=tree, pack_bytes=pack_bytes, in_flight=2)
    for plain in plains:
        packing.add(blob_id(plain), plain)
    return packing.finish()


def stored_blobs(repository: Repository, packs: list[Pack]) -> list[bytes]:
    """The plain bytes of all blobs, read back from the store; every pack is what it says."""
    plains = []
    for pack in packs:
        data = repository.store.get(layout.pack_name(pack.id.hex()))
        assert (blob_id(data), len(data)) == (pack.id, pack.size)
        assert read_header(repository.keys, data, len(data)) == pack.blobs
        for blob in pack.blobs:
            plain = open_blob(repository.keys, data[blob.offset : blob.offset + blob.length], blob.raw_length)
            assert blob_id(plain) == blob.id
            plains.append(plain)
    return plains


@given(st.lists(st.binary(max_size=3000), max_size=12), st.booleans(), st.sampled_from([1, 2]))
def test_everything_added_is_stored(plains: list[bytes], tree: bool, version: int) -> None:
    """After `finish` every blob can be read from the store, in the order given, whatever its bytes and length."""
    repository = repository_over(MemoryStore(), version)
    packs = pack_all(repository, plains, tree=tree)
    assert sorted(stored_blobs(repository, packs)) == sorted(plains)
    assert len(list(repository.store.list())) == len(packs)
    for pack in packs:
        assert all(blob.tree == tree for blob in pack.blobs)
        assert version == 2 or not any(blob.raw_length for blob in pack.blobs)


def test_nothing_added_stores_nothing(memory_repository: Repository) -> None:
    """A packer that got nothing leaves no empty pack."""
    assert pack_all(memory_repository, []) == []
    assert list(memory_repository.store.list()) == []


def test_many_threads_may_add(memory_repository: Repository) -> None:
    """Eight threads that add at the same time lose nothing and mix up nothing, from buffers that they reuse."""
    packing = Packer(memory_repository, tree=False, pack_bytes=100_000, in_flight=3)
    expected: list[bytes] = []

    def work(number: int) -> None:
        source, window = random.Random(number), bytearray(20_000)
        for _ in range(60):
            length = source.randrange(20_000)
            window[:length] = source.choice([source.randbytes, lambda n: bytes([number]) * n])(length)
            view = memoryview(window)[:length]
            expected.append(bytes(view))
            packing.add(blob_id(view), view)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    packs = packing.finish()
    assert sorted(stored_blobs(memory_repository, packs)) == sorted(expected)
    assert all(pack.size >= 100_000 for pack in packs[:-4])


def test_what_does_not_shrink_is_stored_as_it_is(memory_repository: Repository) -> None:
    """A blob that compression would make longer is stored uncompressed; it never costs more than its own bytes."""
    random_bytes, text = random.Random(1).randbytes(2000), b"text " * 400
    (pack,) = pack_all(memory_repository, [random_bytes, text], pack_bytes=1 << 20)
    assert (pack.blobs[0].length - 32, pack.blobs[0].raw_length) == (2000, 0)
    assert pack.blobs[1].raw_length == 2000
    assert pack.blobs[1].length < 200


def test_a_blob_larger_than_any_buffer(memory_repository: Repository) -> None:
    """The tree of a giant folder, longer than any buffer, is stored as well, and small ones around it."""
    giant = random.Random(2).randbytes(9 << 20)
    plains = [b"before", giant, b"after", giant[1:], giant[:-1]]
    packs = pack_all(memory_repository, plains, pack_bytes=1000, tree=True)
    assert sorted(stored_blobs(memory_repository, packs)) == sorted(plains)


def test_a_pack_of_tiny_blobs_is_closed_by_their_number(memory_repository: Repository) -> None:
    """A header never outgrows its room, however small the blobs are."""
    packing = Packer(memory_repository, tree=False, pack_bytes=16 << 20, in_flight=1)
    for number in range(packer.BLOBS_MAX + 1):
        plain = number.to_bytes(4, "big")
        packing.add(blob_id(plain), plain)
    assert [len(pack.blobs) for pack in packing.finish()] == [packer.BLOBS_MAX, 1]


class GatedStore(MemoryStore):
    """Puts wait until `gate` is set; `entered` counts those that began."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)

    def put_new(self, name: str, data: Buffer) -> None:
        self.entered.release()
        assert self.gate.wait(30)
        super().put_new(name, data)


def test_a_slow_store_slows_the_callers_down() -> None:
    """While all store threads are busy `add` waits: one open pack and `in_flight` are all the memory there is."""
    store = GatedStore()
    repository = repository_over(store)
    packing = Packer(repository, tree=False, pack_bytes=1000, in_flight=2)
    source, added = random.Random(3), threading.Semaphore(0)
    plains = [source.randbytes(1000) for _ in range(6)]

    def add_all() -> None:
        for plain in plains:
            packing.add(blob_id(plain), plain)
            added.release()

    thread = threading.Thread(target=add_all)
    thread.start()
    for _ in range(3):  # two packs are being put, the third waits for a thread, and with it the last buffer is gone
        assert added.acquire(timeout=30)
    assert not added.acquire(timeout=0.1)
    assert all(store.entered.acquire(timeout=30) for _ in range(2))
    assert not store.entered.acquire(timeout=0.1)
    store.gate.set()
    thread.join()
    assert sorted(stored_blobs(repository, packing.finish())) == sorted(plains)


class FailingStore(MemoryStore):
    """Fails from the `nth` put on."""

    def __init__(self, nth: int, error: BaseException) -> None:
        super().__init__()
        self.nth, self.error, self.puts = nth, error, 0

    def put_new(self, name: str, data: Buffer) -> None:
        self.puts += 1
        if self.puts >= self.nth:
            raise self.error
        super().put_new(name, data)


@pytest.mark.parametrize("error", [Temporary("down"), KeyboardInterrupt(), OSError("disk")])
def test_a_failed_put_reaches_the_caller(error: BaseException) -> None:
    """What a store thread ran into is raised by `add` soon and by `finish` surely: no pack is ever missing silently."""
    packing = Packer(repository_over(FailingStore(2, error)), tree=False, pack_bytes=1000, in_flight=2)
    source = random.Random(4)
    with pytest.raises(type(error)):
        for _ in range(100):
            plain = source.randbytes(1500)
            packing.add(blob_id(plain), plain)
    with pytest.raises(type(error)):
        packing.finish()


def test_a_failure_of_the_very_last_pack_reaches_finish() -> None:
    """The pack that only `finish` closes counts like any other."""
    packing = Packer(repository_over(FailingStore(1, Temporary("down"))), tree=False, pack_bytes=1000, in_flight=2)
    packing.add(blob_id(b"x"), b"x")
    with pytest.raises(Temporary):
        packing.finish()


def test_callers_that_wait_learn_of_a_failure() -> None:
    """Threads that wait for a buffer are let go when the store fails: nobody hangs."""
    packing = Packer(repository_over(FailingStore(1, Temporary("down"))), tree=False, pack_bytes=100, in_flight=1)
    failed = threading.Semaphore(0)

    def work(number: int) -> None:
        plain = bytes([number]) * 10 + random.Random(number).randbytes(200)
        try:
            while True:
                packing.add(blob_id(plain), plain)
        except Temporary:
            failed.release()

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(6)]
    for thread in threads:
        thread.start()
    assert all(failed.acquire(timeout=30) for _ in threads)
    packing.abort()


def test_abort_leaves_no_threads(memory_repository: Repository) -> None:
    """After `abort` the threads are gone, nothing more is stored, and adding says that it is over."""
    before = set(threading.enumerate())
    packing = Packer(memory_repository, tree=False, pack_bytes=1000, in_flight=2)
    source = random.Random(5)
    for _ in range(5):
        plain = source.randbytes(700)
        packing.add(blob_id(plain), plain)
    packing.abort()
    stored = len(list(memory_repository.store.list()))
    assert set(threading.enumerate()) <= before
    with pytest.raises(DrivekeepError):
        packing.add(blob_id(b"x"), b"x")
    with pytest.raises(DrivekeepError):
        packing.finish()
    packing.abort()
    assert len(list(memory_repository.store.list())) == stored


def test_a_flaw_in_memory_is_found_before_the_put(
    memory_repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content that is not what was hashed (a bit flipped in between) is never stored under that hash."""
    packing = Packer(memory_repository, tree=False, pack_bytes=1000, in_flight=1)
    packing.add(blob_id(b"the right bytes"), b"the wrong bytes")
    with pytest.raises(Damaged, match="was not stored"):
        packing.finish()
    assert list(memory_repository.store.list()) == []

    real = packer.append_header

    def flip(keys: Keys, blobs: list[object], out: memoryview, at: int) -> int:
        out[at // 2] ^= 1
        return real(keys, blobs, out, at)  # type: ignore[arg-type]

    monkeypatch.setattr(packer, "append_header", flip)
    with pytest.raises(Damaged):
        pack_all(memory_repository, [b"content " * 20])
    assert list(memory_repository.store.list()) == []


def test_a_pack_that_is_there_already_is_success() -> None:
    """A put whose reply was lost and that is answered "exists" counts; an object of another length there does not."""

    class LostReply(MemoryStore):
        def put_new(self, name: str, data: Buffer) -> None:
            super().put_new(name, data)
            super().put_new(name, data)  # the second try of a client that did not hear the first answer

    repository = repository_over(LostReply())
    assert stored_blobs(repository, pack_all(repository, [b"x"])) == [b"x"]


def test_data_goes_to_the_content_store_and_trees_do_not(memory_repository: Repository) -> None:
    """Only data packs may lie in a cooler tier: trees are read by every run."""
    cool = MemoryStore()
    repository = Repository(memory_repository.store, memory_repository.keys, "0" * 64, 2, cool)
    pack_all(repository, [b"tree"], tree=True)
    pack_all(repository, [b"data"])
    assert len(list(cool.list())) == len(list(memory_repository.store.list())) == 1


def test_buffers_are_reused(memory_repository: Repository) -> None:
    """A packer holds at most one buffer more than it has packs in flight, however much goes through it."""
    packing = Packer(memory_repository, tree=False, pack_bytes=2000, in_flight=2)
    source, seen = random.Random(6), set()
    for _ in range(40):
        plain = source.randbytes(1500)
        packing.add(blob_id(plain), plain)
        if packing._open:
            seen.add(id(packing._open.buffer.obj))
    packing.finish()
    assert 1 <= len(seen) <= 3
