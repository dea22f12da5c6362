"""What a process remembers between activities, and that it never outlives what it was true of."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, bench, forget
from support.judge import require_restic

from backup_core.graph.sign_in import SignedIn
from backup_core.registry.tenants import CONNECTED
from backup_core.service import maintain
from backup_core.service.workplace import graph_of


@pytest.fixture
def here(tmp_path: Path) -> Any:
    with bench(tmp_path) as made:
        yield made


def back_up(here: Bench) -> dict[str, Any]:
    """One run of the first user's drive, by this very process."""
    here.ask()
    claim = here.claim()
    result = here.step("plan", claim)
    here.finish(claim, **({"end": "done", **result} if result["ok"] else {"end": "failed", **result}))
    return result


def known_well(here: Bench) -> None:
    """The first backup makes the repository; the second one opens it, and remembers how."""
    back_up(here)
    assert back_up(here)["ok"]


def test_repository_that_was_erased_and_made_again_by_others(here: Bench, tmp_path: Path) -> None:
    """A process that knew the old one's keys writes nothing with them into the new one."""
    require_restic()
    known_well(here)
    shutil.rmtree(here.folder)
    known = dict(forgotten())
    back_up(here)  # as another process, which makes the repository anew
    forgotten(known)
    here.user.drive.put_file("/later.txt", b"later")
    assert back_up(here)["summary"]["files_new"] == 1
    here.judge().check()


def test_repository_whose_keys_were_destroyed(here: Bench) -> None:
    """An account is erased by deleting its key files first: from then on nothing is stored that nobody can read."""
    known_well(here)
    shutil.rmtree(here.folder / "keys")
    before = sorted(here.folder.rglob("*"))
    here.user.drive.put_file("/later.txt", b"later")
    result = back_up(here)
    assert not result["ok"]
    assert sorted(here.folder.rglob("*")) == before


def test_repository_that_does_not_open_with_the_master_key(here: Bench) -> None:
    """Keys that the process still knows do not hide that the password's key file is gone: restic could not open it."""
    known_well(here)
    (key,) = (here.folder / "keys").iterdir()
    restic = here.judge()
    (here.home / "other").write_text("another password")
    restic("key", "add", "--new-password-file", str(here.home / "other"))
    key.unlink()
    assert back_up(here)["reason"] == "wrong-key"


def forgotten(put_back: dict[Any, Any] | None = None) -> dict[Any, Any]:
    """What this process knows of repositories' keys; it knows nothing, or what is put back, afterwards."""
    from backup_core.service import workplace

    known = dict(workplace._keys._known)
    forget()
    workplace._keys._known.update(put_back or {})
    return known


@pytest.mark.parametrize("consented", [True, False])
def test_whose_access_is_used(here: Bench, consented: bool) -> None:
    """The organisation's consent covers its people: a sign-in of one's own from before it, which ends one day, is not
    needed any more.
    """
    registry = here.service.registry
    before = registry.tenants.get(here.tenant)
    assert before is not None
    if not consented:
        registry.tenants.save(before, dataclasses.replace(before, connected_at=None, state=CONNECTED))
    registry.tokens.save(here.tenant, here.user.id, '{"refresh_token":"one that has ended"}')
    graph, own = graph_of(here.service, here.tenant, here.user.id)
    assert own is not consented
    assert isinstance(graph.client._tokens, SignedIn) is not consented


def test_wrong_master_key_stops_every_write(here: Bench) -> None:
    """Another key than the installation's: nothing is stored, and every step, the upkeep too, says why."""
    back_up(here)
    other = here.process(DRIVEKEEP_MASTER_KEY="A" * 43 + "=")
    before = sorted(here.folder.rglob("*"))
    here.ask()
    claim = here.claim()
    results = [here.step(name, claim, other, batch=1) for name in ("plan", "cut", "save", "commit")]
    results += [each(other, claim) for each in (maintain.sweep, maintain.check)]
    assert {(each["ok"], each["reason"]) for each in results} == {(False, "wrong-key")}
    assert sorted(here.folder.rglob("*")) == before
    assert [each.reason for each in other.problems()] == ["wrong-key"]
