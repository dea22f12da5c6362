"""The machine loses its power while drives are backed up: whoever starts the app again finds the work and ends it."""

import datetime
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient
from support.commands import ROOT, CommandLine
from support.judge import Judge, require_restic
from support.served import Served, served

from backup_core.clock import SystemClock
from backup_core.registry import keys
from backup_core.repository.repository import Repository
from backup_core.runs import rows
from backup_core.service import Service
from backup_core.service.service import SAVES_AT_ONCE
from backup_core.settings import read_settings
from backup_core.storage.local_folder import LocalFolderStore
from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation
from backup_core.testing.restored_folder import compare

BATCH, FILES, OTHERS = 8, 96, 5
# The command itself, with batches so small that a drive of some files is saved by many activities.
PROGRAM = f"""
import sys
from backup_core.backup import batches
from backup_core.cli.main import main
batches.BATCH_FILES = {BATCH}
sys.exit(main())
"""


class SmallBatches(CommandLine):
    def start(self, *words: object, **popen: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PROGRAM, *(str(word) for word in words)]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            **popen,
        )


@pytest.mark.parametrize(
    ("seed", "kills"), [(1, 3), *(pytest.param(seed, 10, marks=pytest.mark.soak) for seed in range(2, 8))]
)
def test_killed_again_and_again(seed: int, kills: int, azurite: Azurite, tmp_path: Path) -> None:
    """After so many kills at random moments a tick ends the work: every drive is whole, little was fetched twice, and
    nothing is left that keeps anybody from anything.
    """
    require_restic()
    chance = random.Random(seed)
    with Simulation(users=3) as m365, served(m365, azurite, tmp_path / "home", start=False) as app:
        furnish(m365, chance)
        app.person = SmallBatches(app.person.home, app.person.settings)
        app.start()
        app.onboard()
        app.enrolled(m365.tenant.id, 3)
        for _ in range(kills):
            app.tick()
            kill_soon(app, chance)
            app.start()
        app.tick()
        runs = [app.ended(run["id"]) for run in app.items(f"/api/runs?tenant={m365.tenant.id}")]
        assert [run["state"] for run in runs] == ["complete"], runs
        assert sorted(result["upn"] for result in runs[0]["results"]) == sorted(user.upn for user in m365.users)
        fetched = m365.log.downloads().total()
        files = FILES + 2 * OTHERS
        assert files <= fetched <= files + kills * BATCH * SAVES_AT_ONCE
        assert_nothing_left(app)
        for number, user in enumerate(m365.users):
            assert_whole(app, azurite, user, tmp_path / str(number))


def furnish(m365: Simulation, chance: random.Random) -> None:
    for user, count in zip(m365.users, (FILES, OTHERS, OTHERS), strict=True):
        for number in range(count):
            user.drive.put_file(f"/Folder {number % 3}/{number}.bin", chance.randbytes(2_000 + number))


def kill_soon(app: Served, chance: random.Random) -> None:
    """After some more downloads, or when nothing more comes; a little later, since trees and state come after them."""
    clock, before = SystemClock(), app.m365.log.downloads().total()
    wanted, end = chance.randrange(1, 45), clock.monotonic() + 10
    while app.m365.log.downloads().total() < before + wanted and clock.monotonic() < end:
        clock.sleep(0.01)
    clock.sleep(chance.random() * 0.5)
    app.kill()


def assert_nothing_left(app: Served) -> None:
    """No claim, nothing queued, and a tick finds nothing to do."""
    service = Service(read_settings(environment=app.person.environment, folder=app.person.home), SystemClock())
    partition = keys.part(app.m365.tenant.id)
    for prefix in (rows.CLAIMS, rows.QUEUE, rows.ACTIVE):
        assert list(service.registry.table.rows(partition, prefix, keys.end(prefix))) == []
    app.tick()
    assert len(app.items(f"/api/runs?tenant={app.m365.tenant.id}")) == 1


def assert_whole(app: Served, azurite: Azurite, user: Any, folder: Path) -> None:
    """Half an hour later stock restic removes every lock that the dead have left, and restores the drive."""
    recovery = app.recovery(app.m365.tenant.id, user.upn)
    prefix = f"{app.m365.tenant.id}/{user.id}/"
    with ContainerClient.from_connection_string(azurite.connection_string, app.container) as container:
        for name in container.list_blob_names(name_starts_with=prefix):
            path = folder / "copy" / name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(container.download_blob(name).readall())
    age_locks(folder / "copy", recovery["password"])
    restic = Judge(folder / "copy", recovery["password"])
    restic("unlock")
    assert restic("list", "locks") == ""
    restic("prune", "--max-unused", "0")
    restic.check()
    assert compare(restic.restore("latest", folder / "out"), user.drive.snapshot()).differences == []


def age_locks(folder: Path, password: str) -> None:
    """As they are when half an hour has passed. None of them keeps others from reading and backing up until then."""
    repository = Repository.open(LocalFolderStore(folder, sync=False), password)
    then = SystemClock().now() - datetime.timedelta(minutes=31)
    for lock in list(repository.ids("locks")):
        held = json.loads(repository.load_unpacked("locks", lock))
        assert not held["exclusive"]
        repository.store.delete(f"locks/{lock}")
        repository.save_unpacked("locks", json.dumps({**held, "time": then.isoformat()}).encode())
