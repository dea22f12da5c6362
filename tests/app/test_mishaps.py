"""What goes wrong with one drive, one person or one tenant: the run says so, and everybody else's backup goes on."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.hosted import Hosted, by_account, office, once
from support.judge import require_restic

from backup_core.backup import batches
from backup_core.runs import rows
from backup_core.testing.m365 import Status
from backup_core.testing.restored_folder import compare

HOUR = 3600.0


def told(run: Any) -> dict[str, tuple[str, str]]:
    """Who -> how it ended, and why."""
    return {
        name: (each["state"], each["error"]["reason"] if each["error"] else "")
        for name, each in by_account(run["results"]).items()
    }


def assert_restored(app: Hosted, user: Any, folder: Path) -> None:
    """Stock restic brings the drive back as it is, and finds nothing wrong."""
    require_restic()
    restic = app.judge(app.m365.tenant.id, user.id)
    restic.check()
    assert compare(restic.restore("latest", folder / user.id), user.drive.snapshot()).differences == []


def test_troubled_drives_leave_the_others_alone(tmp_path: Path) -> None:
    """A blocked drive, one full of malware and a person who is gone by the time: each is told, the others complete."""
    with office(tmp_path, 6, DRIVEKEEP_MAX_DRIVES_PER_TENANT="2") as app:
        tenant, (sound, blocked, infected, gone, driveless, last) = app.m365.tenant, app.m365.users
        blocked.drive.blocked = True
        for number in range(120):
            infected.drive.put_file(f"/Mail/{number}.exe", b"%d" % number)
            infected.drive.set_malware(f"/Mail/{number}.exe")

        def leave() -> None:
            tenant.remove(gone)
            tenant.directory.remove_drive(driveless.entry)

        app.worker.before["plan_changes"] = once(leave)
        run = app.run_of_tick(tenant.id)
        assert run["state"] == "incomplete"
        assert told(run) == {
            "alex": ("complete", ""),
            "blake": ("failed", "drive-blocked"),
            "casey": ("incomplete", ""),
            "devon": ("failed", "account-gone"),
            "emery": ("failed", "no-drive"),
            "finley": ("complete", ""),
        }
        failed = by_account(run["results"])["casey"]["summary"]["items_failed"]
        assert len(failed) == 100
        assert {each["reason"] for each in failed} == {"malware"}
        assert all(each["path"].startswith("Mail/") for each in failed)
        assert by_account(run["results"])["casey"]["summary"]["files_new"] == 3
        for user in (sound, last):
            assert_restored(app, user, tmp_path)
        states = {each.split("@")[0]: account["state"] for each, account in app.accounts(tenant.id).items()}
        assert (states["devon"], states["emery"], states["blake"]) == ("left", "no-drive", "protected")
        app.assert_idle(tenant.id)

        blocked.drive.blocked = False
        tenant.bring_back(gone)
        app.hop(30 * HOUR)
        assert told(app.run_of_tick(tenant.id))["blake"] == ("complete", "")
        app.hop(30 * HOUR)
        assert told(app.run_of_tick(tenant.id))["devon"] == ("complete", "")


def test_drive_that_vanishes_between_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person and their drive go while batches are saved. That is told, and not taken for the deletion of every file:
    once an administrator has brought both back, nothing is missing.
    """
    monkeypatch.setattr(batches, "BATCH_FILES", 2)
    with office(tmp_path, 2) as app:
        tenant, (going, staying) = app.m365.tenant, app.m365.users
        app.run_of_tick(tenant.id)
        drive = going.drive
        for number in range(12):
            going.drive.put_file(f"/New/{number}.txt", b"new %d" % number)

        def vanish() -> None:
            tenant.remove(going)
            tenant.directory.remove_drive(going.entry)

        app.worker.before["save_batch"] = once(vanish, nth=3)
        asked = app.ask_run(tenant=tenant.id, account=going.id)
        assert told(app.ended(asked["id"])) == {"alex": ("failed", "no-drive")}
        assert app.get(f"/api/accounts/{going.id}")["state"] == "no-drive"
        app.tick()
        app.settle()
        assert app.get(f"/api/accounts/{going.id}")["state"] == "left"

        tenant.directory.restore_drive(going.entry, drive)
        tenant.bring_back(going)
        app.tick()
        app.settle()
        assert told(app.ended(app.ask_run(tenant=tenant.id, account=going.id)["id"])) == {"alex": ("complete", "")}
        for user in (going, staying):
            assert_restored(app, user, tmp_path)
        app.assert_idle(tenant.id)


