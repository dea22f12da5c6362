"""The weekly upkeep of an account's repository as activities: in time, heard of, and within the process's memory."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, bench

from backup_core.maintenance.trees import TreeCheck
from backup_core.registry import keys
from backup_core.runs import rows
from backup_core.service import maintain, work

WEEK = 8 * 24 * 3600.0


@pytest.fixture
def here(tmp_path: Path) -> Any:
    with bench(tmp_path) as made:
        made.ask()
        claim = made.claim()
        made.finish(claim, end="done", **made.step("plan", claim))
        yield made


def upkeep(here: Bench) -> dict[str, Any]:
    """Its claim, a week later."""
    here.clock.hop(WEEK)
    assert here.service.runs.queue_maintenance(here.tenant, here.clock.now()) == 1
    claim = here.claim()
    assert claim["kind"] == "maintain"
    return claim


def notes(here: Bench) -> list[str]:
    found = here.table.rows(keys.part(here.tenant), keys.AUDIT, keys.end(keys.AUDIT))
    return [str(row.values["what"]) for row in found if "maintenance" in str(row.values["what"])]


def test_sound_repository(here: Bench) -> None:
    """Both steps say what they did, the claim ends, and the next upkeep is a week away."""
    claim = upkeep(here)
    assert maintain.sweep(here.service, claim)["ok"]
    checked = maintain.check(here.service, claim)
    assert (checked["ok"], checked["sound"]) == (True, True)
    assert here.finish(claim, end="done", **checked)["ok"]
    assert notes(here) == []
    assert here.service.runs.active(here.tenant) == []


def test_damage_is_noted(here: Bench) -> None:
    """A pack that is gone is no quiet matter: the audit trail has it."""
    shutil.rmtree(here.folder / "data")
    claim = upkeep(here)
    checked = maintain.check(here.service, claim)
    assert (checked["ok"], checked["sound"]) == (True, False)
    here.finish(claim, end="done", **checked)
    assert notes(here) == ["maintenance.problem"]


def test_check_is_heard_of_while_it_works(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large repository takes minutes: its claim must not look dead to a tick."""
    monkeypatch.setattr(work, "BEAT_SECONDS", 0.01)
    claim = upkeep(here)
    (before,) = here.service.runs.active(here.tenant)
    look = TreeCheck.check

    def slowly(self: Any, snapshot: Any) -> None:
        here.clock.hop(600)
        for _ in range(500):
            here.clock.sleep(0.001)
        look(self, snapshot)

    monkeypatch.setattr(TreeCheck, "check", slowly)
    monkeypatch.setattr(maintain, "WORKING_SECONDS", 1e9)
    assert maintain.check(here.service, claim)["sound"]
    (after,) = here.service.runs.active(here.tenant)
    assert before.beat_at is not None
    assert after.beat_at is not None
    assert (after.beat_at - before.beat_at).total_seconds() > 590


def test_check_that_takes_too_long_says_so(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An activity has minutes. What was not looked at is not called sound."""
    claim = upkeep(here)
    look = TreeCheck.check

    def slowly(self: Any, snapshot: Any) -> None:
        here.clock.hop(3600)
        look(self, snapshot)

    monkeypatch.setattr(TreeCheck, "check", slowly)
    checked = maintain.check(here.service, claim)
    assert (checked["ok"], checked["again"]) == (False, False)
    assert "drivekeep check" in checked["message"]
    here.finish(claim, end="failed", reason=checked["reason"], message=checked["message"])
    assert notes(here) == ["maintenance.problem"]


def test_check_waits_for_memory(here: Bench) -> None:
    """It holds the whole index: while batches fill the process it does nothing, and has another turn."""
    claim = upkeep(here)
    while here.service.saving.acquire(timeout=0):
        pass
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(maintain, "WAIT_SECONDS", 0.01)
        assert maintain.check(here.service, claim) == {"ok": True, "more": True}
    assert here.table.get(keys.part(here.tenant), rows.claim_key(here.user.id)) is not None
