"""A process whose memory for large batches is all in use: small drives go past, large ones wait and are not failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.hosted import Hosted, by_account, office

from backup_core.service import steps
from backup_core.service.service import SAVES_AT_ONCE
from backup_core.service.work import SMALL_BYTES

LARGE_BYTES = SMALL_BYTES + 1
TRIES = 6  # more than a step that fails would get


@contextmanager
def busy_office(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    """Two drives, the first with a large file, while other batches take all the room. Nobody waits long for it."""
    monkeypatch.setattr(steps, "WAIT_SECONDS", 0.1)
    with office(home, 2) as app:
        app.m365.users[0].drive.put_synthetic("/Films/short.bin", LARGE_BYTES)
        for _ in range(SAVES_AT_ONCE):
            app.service.saving.acquire()
        yield app


def waits_in_vain(app: Hosted) -> Any:
    """The run, when the large drive has asked for room again and again and the small one is done."""
    app.tick()
    app.wait_for(lambda: len(app.calls_of("save_batch")) >= TRIES)
    run = app.wait_for(lambda: (found := newest(app))["progress"]["drives_done"] == 1 and found)
    assert {job["account"] for job in app.calls_of("save_batch")} == {app.m365.users[0].id}
    return run


def newest(app: Hosted) -> Any:
    return app.get(f"/api/runs/{app.items(f'/api/runs?tenant={app.m365.tenant.id}')[0]['id']}")


def test_large_drive_waits_for_room_and_small_one_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits into little memory is saved beside large batches; what does not is saved when there is room."""
    with busy_office(tmp_path, monkeypatch) as app:
        run = waits_in_vain(app)
        app.service.saving.release()
        done = app.ended(run["id"])
        small, large = (by_account(done["results"])[user.upn.split("@")[0]] for user in reversed(app.m365.users))
        assert (small["state"], small["summary"]["files_new"]) == ("complete", 3)
        assert (large["state"], large["summary"]["files_new"]) == ("complete", 4)
        assert app.m365.log.downloads().total() == 7
        app.service.saving.release()
        app.assert_idle(app.m365.tenant.id)


def test_drive_that_waits_for_room_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is cancelled ends at once, though there is no room for its batch."""
    with busy_office(tmp_path, monkeypatch) as app:
        run = waits_in_vain(app)
        assert app.call("POST", f"/api/runs/{run['id']}/cancel", json={}).status_code in (200, 202)
        tried = len(app.calls_of("save_batch"))
        done = app.ended(run["id"])
        assert len(app.calls_of("save_batch")) <= tried + 1
        large = by_account(done["results"])[app.m365.users[0].upn.split("@")[0]]
        assert (large["state"], large["error"]["reason"]) == ("failed", "cancelled")
        app.assert_idle(app.m365.tenant.id)
