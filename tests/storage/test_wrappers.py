"""Stores around stores: one counts, one refuses to write, one fails as its script says."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backup_core.errors import AccessDenied, AlreadyExists, NotFound, Temporary, Usage
from backup_core.storage.memory import MemoryStore
from backup_core.storage.metered import MeteredStore
from backup_core.storage.read_only import ReadOnlyStore
from backup_core.testing.faulty_store import (
    WRITE,
    BreakOff,
    Crash,
    Die,
    Fault,
    FaultyStore,
    Garble,
    Hide,
    LoseReply,
    Meanwhile,
    Refuse,
)


def filled(*names: str) -> MemoryStore:
    """A store with these names, each holding itself."""
    store = MemoryStore()
    for name in names:
        store.put_new(name, name.encode())
    return store


def test_requests_and_bytes_are_counted_as_they_pass() -> None:
    """Every call is a request, also one that fails; bytes count where they arrived."""
    store = MeteredStore(MemoryStore())
    store.put_new("config", memoryview(b"12345"))
    with pytest.raises(AlreadyExists):
        store.put_new("config", b"123")
    store.get("config")
    store.get_range("config", 1, 2)
    with pytest.raises(NotFound):
        store.get("none")
    store.size("config")
    list(store.list())
    store.delete("config")
    assert (store.requests, store.bytes_read, store.bytes_written) == (8, 7, 5)


def test_a_long_listing_counts_its_pages() -> None:
    """Azure bills a listing by 5,000 names: 5,000 are one request and 5,001 are two."""
    inner = filled(*(f"data/{number:05d}" for number in range(5001)))
    store = MeteredStore(inner)
    assert len(list(store.list())) == 5001
    assert store.requests == 2
    inner.delete("data/00000")
    list(store.list())
    assert store.requests == 3


def test_counts_of_many_threads_add_up() -> None:
    """No request and no byte is lost when threads count at once."""
    store = MeteredStore(MemoryStore())
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: store.put_new(f"data/{number}", b"abc"), range(2000)))
    assert (store.requests, store.bytes_written) == (2000, 6000)


def test_a_read_only_store_reads_and_changes_nothing() -> None:
    """Reading passes; a put and a delete are usage errors, and the inner store never hears of them."""
    inner = FaultyStore(filled("config", "data/a"))
    store = ReadOnlyStore(inner)
    assert store.get("config") == b"config"
    assert store.get_range("config", 0, 3) == b"con"
    assert store.size("config") == 6
    assert [found.name for found in store.list("data/")] == ["data/a"]
    for change in (lambda: store.put_new("new", b""), lambda: store.delete("config")):
        with pytest.raises(Usage, match="reading only"):
            change()
    assert inner.writes == 0


def test_a_refused_call_has_no_effect_and_a_lost_reply_has_it() -> None:
    """The two ways in which a put can fail leave two different worlds behind."""
    inner = MemoryStore()
    plan = [Fault(Refuse(), "put_new", name="a"), Fault(LoseReply(), "put_new", name="b")]
    with FaultyStore(inner, plan) as store:
        for name in ("a", "b"):
            with pytest.raises(Temporary):
                store.put_new(name, b"x")
        store.put_new("a", b"y")
    assert [(found.name, inner.get(found.name)) for found in inner.list()] == [("a", b"y"), ("b", b"x")]


def test_a_fault_waits_for_its_turn_and_ends_after_its_times() -> None:
    """The second and third matching calls fail, the first and fourth do not; other names do not count."""
    plan = [Fault(Refuse(lambda: AccessDenied("no")), "get", name="^data/", nth=2, times=2)]
    with FaultyStore(filled("data/a", "other"), plan) as store:
        outcomes = []
        for name in ("data/a", "other", "data/a", "other", "data/a", "data/a"):
            try:
                store.get(name)
                outcomes.append("ok")
            except AccessDenied:
                outcomes.append("no")
        assert outcomes == ["ok", "ok", "no", "ok", "no", "ok"]


def test_a_fault_that_never_fired_fails_the_test() -> None:
    """A script that was not played to its end is an AssertionError that names what did not happen."""
    with (
        pytest.raises(AssertionError, match=re.escape("times=2")),
        FaultyStore(filled("a"), [Fault(LoseReply(), "get", times=2)]) as store,
        pytest.raises(Temporary),
    ):
        store.get("a")


def test_a_test_that_failed_anyway_keeps_its_own_error() -> None:
    """Unfired faults do not hide why the block really failed."""
    with pytest.raises(ZeroDivisionError), FaultyStore(MemoryStore(), [Fault(Refuse())]):
        raise ZeroDivisionError


@pytest.mark.parametrize(("after", "expected"), [(False, ["a"]), (True, ["a", "b"])])
def test_after_its_death_a_process_reaches_nothing(after: bool, expected: list[str]) -> None:
    """A crash at the second write comes before or after its effect, and every later call dies as well."""
    inner = MemoryStore()
    with FaultyStore(inner, [Fault(Die(after=after), WRITE, nth=2)]) as store:
        store.put_new("a", b"")
        with pytest.raises(Crash):
            store.put_new("b", b"")
        for late in (lambda: store.put_new("c", b""), lambda: store.get("a"), store.list, lambda: store.delete("a")):
            with pytest.raises(Crash):
                late()
    assert [found.name for found in inner.list()] == expected
    assert store.writes == 2


def test_calls_are_the_places_where_a_run_can_die() -> None:
    """Every call is recorded in order, refused ones too, so that a test can die at each of them in turn."""
    with FaultyStore(MemoryStore(), [Fault(Refuse(), "put_new")]) as store:
        with pytest.raises(Temporary):
            store.put_new("a", b"")
        store.put_new("a", b"")
        store.size("a")
        list(store.list())
        store.delete("a")
    told = [f"{call.method} {call.name}".strip() for call in store.calls]
    assert told == ["put_new a", "put_new a", "size a", "list", "delete a"]
    assert store.writes == 3


def test_content_can_be_garbled_on_its_way() -> None:
    """Reads return what the script makes of the bytes; what is stored stays as it is."""
    inner = filled("a")
    plan = [Fault(Garble(lambda data: data[::-1] + b"!"), times=2)]
    with FaultyStore(inner, plan) as store:
        assert store.get("a") == b"a!"
        assert store.get_range("a", 0, 1) == b"a!"
        assert store.get("a") == b"a"


def test_a_listing_can_be_stale_or_break_off() -> None:
    """Hidden names are missing from one listing only, and a broken one raises after its first names."""
    plan = [Fault(Hide("b$"), "list"), Fault(BreakOff(1), "list", nth=2)]
    with FaultyStore(filled("a", "b", "c"), plan) as store:
        assert [found.name for found in store.list()] == ["a", "c"]
        listing = store.list()
        assert next(listing).name == "a"
        with pytest.raises(Temporary):
            next(listing)
        assert len(list(store.list())) == 3


def test_something_may_happen_meanwhile() -> None:
    """Another writer can be first, right before the call goes on."""
    inner = MemoryStore()
    with FaultyStore(inner, [Fault(Meanwhile(lambda: inner.put_new("a", b"theirs")), "put_new")]) as store:
        with pytest.raises(AlreadyExists):
            store.put_new("a", b"ours")
        assert store.get("a") == b"theirs"


def test_of_many_threads_exactly_the_nth_call_fails() -> None:
    """A fault fires on one call however many threads race for it."""
    start = threading.Barrier(16)
    with FaultyStore(MemoryStore(), [Fault(Refuse(), "put_new", nth=5, times=3)]) as store:

        def put(number: int) -> bool:
            start.wait()
            try:
                store.put_new(f"data/{number}", b"")
            except Temporary:
                return False
            return True

        with ThreadPoolExecutor(16) as threads:
            assert list(threads.map(put, range(16))).count(False) == 3
