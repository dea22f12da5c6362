"""Sealed texts, and the tokens that are kept in them."""

import secrets
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Damaged, Usage
from backup_core.registry import tokens
from backup_core.registry.master_key import MasterKey
from backup_core.registry.sealing import Sealer
from backup_core.registry.table import Insert, Table
from backup_core.registry.tokens import Tokens
from backup_core.testing.memory_table import MemoryTable

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)
TENANT, ACCOUNT = "7f3c0b1e-52a4-4c8e-9d0c-6a1f2b3c4d5e", "0f8fad5b-d9cb-469f-a165-70867728950e"
_LETTERS = string.ascii_letters + string.digits + "-_.=+/ "


@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_opens_where_it_belongs(plain: bytes, bound_to: str) -> None:
    """Any bytes come back, each time from another text, and under no other binding or purpose."""
    sealer = Sealer(MasterKey(NEW), "token")
    sealed = sealer.seal(plain, bound_to)
    assert sealer.open(sealed, bound_to) == plain
    assert sealed != sealer.seal(plain, bound_to)
    for other, place in ((sealer, bound_to + "x"), (Sealer(MasterKey(NEW), "cursor"), bound_to)):
        with pytest.raises(Damaged):
            other.open(sealed, place)


def test_a_change_anywhere_is_refused() -> None:
    """Every character replaced by every other, every cut, every addition: nothing of it opens."""
    sealer = Sealer(MasterKey(NEW), "token")
    sealed = sealer.seal(b"refresh-token!", "t/a")
    forged = [sealed[:at] + new + sealed[at + 1 :] for at in range(len(sealed)) for new in _LETTERS]
    forged += [sealed[:at] for at in range(len(sealed))] + [sealed + end for end in (*_LETTERS, "\n", "==", "ä")]
    for text in forged:
        if text != sealed:
            with pytest.raises(Damaged):
                sealer.open(text, "t/a")


def test_a_former_key_opens_and_the_current_one_seals() -> None:
    """After a change of keys what is old opens and what is new does not need the former key; without it: Damaged."""
    before, both, after = (Sealer(key, "p") for key in (MasterKey(OLD), MasterKey(NEW, (OLD,)), MasterKey(NEW)))
    assert both.open(before.seal(b"x", "b"), "b") == b"x"
    assert after.open(both.seal(b"y", "b"), "b") == b"y"
    with pytest.raises(Damaged, match="DRIVEKEEP_MASTER_KEY_PREVIOUS"):
        after.open(before.seal(b"x", "b"), "b")


def kept(table: Table, key: bytes = NEW) -> Tokens:
    """The tokens in this table."""
    return Tokens(table, Sealer(MasterKey(key), tokens.PURPOSE))


@pytest.mark.parametrize("length", [0, 1, 24_000, 25_000, 100_000])
def test_tokens_come_back_whatever_their_length(table: Table, length: int) -> None:
    """Also a cache that is longer than a value of a table may be; a shorter one leaves nothing of it."""
    cache = secrets.token_hex(length)[:length]
    kept(table).save(TENANT.upper(), ACCOUNT.upper(), cache)
    assert kept(table).load(TENANT, ACCOUNT) == cache
    kept(table).save(TENANT, ACCOUNT, "ü")
    assert kept(table).load(TENANT, ACCOUNT) == "ü"
    assert kept(table).load(TENANT, "other") is None
    kept(table).delete(TENANT, ACCOUNT)
    kept(table).delete(TENANT, ACCOUNT)
    assert kept(table).load(TENANT, ACCOUNT) is None


def test_a_token_moved_to_another_account_or_tenant_does_not_open() -> None:
    """Who can write the table but has no key cannot give one person's sign-in to another."""
    table = MemoryTable()
    kept(table).save(TENANT, ACCOUNT, "secret")
    row = table.get(TENANT, f"token:{ACCOUNT}")
    assert row is not None
    assert "secret" not in str(row)
    table.transact(TENANT, [Insert("token:other", row.values)])
    table.transact("other", [Insert(row.key, row.values)])
    for place in ((TENANT, "other"), ("other", ACCOUNT)):
        with pytest.raises(Damaged):
            kept(table).load(*place)
    with pytest.raises(Damaged):
        kept(table, OLD).load(TENANT, ACCOUNT)


def test_a_cache_that_no_row_holds_is_refused() -> None:
    """Azure's row ends at one mebibyte; the caller hears of it as of every text too long."""
    table = MemoryTable()
    with pytest.raises(Usage):
        kept(table).save(TENANT, ACCOUNT, "x" * 500_000)
    assert kept(table).load(TENANT, ACCOUNT) is None
