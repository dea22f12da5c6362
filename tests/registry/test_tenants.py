"""Tenants, the trail of who changed them, values that are good once, and the throttle that a tenant's gates share."""

import datetime
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest

from backup_core.errors import Usage
from backup_core.registry import audit, keys
from backup_core.registry.audit import Audit
from backup_core.registry.master_key import MasterKey
from backup_core.registry.nonces import Nonces
from backup_core.registry.registry import Registry
from backup_core.registry.sealing import Sealer
from backup_core.registry.table import Conflict, Insert, Put, Table
from backup_core.registry.tenants import CONNECTED, PENDING, Tenant, Tenants
from backup_core.registry.throttle import TenantThrottle
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.memory_table import MemoryTable

TENANT = "7f3c0b1e-52a4-4c8e-9d0c-6a1f2b3c4d5e"
HOUR = datetime.timedelta(hours=1)


def test_a_tenant_comes_back_as_it_was_saved(table: Table) -> None:
    """Every field, and a change of the version that was read; of an older one it is Conflict."""
    tenants, now = Tenants(table), FakeClock().now()
    assert tenants.get(TENANT) is None
    full = Tenant(TENANT.upper(), "Contoso “GmbH”", "contoso.com", PENDING, True, "vault", now, now + HOUR)
    tenants.save(None, full)
    stored = tenants.get(TENANT.upper())
    assert stored == full
    assert stored.id == TENANT
    bare = Tenant(TENANT)
    tenants.save(stored, bare)
    assert tenants.get(TENANT) == bare
    with pytest.raises(Conflict):
        tenants.save(stored, full)
    with pytest.raises(Conflict):
        tenants.save(None, full)


def test_tenants_are_listed_by_id_page_by_page(table: Table) -> None:
    """Each one once; a name that a crash left without its tenant is skipped and costs no place of a page."""
    tenants = Tenants(table)
    ids = [f"{n:02d}" for n in range(9)]
    for id in ids:
        if id in {"01", "02", "05"}:
            table.transact(keys.TENANTS, [Put(id, {"format": 1, "tenant": id})])
        else:
            tenants.save(None, Tenant(id))
    seen: list[str] = []
    while page := tenants.page(seen[-1] if seen else None, 2):
        seen += [tenant.id for tenant in page]
        assert len(page) == 2
    assert seen == ["00", "03", "04", "06", "07", "08"]
    tenants.save(None, Tenant("05"))
    assert [tenant.id for tenant in tenants.page("04", 100)] == ["05", "06", "07", "08"]


def test_a_tenant_and_the_note_of_who_changed_it_are_one_transaction(table: Table) -> None:
    """A change that loses leaves no note of a change."""
    tenants, clock = Tenants(table), FakeClock()
    tenants.save(None, Tenant(TENANT), audit.entry(clock, "op@contoso.com", "connected", TENANT))
    stored = tenants.get(TENANT)
    assert stored is not None
    tenants.save(stored, replace(stored, paused=True), audit.entry(clock, "op", "paused", TENANT, {"paused": True}))
    with pytest.raises(Conflict):
        tenants.save(stored, replace(stored, paused=False), audit.entry(clock, "late", "resumed", TENANT))
    assert {(note.who, note.what, note.target) for note in Audit(table).page(TENANT, None, 10)} == {
        ("op@contoso.com", "connected", TENANT),
        ("op", "paused", TENANT),
    }


def test_the_newest_change_is_shown_first(table: Table) -> None:
    """Pages go on after the last entry, each appears once, and none of another tenant."""
    clock, trail = FakeClock(), Audit(table)
    for n in range(7):
        table.transact(TENANT, [trail.entry(clock, "me", f"step {n}", "x" * 5000, {"n": n, "ü": ["a"]})])
        clock.advance(n % 2)
    table.transact("other", [audit.entry(clock, "you", "theirs", "y")])
    seen = trail.page(TENANT, None, 3)
    while page := trail.page(TENANT, seen[-1].id, 3):
        seen += page
    assert sorted(note.what for note in seen) == [f"step {n}" for n in range(7)]
    assert all(one.at >= two.at for one, two in pairwise(seen))
    assert seen[0].details == {"n": 6, "ü": ["a"]}
    assert len(seen[0].target) == 1000