def test_prune_by_stock_restic_between_two_activities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the batches have saved and no snapshot names yet is rubbish to restic. Commit sees it gone, and it is saved
    again."""
    require_restic()
    monkeypatch.setattr(batches, "BATCH_FILES", 4)
    with office(tmp_path, 1) as app:
        tenant, (user,) = app.m365.tenant, app.m365.users
        for number in range(20):
            user.drive.put_file(f"/Many/{number}.bin", b"%d" % number * 999)
        packs: list[int] = []

        def prune() -> None:
            data = app.folder / tenant.id / user.id / "data"
            packs.append(sum(path.is_file() for path in data.rglob("*")))
            app.judge(tenant.id, user.id)("prune", "--max-unused", "0")
            packs.append(sum(path.is_file() for path in data.rglob("*")))

        app.worker.before["commit_snapshot"] = once(prune)
        run = app.run_of_tick(tenant.id)
        assert packs[0] > packs[1] == 0, "the prune has taken nothing away: this shows nothing"
        assert told(run) == {"alex": ("complete", "")}
        assert len(app.calls_of("commit_snapshot")) == 2
        assert_restored(app, user, tmp_path)
        app.assert_idle(tenant.id)


def test_prune_while_batches_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is with a prune between two groups of batches of a later run, beside a snapshot that stays whole."""
    require_restic()
    monkeypatch.setattr(batches, "BATCH_FILES", 2)
    with office(tmp_path, 1) as app:
        tenant, (user,) = app.m365.tenant, app.m365.users
        app.run_of_tick(tenant.id)
        for number in range(16):
            user.drive.put_file(f"/Many/{number}.bin", b"%d" % number * 999)
        lock, arrived = threading.Lock(), [0]

        def prune(_: dict[str, Any]) -> None:
            with lock:  # the second group's first batch: the first group has ended, so nobody holds a lock
                arrived[0] += 1
                if arrived[0] == 5:
                    app.judge(tenant.id, user.id)("prune", "--max-unused", "0")

        app.worker.before["save_batch"] = prune
        done = app.ended(app.ask_run(tenant=tenant.id, account=user.upn)["id"])
        assert told(done) == {"alex": ("complete", "")}
        assert_restored(app, user, tmp_path)
        app.assert_idle(tenant.id)


