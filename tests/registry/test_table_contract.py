"""Every sentence of the table's contract, held against the table in memory and the one of Azure."""

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from backup_core.errors import Temporary, Usage
from backup_core.registry.table import (
    CHANGES_MAX,
    TEXT_UNITS_MAX,
    Change,
    Conflict,
    Delete,
    Insert,
    Put,
    Replace,
    Row,
    Table,
    commit,
)
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.memory_table import MemoryTable


def read(table: Table, key: str, partition: str = "home") -> Row:
    """A row that must be there."""
    row = table.get(partition, key)
    assert row is not None
    return row


def keys_in(table: Table, first: str = "!", before: str = "~~~", partition: str = "home") -> list[str]:
    """The keys of a range."""
    return [row.key for row in table.rows(partition, first, before)]


def test_a_table_that_does_not_exist_is_empty_and_made_by_the_first_write(table: Table) -> None:
    """Nobody has to create a table before it is used."""
    assert table.get("home", "a") is None
    assert keys_in(table) == []
    table.transact("home", [Insert("a", {}), Insert("b", {})])
    assert keys_in(table) == ["a", "b"]


def test_create_may_be_called_again(table: Table) -> None:
    """A table that is there is no error, and keeps its rows."""
    table.create()
    table.transact("home", [Insert("a", {"n": 1})])
    table.create()
    assert read(table, "a").values == {"n": 1}


def test_values_come_back_as_they_were(table: Table) -> None:
    """Each kind of value keeps its type, at the ends of its range and in any script."""
    values = {
        "text": "Zoë's “Ordner” \U0001f5c4 \\ / # ? % ' \" \n",
        "empty": "",
        "long": "€" * TEXT_UNITS_MAX,
        "small": -1,
        "large": (1 << 63) - 1,
        "least": -(1 << 63),
        "share": 0.1,
        "whole": 3.0,
        "yes": True,
        "no": False,
    }
    table.transact("home", [Insert("a", values)])
    found = read(table, "a")
    assert found[:3] == ("home", "a", values)
    assert {name: type(value) for name, value in found.values.items()} == {n: type(v) for n, v in values.items()}
    assert next(table.rows("home", "a", "b")) == found


@pytest.mark.parametrize("together", [False, True])
def test_insert_wants_no_row_there(table: Table, together: bool) -> None:
    """Of two writers of a new row the second gets Conflict, alone or within a transaction."""
    table.transact("home", [Insert("a", {"n": 1})])
    with pytest.raises(Conflict):
        table.transact("home", [*([Insert("b", {})] if together else []), Insert("a", {"n": 2})])
    assert read(table, "a").values == {"n": 1}
    assert keys_in(table) == ["a"]


@pytest.mark.parametrize("together", [False, True])
def test_replace_wants_the_version_that_was_read(table: Table, together: bool) -> None:
    """Only who read the newest version can replace a row, which then holds nothing of the old one."""
    beside: list[Change] = [Put("b", {})] if together else []
    table.transact("home", [Insert("a", {"n": 1, "old": "x"})])
    first = read(table, "a")
    table.transact("home", [*beside, Replace("a", {"n": 2}, first.etag)])
    second = read(table, "a")
    assert second.values == {"n": 2}
    assert second.etag != first.etag
    with pytest.raises(Conflict):
        table.transact("home", [*beside, Replace("a", {"n": 3}, first.etag)])
    with pytest.raises(Conflict):
        table.transact("home", [*beside, Replace("absent", {}, second.etag)])
    assert read(table, "a") == second


@pytest.mark.parametrize("together", [False, True])
def test_delete_wants_a_row(table: Table, together: bool) -> None:
    """A row is deleted in the version that was read, or in any; one that is gone is Conflict."""
    beside: list[Change] = [Put("z", {})] if together else []
    table.transact("home", [Insert("a", {}), Insert("b", {})])
    old = read(table, "a")
    table.transact("home", [Replace("a", {"n": 2}, old.etag)])
    with pytest.raises(Conflict):
        table.transact("home", [*beside, Delete("a", old.etag)])
    table.transact("home", [*beside, Delete("a", read(table, "a").etag)])
    table.transact("home", [*beside, Delete("b")])
    for gone in (Delete("a"), Delete("a", old.etag)):
        with pytest.raises(Conflict):
            table.transact("home", [*beside, gone])
    assert keys_in(table, "a", "c") == []


@pytest.mark.parametrize("together", [False, True])
def test_put_takes_what_is_there(table: Table, together: bool) -> None:
    """Put writes a row whether there is one or not, and leaves nothing of the old values."""
    beside: list[Change] = [Put("b", {})] if together else []
    table.transact("home", [*beside, Put("a", {"n": 1, "old": "x"})])
    table.transact("home", [*beside, Put("a", {"n": 2})])
    assert read(table, "a").values == {"n": 2}


