"""Several `drivekeep backup` processes at once on one repository: one may be told so, none does harm."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import CommandLine, finished
from support.judge import Judge
from support.places import Place

from backup_core.testing.m365 import Simulation
from backup_core.testing.restored_folder import compare

PASSWORD = "side by side"


@pytest.fixture
def m365() -> Iterator[Simulation]:
    with Simulation() as simulation:
        content = random.Random(3)
        for number in range(60):
            simulation.users[0].drive.put_file(f"/Folder {number % 4}/{number}.txt", content.randbytes(2000 + number))
        yield simulation


def test_at_once_from_nothing_and_again(
    m365: Simulation, place: Place, home: Path, tmp_path: Path, judge: type[Judge]
) -> None:
    """Three processes make the first backup at one moment, then three find the changes: each ends with 0 or with 11,
    one of them at least with 0; every snapshot is whole, and the drive is saved.
    """
    drive = m365.users[0].drive
    settings = {**m365.environment(None), **place.settings}
    settings |= {"DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": PASSWORD}
    command, words = CommandLine(home, settings), ["backup", "--account", m365.users[0].upn]
    states = []
    for turn in range(2):
        drive.put_file(f"/Turn {turn}/new.txt", b"%d" % turn)
        drive.rename("/Folder 0/0.txt" if turn == 0 else "/Folder 0/renamed 0", f"renamed {turn}")
        states.append(drive.snapshot())
        ended = [finished(each) for each in [command.start(*words, "--json") for _ in range(3)]]
        codes = [ran.code for ran in ended]
        assert set(codes) <= {0, 11} and 0 in codes, [ran.err for ran in ended]
        for ran in ended:
            if ran.code == 11:
                assert ran.last["reason"] in ("another-run", "locked") and ran.last["remedy"]
            else:
                assert ran.last["complete"]

    last = command.ok(*words)
    assert (last["complete"], last["mode"], last["bytes_downloaded"]) == (True, "delta", 0)
    restic = judge(place.folder(tmp_path), PASSWORD)
    restic.check()
    assert len([name for name in place.names() if name.startswith("keys/")]) == 1
    for snapshot in command.ok("snapshots"):
        top = restic.restore(snapshot["id"], tmp_path / snapshot["short_id"])
        assert any(not compare(top, state).differences for state in states)
    command.ok("restore", "latest", "--target", tmp_path / "out")
    assert compare(tmp_path / "out", states[-1]).differences == []
