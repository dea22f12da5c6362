"""Accounts, and the rows that follow each of them: the due list, the names, the counts."""

import datetime
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import DrivekeepError, Interrupted, Temporary
from backup_core.registry import keys
from backup_core.registry.accounts import CHANGES_EACH, PROTECTED, STATES, Account, Accounts, LastRun
from backup_core.registry.table import Change, Conflict, Insert, Put, Table, commit
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.memory_table import MemoryTable

TENANT = "7f3c0b1e-52a4-4c8e-9d0c-6a1f2b3c4d5e"
NOW = datetime.datetime(2026, 11, 25, 16, 48, 25, 123000, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)


def save(table: Table, before: Account | None, after: Account) -> Account:
    """The account as it is stored then."""
    accounts = Accounts(table)
    table.transact(TENANT, accounts.changes(before, after))
    stored = accounts.get(TENANT, after.id)
    assert stored is not None
    return stored


def keys_of(table: Table, prefix: str) -> list[str]:
    """The keys of one kind of rows."""
    return [row.key for row in table.rows(TENANT, prefix, keys.end(prefix))]


def check_everything_agrees(table: Table) -> None:
    """Counts equal a recount, the due list is exactly who is to be backed up, and each name leads to its account."""
    accounts = Accounts(table)
    everybody = accounts.page(TENANT, None, 10_000)
    counts = accounts.counts(TENANT)
    assert counts.states == Counter(account.state for account in everybody)
    assert counts.outcomes == Counter(account.outcome for account in everybody if account.state == PROTECTED)
    due = {account.id: account.next_due_at for account in everybody if account.state == PROTECTED and account.included}
    expected = sorted(f"due:{keys.stamp(at)}:{account}" for account, at in due.items() if at)
    assert keys_of(table, keys.DUE) == expected
    names = {account.upn.lower() for account in everybody if account.upn}
    assert len(keys_of(table, keys.UPNS)) == len(names)
    for name in names:
        found = accounts.find(TENANT, name.upper())
        assert found is not None
        assert found.upn.lower() == name


def test_an_account_comes_back_as_it_was_saved(table: Table) -> None:
    """Every field keeps its value, also the empty ones."""
    full = Account(
        id="0F8FAD5B-D9CB-469F-A165-70867728950E",
        tenant=TENANT.upper(),
        upn="Zoë.Möller@Example.com",
        display_name="Zoë “Z” Möller",
        drive_id="b!x",
        state="sign-in-again",
        included=False,
        schedule="0 3 * * 1",
        exclude=("*.tmp", "Ordner/ß"),
        tags=("vip", "a,b"),
        last_run=LastRun("run-1", "incomplete", NOW),
        last_success_at=NOW,
        next_due_at=NOW + MINUTE,
        repository="azure:drivekeep:/x/y",
        outcome="incomplete",
        no_drive_checked_at=NOW - MINUTE,
        created_at=NOW - 2 * MINUTE,
        state_before="protected",
    )
    stored = save(table, None, full)
    assert stored == full
    assert stored.etag
    assert stored.id == "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert (stored.tenant, Accounts(table).get(TENANT, full.id.upper())) == (TENANT, full)
    empty = save(table, None, Account("b", TENANT))
    assert empty == Account("b", TENANT)
    running = save(table, empty, replace(empty, last_run=LastRun("run-2", "running")))
    assert running.last_run == LastRun("run-2", "running", None)


def test_an_account_is_found_by_the_name_that_it_has_now(table: Table) -> None:
    """By id in any spelling, by name in any spelling, not by a former name, and never from another tenant."""
    anna = save(table, None, Account("A1", TENANT, upn="Anna@example.com"))
    accounts = Accounts(table)
    assert accounts.find(TENANT, "a1") == accounts.find(TENANT, "ANNA@EXAMPLE.COM") == anna
    assert accounts.find("other", "a1") is accounts.find("other", "anna@example.com") is None
    renamed = save(table, anna, replace(anna, upn="anna.new@example.com"))
    assert accounts.find(TENANT, "anna@example.com") is None
    assert accounts.find(TENANT, "anna.new@example.com") == renamed
    save(table, renamed, replace(renamed, upn=""))
    assert keys_of(table, keys.UPNS) == []