def test_details_too_long_do_not_stop_the_change(table: Table) -> None:
    """The entry is written without them, and says so."""
    table.transact(TENANT, [audit.entry(FakeClock(), "me", "tags", "a", {"tags": ["x" * 40_000]})])
    assert Audit(table).page(TENANT, None, 1)[0].details == {"shortened": True}


# -- values that are good once -----------------------------------------------------------------------------------------


def test_a_nonce_is_good_once(table: Table) -> None:
    """Of sixteen who present it at the same time one succeeds; another one is not concerned."""
    clock = FakeClock()
    nonces, expires = Nonces(table, clock), clock.now() + HOUR
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: nonces.use("n", expires), range(16))) == 1
    assert nonces.use("m", expires)
    assert not nonces.use("m", expires)


def test_an_expired_nonce_is_never_good(table: Table) -> None:
    """Not on the second of its end, and not after what was used was forgotten."""
    clock = FakeClock()
    nonces, expires = Nonces(table, clock), clock.now() + HOUR
    assert not nonces.use("late", clock.now())
    assert nonces.use("n", expires)
    clock.advance(3600)
    assert not nonces.use("n", expires)
    clock.advance(30 * 3600)
    assert nonces.use("m", clock.now() + HOUR)
    assert [row.key[:4] for row in table.rows(keys.NONCES, keys.FIRST, keys.LAST)] == ["2026"]
    assert not nonces.use("n", expires)


def test_what_is_used_is_kept_longer_than_clocks_differ() -> None:
    """A machine whose clock is an hour behind does not take a value again that another one has forgotten."""
    table, clock = MemoryTable(), FakeClock()
    expires = clock.now() + HOUR
    assert Nonces(table, clock).use("n", expires)
    ahead = FakeClock(clock.now() + 2 * HOUR)
    assert Nonces(table, ahead).use("m", ahead.now() + HOUR)
    assert not Nonces(table, clock).use("n", expires)


# -- the throttle ------------------------------------------------------------------------------------------------------


def test_gates_of_one_tenant_share_the_latest_end_of_a_throttle(table: Table) -> None:
    """A later time counts, an earlier one changes nothing, and what has passed is gone; no other tenant waits."""
    clock = FakeClock()
    ours, theirs = TenantThrottle(table, TENANT, clock), TenantThrottle(table, "other", clock)
    assert ours.read() is None
    ours.write(clock.now() + HOUR)
    TenantThrottle(table, TENANT.upper(), clock).write(clock.now() + HOUR / 2)
    assert ours.read() == clock.now() + HOUR
    assert theirs.read() is None
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: ours.write(clock.now() + n * HOUR), range(1, 9)))
    assert (ours.read() or clock.now()) >= FakeClock().now() + 8 * HOUR
    clock.advance(30 * 3600)
    assert ours.read() is None


def test_only_the_tokens_need_a_master_key() -> None:
    """Without a usable key everything else of the registry can be read and changed; the error is the key's own."""
    table, clock = MemoryTable(), FakeClock()
    registry = Registry(table, clock, lambda: Sealer(MasterKey.from_text(None), "token"))
    registry.tenants.save(None, Tenant(TENANT))
    with pytest.raises(Usage, match="DRIVEKEEP_MASTER_KEY"):
        registry.tokens.load(TENANT, "a")


def test_the_registry_leads_to_all_of_it() -> None:
    """One object has the table, its rooms, and the way to change rows."""
    table, clock = MemoryTable(), FakeClock()
    registry = Registry(table, clock, lambda: Sealer(MasterKey(bytes(32)), "token"))
    registry.tenants.save(None, Tenant(TENANT, state=CONNECTED))
    registry.tokens.save(TENANT, "a", "cache")
    registry.throttle(TENANT).write(clock.now() + HOUR)
    registry.commit(TENANT.upper(), lambda: [] if table.get(TENANT, "x") else [Insert("x", {})])
    assert [row.key for row in table.rows(TENANT, keys.FIRST, keys.LAST)] == ["tenant", "throttle", "token:a", "x"]
    assert registry.nonces.use("n", clock.now() + HOUR)
    assert registry.accounts.page(TENANT, None, 1) == registry.audit.page(TENANT, None, 1) == []