def test_cancelled_run_leaves_what_it_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a cancel no further batch is started; the next run fetches only what is missing."""
    monkeypatch.setattr(batches, "BATCH_FILES", 2)
    with office(tmp_path, 2, DRIVEKEEP_MAX_DRIVES_PER_TENANT="1") as app:
        tenant, first = app.m365.tenant, app.m365.users[0]
        for user in app.m365.users:
            for number in range(21):
                user.drive.put_file(f"/Many/{number}.bin", b"%d" % number * 99)

        def cancel() -> None:
            (run,) = app.items(f"/api/runs?tenant={tenant.id}")
            assert app.call("POST", f"/api/runs/{run['id']}/cancel").status_code == 202

        app.worker.before["save_batch"] = once(cancel, nth=5)
        run = app.run_of_tick(tenant.id)
        assert set(told(run).values()) == {("failed", "cancelled")}
        assert (run["state"], len(run["results"])) == ("failed", 2)
        assert len(app.calls_of("save_batch")) <= 8, "another group of batches was started"
        assert app.calls_of("commit_snapshot") == []
        app.assert_idle(tenant.id)
        saved = app.m365.log.downloads()
        assert 8 <= saved.total() < 24
        again = app.ended(app.ask_run(tenant=tenant.id)["id"])
        assert set(told(again).values()) == {("complete", "")}
        fetched = app.m365.log.downloads()
        assert set(fetched.values()) == {24}, "something was fetched twice, or not at all"
        assert_restored(app, first, tmp_path)


def test_pause_of_a_tenant(tmp_path: Path) -> None:
    """Of a paused tenant no drive is begun, whoever ticks or asks; afterwards the same run goes on."""
    with office(tmp_path, 3, DRIVEKEEP_MAX_DRIVES_PER_TENANT="1") as app:
        tenant = app.m365.tenant.id

        def pause() -> None:
            assert app.call("PATCH", f"/api/tenants/{tenant}", json={"paused": True}).status_code == 200

        app.worker.before["plan_changes"] = once(pause)
        run = app.run_of_tick(tenant)
        assert (run["state"], run["progress"]["drives_done"]) == ("running", 1), "what was begun is ended"
        refused = app.call("POST", "/api/runs", json={"tenant": tenant})
        assert (refused.status_code, refused.json()["reason"]) == (409, "paused")
        app.hop(30 * HOUR)
        app.tick()
        app.settle()
        assert len(app.items(f"/api/runs?tenant={tenant}")) == 1
        assert app.get(f"/api/runs/{run['id']}")["progress"]["drives_done"] == 1
        assert app.call("PATCH", f"/api/tenants/{tenant}", json={"paused": False}).status_code == 200
        assert app.ended(run["id"])["state"] == "complete"
        app.assert_idle(tenant)


def test_consent_withdrawn_in_the_middle(tmp_path: Path) -> None:
    """The tenant is told to have lost its consent, and so are its drives; once it consents again everything works."""
    with office(tmp_path, 4, DRIVEKEEP_MAX_DRIVES_PER_TENANT="1") as app:
        tenant = app.m365.tenant

        def revoke() -> None:
            app.m365.consent.revoke(tenant)
            app.m365.tokens.revoke_access()

        app.hop(2 * HOUR)  # a consent of the last hour might be on its way still
        app.worker.before["plan_changes"] = once(revoke, nth=2)
        run = app.run_of_tick(tenant.id)
        assert app.get(f"/api/tenants/{tenant.id}")["state"] == "consent-lost"
        assert Counter(told(run).values()) == {("complete", ""): 1, ("failed", "consent-lost"): 3}
        assert run["state"] == "incomplete"
        app.assert_idle(tenant.id)
        refused = app.call("POST", "/api/runs", json={"tenant": tenant.id})
        assert (refused.status_code, refused.json()["reason"]) == (409, "consent-lost")

        assert app.onboard().status_code == 200
        app.settle()
        assert app.get(f"/api/tenants/{tenant.id}")["state"] == "connected"
        done = app.ended(app.ask_run(tenant=tenant.id)["id"])
        assert set(told(done).values()) == {("complete", "")}
        app.assert_idle(tenant.id)


def test_revoked_sign_in_of_a_person(tmp_path: Path) -> None:
    """A connected person whose tokens are revoked is asked to sign in again, and after that is backed up again."""
    with office(tmp_path, 1) as app:
        personal = app.m365.add_personal()
        person = personal.users[0]
        person.drive.put_file("/own.txt", b"of a person")
        app.m365.authorize.user = person
        assert app.connect().status_code == 200
        first = app.ended(app.ask_run(tenant=personal.id, account=person.id)["id"])
        assert [each["state"] for each in first["results"]] == ["complete"]

        app.m365.tokens.revoke_refresh(person.id)
        app.m365.tokens.revoke_access()
        app.hop(30 * HOUR)
        app.tick()
        app.settle()
        (newest, _) = app.items(f"/api/runs?tenant={personal.id}")
        (result,) = app.get(f"/api/runs/{newest['id']}")["results"]
        assert (result["state"], result["error"]["reason"]) == ("failed", "sign-in-again")
        assert app.get(f"/api/accounts/{person.id}")["state"] == "sign-in-again"
        assert app.call("POST", "/api/runs", json={"tenant": personal.id, "account": person.id}).status_code == 409
        app.assert_idle(personal.id)

        person.drive.put_file("/later.txt", b"later")
        assert app.connect().status_code == 200
        assert app.get(f"/api/accounts/{person.id}")["state"] == "protected"
        done = app.ended(app.ask_run(tenant=personal.id, account=person.id)["id"])
        assert [each["summary"]["files_new"] for each in done["results"]] == [1]


def test_long_throttling_frees_the_lane(tmp_path: Path) -> None:
    """Twenty minutes are waited for by nobody: the drive goes back to the queue with a time, and resumes after it."""
    with office(tmp_path, 1) as app:
        tenant, user = app.m365.tenant.id, app.m365.users[0]
        app.m365.faults.add(r"GET graph .*/delta", Status(429, headers={"Retry-After": "1200"}))
        before = app.clock.now()
        run = app.run_of_tick(tenant)
        assert (run["state"], run["progress"]["drives_done"]) == ("running", 0)
        (claim,) = [rows.read_claim(row) for row in app.rows(rows.CLAIMS, tenant)]
        assert (claim.may_start_at - before).total_seconds() >= 1195
        app.tick()
        app.settle()
        assert app.rows("active:", tenant) == []
        delta = [each.status for each in app.m365.log.of("graph") if "delta" in each.path]
        assert delta == [429], "the drive was asked before its time"
        app.hop(1300)
        app.tick()
        done = app.ended(run["id"])
        assert told(done) == {"alex": ("complete", "")}
        assert app.m365.log.early() == []
        assert_restored(app, user, tmp_path)
        app.assert_idle(tenant)


def test_ticks_while_everything_runs(tmp_path: Path) -> None:
    """Ticks in the middle, two at once and late ones double nothing: one run, each drive once, each file once."""
    with office(tmp_path, 5, DRIVEKEEP_MAX_DRIVES_PER_TENANT="3") as app:
        tenant = app.m365.tenant.id
        arrived, go_on = threading.Semaphore(0), threading.Event()

        def hold(_: dict[str, Any]) -> None:
            arrived.release()
            assert go_on.wait(60)

        app.worker.before["plan_changes"] = hold
        ticks = [threading.Thread(target=app.tick) for _ in range(2)]
        for thread in ticks:
            thread.start()
        for thread in ticks:
            thread.join(60)
        for _ in range(3):
            assert arrived.acquire(timeout=30)
        app.tick()
        app.hop(20 * 60)  # a tick that is late, while the drives' turns are young enough to live
        app.tick()
        assert app.ask_run(tenant=tenant, account=app.m365.users[0].id)["state"] == "running"
        go_on.set()
        app.settle()
        runs = app.items(f"/api/runs?tenant={tenant}")
        assert len(runs) == 1
        run = app.get(f"/api/runs/{runs[0]['id']}")
        assert Counter(told(run).values()) == {("complete", ""): 5}
        assert set(app.m365.log.downloads().values()) == {3}
        assert app.m365.log.peak_drives(tenant) <= 3
        app.assert_idle(tenant)