def test_a_name_leads_to_nobody_who_does_not_have_it() -> None:
    """Who is renamed between the two reads of a search is not shown under the former name."""
    table = MemoryTable()
    anna = save(table, None, Account("a", TENANT, upn="anna@example.com"))
    (former,) = table.rows(TENANT, keys.UPNS, keys.end(keys.UPNS))
    save(table, anna, replace(anna, upn="new@example.com"))
    table.transact(TENANT, [Put(former.key, former.values)])
    assert Accounts(table).find(TENANT, "anna@example.com") is None


def test_a_name_that_somebody_else_took_stays_theirs(table: Table) -> None:
    """A leaver's address is given to a new person: it leads to the new one, also when the leaver is changed later."""
    old = save(table, None, Account("old", TENANT, upn="info@example.com"))
    new = save(table, None, Account("new", TENANT, upn="info@example.com"))
    save(table, old, replace(old, upn="gone@example.com"))
    assert Accounts(table).find(TENANT, "info@example.com") == new
    check_everything_agrees(table)


def test_two_people_can_swap_names_in_one_transaction(table: Table) -> None:
    """The row of each name is written once, and leads to the one who has it now."""
    one = save(table, None, Account("1", TENANT, upn="a@example.com"))
    two = save(table, None, Account("2", TENANT, upn="b@example.com"))
    accounts = Accounts(table)
    pairs = [(one, replace(one, upn=two.upn)), (two, replace(two, upn=one.upn))]
    table.transact(TENANT, accounts.changes_of(pairs))
    assert accounts.find(TENANT, "a@example.com") == replace(two, upn="a@example.com")
    check_everything_agrees(table)


def test_pages_go_on_after_the_last_id_and_sort_out_by_state(table: Table) -> None:
    """Every account appears once, by id, and no further one is read for a page."""
    accounts = Accounts(table)
    ids = [f"{n:02d}" for n in range(17)] + ["0", "00-", "a b/c#?", "Ä", "x" * 2000]
    for id in ids:
        save(table, None, Account(id, TENANT, state="guest" if id.startswith("1") else PROTECTED))
    for state in (None, "guest"):
        seen: list[str] = []
        while page := accounts.page(TENANT, seen[-1] if seen else None, 4, state):
            assert len(page) <= 4
            seen += [account.id for account in page]
        assert sorted(seen) == sorted(id.lower() for id in ids if state is None or id.startswith("1"))


def test_due_accounts_are_read_by_time_and_no_other_row(table: Table) -> None:
    """The longest due comes first; who is due later, excluded, pending or has no time is not there."""
    accounts = Accounts(table)
    for n, minutes in enumerate((5, -1, 0, -60)):
        save(table, None, Account(f"a{n}", TENANT, next_due_at=NOW + minutes * MINUTE))
    save(table, None, Account("excluded", TENANT, next_due_at=NOW - MINUTE, included=False))
    save(table, None, Account("pending", TENANT, next_due_at=NOW - MINUTE, state="pending"))
    save(table, None, Account("timeless", TENANT))
    assert accounts.due(TENANT, NOW, 10) == ["a3", "a1", "a2"]
    assert accounts.due(TENANT, NOW, 2) == ["a3", "a1"]
    assert accounts.overdue(TENANT, NOW) == ["a3", "a1"]
    assert accounts.due(TENANT, NOW - datetime.timedelta(milliseconds=1), 10) == ["a3", "a1"]
    check_everything_agrees(table)


def test_a_change_of_an_old_version_changes_nothing(table: Table) -> None:
    """Whoever read an account before somebody else changed it gets Conflict, and counts and due list stay true."""
    read = save(table, None, Account("a", TENANT, next_due_at=NOW))
    save(table, read, replace(read, state="excluded"))
    with pytest.raises(Conflict):
        save(table, read, replace(read, state="left"))
    with pytest.raises(Conflict):
        save(table, None, Account("a", TENANT))
    assert Accounts(table).counts(TENANT).states == {"excluded": 1}
    check_everything_agrees(table)


def test_an_account_changes_few_rows(table: Table) -> None:
    """What changes nothing that is counted leaves the counts alone; the most is what callers plan with."""
    accounts = Accounts(table)
    first = save(table, None, Account("a", TENANT, upn="a@example.com", next_due_at=NOW))
    assert [change.key for change in accounts.changes(first, replace(first, display_name="A"))] == ["account:a"]
    moved = replace(first, upn="b@example.com", next_due_at=NOW + MINUTE, outcome="complete")
    assert len(accounts.changes(first, moved)) == CHANGES_EACH + 1