def test_a_transaction_is_all_or_nothing(table: Table) -> None:
    """The last of a hundred changes fails, and none of them was made."""
    table.transact("home", [Insert("there", {"n": 1})])
    changes: list[Change] = [Put(f"new{n:03d}", {}) for n in range(97)]
    changes += [Replace("there", {"n": 2}, read(table, "there").etag), Put("more", {}), Delete("absent")]
    with pytest.raises(Conflict):
        table.transact("home", changes)
    assert keys_in(table) == ["there"]
    assert read(table, "there").values == {"n": 1}
    table.transact("home", changes[:-1])
    assert len(keys_in(table)) == 99


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [Put(f"k{n}", {}) for n in range(CHANGES_MAX + 1)],
        [Put("a", {}), Delete("a")],
        [Put("a/b", {})],
        [Put("a#b", {})],
        [Put("a\x7fb", {})],
        [Put("", {})],
        [Put("a" * 513, {})],
        [Put("a", {"text": "€" * (TEXT_UNITS_MAX + 1)})],
        [Put("a", {"text": "\U0001f5c4" * (TEXT_UNITS_MAX // 2 + 1)})],
        [Put("a", {"half": "\ud800"})],
        [Put("a", {"number": 1 << 63})],
        [Put("a", {"no-drive": 1})],
        [Put("a", {"list": ["x"]})],  # type: ignore[dict-item]
        [Put("a", {"none": None})],  # type: ignore[dict-item]
    ],
)
def test_what_no_table_can_hold_is_refused_before_anything_is_sent(table: Table, changes: Sequence[Change]) -> None:
    """Azure's limits are everybody's limits, so that a test in memory meets them, too."""
    with pytest.raises(Usage):
        table.transact("home", changes)
    assert keys_in(table) == []


def test_rows_come_by_key_from_one_partition(table: Table) -> None:
    """A range holds its first key and not its last, character by character, whatever the order of writing."""
    names = [
        "due:2026-11-25T16:48:25.123Z:b",
        "due:2026-11-25T16:48:25.123Z:a",
        "a",
        "B",
        "a!",
        "a0",
        "due;",
        "~",
        "-1",
    ]
    table.transact("home", [Insert(name, {}) for name in names])
    table.transact("away", [Insert("a", {})])
    assert keys_in(table) == sorted(names)
    assert keys_in(table, "due:", "due;") == sorted(names[:2])
    assert keys_in(table, "a", "a0") == ["a", "a!"]
    assert keys_in(table, "b", "a") == []


def test_rows_can_be_limited_and_sorted_out_by_the_table(table: Table) -> None:
    """Columns, conditions and a limit hold together, across pages."""
    for start in range(0, 250, 50):
        rows = [
            Insert(f"{n:03d}", {"odd": n % 2 == 1, "n": n, "kind": "it's", "w": n / 4})
            for n in range(start, start + 50)
        ]
        table.transact("home", rows)
    odd = list(table.rows("home", "000", "9", limit=120, columns=["n", "absent"], where={"odd": True, "kind": "it's"}))
    assert [row.values for row in odd] == [{"n": n} for n in range(1, 240, 2)]
    assert odd[0].etag == read(table, "001").etag
    assert [row.key for row in table.rows("home", "000", "9", where={"n": 7})] == ["007"]
    assert [row.key for row in table.rows("home", "000", "9", where={"w": 1.75})] == ["007"]
    assert list(table.rows("home", "000", "9", limit=0)) == []
    assert len(list(table.rows("home", "000", "9"))) == 250


def test_rows_are_read_as_they_are_asked_for() -> None:
    """Whoever stops after ten rows of many has not read the rest."""
    table = MemoryTable()
    for start in range(0, 1000, 100):
        table.transact("home", [Insert(f"{n:04d}", {}) for n in range(start, start + 100)])
    table.requests = 0
    assert len(list(itertools.islice(table.rows("home", "0", "9"), 10))) == 10
    assert (table.requests, table.rows_read) == (1, 100)
    list(table.rows("home", "0", "9", limit=10))
    assert (table.requests, table.rows_read) == (2, 110)


def test_of_many_writers_of_one_version_one_wins(table: Table) -> None:
    """Sixteen threads replace what they all have read: once. Eight insert the same row: once."""
    table.transact("home", [Insert("a", {"n": 0})])
    etag = read(table, "a").etag
    start = threading.Barrier(16)

    def write(n: int) -> bool:
        start.wait()
        try:
            table.transact("home", [Replace("a", {"n": n}, etag) if n % 2 else Insert("b", {"n": n})])
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(write, range(16)))
    assert sum(won[1::2]) == sum(won[::2]) == 1
    assert (read(table, "a").values["n"], read(table, "b").values["n"]) == (
        won[1::2].index(True) * 2 + 1,
        won[::2].index(True) * 2,
    )


def test_commit_loses_no_step_of_many_writers(table: Table) -> None:
    """Twelve threads add to one number five times each, and it is 60."""
    clock = FakeClock()

    def add() -> list[Change]:
        row = table.get("home", "sum")
        return [Replace("sum", {"n": int(row.values["n"]) + 1}, row.etag) if row else Insert("sum", {"n": 1})]

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: commit(table, clock, "home", add, tries=500), range(60)))
    assert read(table, "sum").values["n"] == 60


def test_commit_ends_where_nothing_is_left_to_do() -> None:
    """A success whose reply was lost shows as Conflict; reading again finds it done."""
    table = MemoryTable()
    wanted = Insert("a", {})

    def insert() -> list[Change]:
        if table.get("home", "a"):
            return []
        table.transact("home", [wanted])  # arrives, but its reply does not
        return [wanted]

    commit(table, FakeClock(), "home", insert)
    assert keys_in(table) == ["a"]


def test_commit_gives_up_after_its_tries_and_passes_on_what_the_caller_raises() -> None:
    """Others who are first each time end in Temporary; a Conflict of the caller's own is not tried again."""
    table, clock, calls = MemoryTable(), FakeClock(), 0
    table.transact("home", [Insert("a", {})])
    with pytest.raises(Temporary) as told:
        commit(table, clock, "home", lambda: [Insert("a", {})], tries=5)
    assert told.value.reason == "busy"
    assert len(clock.sleeps) == 5
    assert max(clock.sleeps) < 1

    def stale() -> list[Change]:
        nonlocal calls
        calls += 1
        raise Conflict("If-Match")

    with pytest.raises(Conflict):
        commit(table, clock, "home", stale)
    assert calls == 1
