"""One drive that holds a very large file, or very many small ones: any number of activities, little memory in each."""

import math
from pathlib import Path
from typing import Any

import pytest
from support.crowd import MIB, Workshop, owner, workshop

from backup_core.backup.batches import BATCH_FILES
from backup_core.backup.parts import PART_BYTES
from backup_core.clock import SystemClock
from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation
from backup_core.testing.restored_folder import compare

MEMORY_MAX_MIB = 500  # of one process
HISTORY_MAX_BYTES = 512 << 10  # of one turn: the whole of it is read and replayed with each result
FOUR = 4


@pytest.mark.parametrize("mib", [300, pytest.param(3 << 10, marks=pytest.mark.soak)])
def test_large_file_in_parts(mib: int, azurite: Azurite, tmp_path: Path) -> None:
    """A file too large for one activity is saved by several, each byte fetched once; its parts are the file, as the
    hash of the whole shows, and no process needs much memory.
    """
    with Simulation() as m365, workshop(m365, azurite, tmp_path / "home", FOUR) as shop:
        drive, size = m365.users[0].drive, mib * MIB + 12_345
        item = drive.put_synthetic("/Films/long.bin", size)
        begun = SystemClock().monotonic()
        run = backed_up(shop, m365)
        seconds = SystemClock().monotonic() - begun
        assert (run["state"], run["results"][0]["summary"]["files_new"]) == ("complete", 1), run
        assert shop.activities("save_batch") == math.ceil(size / PART_BYTES)
        assert sum(each.sent_bytes for each in m365.log.of("content")) == size
        person = owner(shop.app, azurite, m365.tenant.id, m365.users[0].id)
        (found,) = [node for node in person.run("ls", "latest", "--json").documents if node.get("type") == "file"]
        assert (found["size"], found["verdict"]) == (size, "verified")
        assert found["quickxorhash"] == item.body.quickxor()
        if mib <= 300:
            person.ok("restore", "latest", "--target", tmp_path / "out")
            assert compare(tmp_path / "out", drive.snapshot()).differences == []
        told(shop, f"{mib} MiB", seconds, mib / seconds, "MiB")


@pytest.mark.parametrize("files", [2_000, pytest.param(20_000, marks=pytest.mark.soak)])
def test_many_small_files(files: int, azurite: Azurite, tmp_path: Path) -> None:
    """Thousands of small files of one drive come whole, each fetched once, in one turn with a short history."""
    with Simulation() as m365, workshop(m365, azurite, tmp_path / "home", FOUR) as shop:
        drive = m365.users[0].drive
        drive.fill(files)
        begun = SystemClock().monotonic()
        run = backed_up(shop, m365, seconds=1800)
        seconds = SystemClock().monotonic() - begun
        assert (run["state"], run["results"][0]["summary"]["files_new"]) == ("complete", files), run
        assert m365.log.downloads().total() == files
        assert shop.activities("save_batch") == math.ceil(files / BATCH_FILES)
        (turn,) = shop.instances("back_up_drive")
        assert turn.peak_bytes < HISTORY_MAX_BYTES
        told(shop, f"{files} files", seconds, files / seconds, "files")
        owner(shop.app, azurite, m365.tenant.id, m365.users[0].id).ok("restore", "latest", "--target", tmp_path / "out")
        assert compare(tmp_path / "out", drive.snapshot()).differences == []


def backed_up(shop: Workshop, m365: Simulation, seconds: float = 600) -> Any:
    """Consent, enrolment and the first run of the one drive; the run."""
    app = shop.app
    assert app.onboard().status_code == 200
    app.enrolled(m365.tenant.id, 1)
    app.tick()
    (run,) = app.wait_for(lambda: app.items(f"/api/runs?tenant={m365.tenant.id}"))
    return app.ended(run["id"], seconds)


def told(shop: Workshop, what: str, seconds: float, pace: float, unit: str) -> None:
    """Print the figures, and see that none of the processes has needed too much memory."""
    peaks = shop.peaks_mib()
    print(
        f"\n{what}: {seconds:.1f} s, {pace:.1f} {unit}/s; peak MiB of each process: {[round(each) for each in peaks]}"
    )
    for name in ("lane", "back_up_drive"):
        for each in shop.instances(name):
            print(f"  {name}: {each.episodes} episodes, history {each.peak_events} events, {each.peak_bytes} bytes")
    assert len(peaks) == FOUR
    assert peaks[-1] < MEMORY_MAX_MIB
