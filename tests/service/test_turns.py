"""How a drive's turn begins and ends, and what of it goes through an orchestration's history."""

from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, bench

from backup_core.backup import batches
from backup_core.errors import Temporary
from backup_core.graph.refusals import Forbidden, Refusal, Refused
from backup_core.runs.lanes import Lanes
from backup_core.service import turns
from backup_core.service.failures import failure_of


@pytest.fixture
def here(tmp_path: Path) -> Any:
    with bench(tmp_path) as made:
        yield made


def test_enumeration_without_the_state_goes_on_in_the_next_turn(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drive whose state is of no use, and that needs several turns, is not listed from its start in each of them."""
    here.ask()
    claim = here.claim()
    here.finish(claim, end="done", **here.step("plan", claim))
    here.user.drive.put_file("/a.txt", b"a")
    here.user.drive.put_file("/b.txt", b"b")
    monkeypatch.setattr(batches, "BATCH_FILES", 1)
    run, claim = here.ask(), here.claim()
    assert (claim["first_turn"], claim["trust_state"]) == (True, True)
    told = here.step("plan", claim, start_over=True, trust_state=False)
    assert told["count"] == 2
    here.step("save", claim, batch=told["first"], trust_state=False)
    here.finish(claim, end="put-back", seconds=0, reason="inconsistent")
    plans = sorted((here.folder / "state" / "runs").rglob("plan-*"))
    claim = here.claim()
    assert (claim["first_turn"], claim["trust_state"]) == (False, False)
    done = here.step("plan", claim)
    assert sorted((here.folder / "state" / "runs").rglob("plan-*")) == plans
    assert (done["summary"]["mode"], done["summary"]["files_new"]) == ("resync", 2)
    here.finish(claim, end="done", **done)
    assert here.outcome(run).state == "complete"


def test_backup_without_a_summary_is_no_success(here: Bench) -> None:
    """Whatever an orchestration says, where no snapshot is told there is none."""
    run, claim = here.ask(), here.claim()
    assert here.finish(claim, end="done", ok=True)["ok"]
    assert (here.outcome(run).state, here.outcome(run).reason) == ("failed", "internal")


@pytest.mark.parametrize("error", [Temporary("away", reason="storage-unreachable"), ZeroDivisionError("odd")])
@pytest.mark.parametrize("name", ["claim_next", "finish"])
def test_registry_in_trouble(here: Bench, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """An activity answers, and does not raise; what may pass is said to be worth another try."""
    here.ask()
    claim = here.claim()

    def failing(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(Lanes, name, failing)
    if name == "claim_next":
        told = turns.claim_next(here.service, here.tenant, "lane-1")
    else:
        told = here.finish(claim, end="failed", reason="internal")
    assert told == {"ok": False, "again": isinstance(error, Temporary)}


@pytest.mark.parametrize("kind", [Refused, Forbidden])
def test_words_of_microsoft_do_not_go_through_a_history(kind: Any) -> None:
    """They may name a file or a folder; the code and the number of the request say enough."""
    refusal = Refusal(403, ("accessdenied",), "No access to 'Redundancies 2027.docx'.", request_id="ab-12")
    failure = failure_of(kind(refusal, "GET /drives/b!x/items/y/children"))
    assert "Redundancies" not in failure.message
    assert "accessdenied" in failure.message