def test_a_row_of_a_later_version_is_not_misread(table: Table) -> None:
    """A newer drivekeep's row is refused by name, not taken for something else."""
    table.transact(TENANT, [Insert("account:a", {"format": 2, "id": "a", "tenant": TENANT})])
    with pytest.raises(DrivekeepError) as told:
        Accounts(table).get(TENANT, "a")
    assert told.value.reason == "newer-format"


def test_half_a_character_in_a_name_stops_nobody(table: Table) -> None:
    """Graph can pass on half of a pair; the name is kept with a question mark."""
    assert save(table, None, Account("a", TENANT, display_name="x\ud83d", tags=("\udc00",))).display_name == "x?"


# -- any order of changes ----------------------------------------------------------------------------------------------

_TIMES = st.none() | st.integers(-3, 3).map(lambda n: NOW + n * MINUTE)
_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(STATES),
        "included": st.booleans(),
        "outcome": st.sampled_from(["", "complete", "incomplete", "failed"]),
        "next_due_at": _TIMES,
        "upn": st.sampled_from(["", "a@x.com", "A@X.com", "b@x.com", "c@x.com"]),
        "tags": st.just(("t",)),
    },
)
_STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), _CHANGES), max_size=40)


class FailingTable(MemoryTable):
    """Loses the connection at the requests that a test names: before a write is done, or only its reply."""

    def __init__(self, failures: dict[int, str]) -> None:
        super().__init__()
        self._failures = failures
        self._writes = 0

    def transact(self, partition: str, changes: Any) -> None:
        self._writes += 1
        failure = self._failures.get(self._writes)
        if failure == "before":
            raise Temporary("lost")
        super().transact(partition, changes)
        if failure == "killed":
            raise Interrupted("killed")
        if failure == "reply":
            raise Conflict("the edge sent it again and met its own success")


def unique_name(account: str, values: dict[str, Any]) -> dict[str, Any]:
    """Two accounts of one directory never have one name at the same time."""
    return {**values, "upn": account + values["upn"]} if values.get("upn") else values


def apply(table: Table, account_id: str, values: dict[str, Any]) -> None:
    """One change as every caller makes it."""
    accounts, clock = Accounts(table), FakeClock()

    def changes() -> list[Change]:
        before = accounts.get(TENANT, account_id)
        after = replace(before or Account(account_id, TENANT), **values)
        return [] if before == after else accounts.changes(before, after)

    commit(table, clock, TENANT, changes, tries=500)


@given(_STEPS)
def test_counts_due_list_and_names_agree_after_any_changes_of_many_threads(
    steps: list[tuple[str, dict[str, Any]]],
) -> None:
    """Six writers at once, in any order: a recount finds nothing else than what is kept."""
    table = MemoryTable()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda step: apply(table, step[0], unique_name(*step)), steps))
    check_everything_agrees(table)


@given(_STEPS, st.dictionaries(st.integers(1, 40), st.sampled_from(["before", "killed", "reply"]), max_size=12))
def test_nothing_disagrees_wherever_a_writer_dies(
    steps: list[tuple[str, dict[str, Any]]], failures: dict[int, str]
) -> None:
    """A process that is killed before or after any write, or loses a reply, leaves rows that agree."""
    table = FailingTable(failures)
    for step in steps:
        try:
            apply(table, step[0], unique_name(*step))
        except (Temporary, Interrupted):
            pass
        check_everything_agrees(table)


def test_threads_agree_on_every_table(table: Table) -> None:
    """Eight writers change forty accounts, each three times, in the real service's stand-in too."""
    states = ("protected", "excluded", "protected", "no-drive", "left")
    work = [(f"{n % 40:02d}", {"state": states[n % 5], "next_due_at": NOW + n * MINUTE}) for n in range(120)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda step: apply(table, *step), work))
    check_everything_agrees(table)
    assert sum(Accounts(table).counts(TENANT).states.values()) == 40


def test_other_rows_of_the_partition_are_nobodys_accounts(table: Table) -> None:
    """Rows of neighbouring kinds never appear in a page or in the due list."""
    table.transact(
        TENANT, [Put(key, {}) for key in ("account", "accounts", "account;", "claim:a", "due", "due;", "upn:z")]
    )
    assert Accounts(table).page(TENANT, None, 10) == []
    assert Accounts(table).due(TENANT, NOW, 10) == []
    assert Accounts(table).counts(TENANT) == ({}, {})
