"""A first backup of a drive that has everything: 300 files, 60 levels, names that no file system takes, 64 MiB."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.commands import CommandLine
from support.hostile_drive import HostileDrive
from support.judge import Judge
from support.places import AzuritePlace, LocalPlace, Place

from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.drive import Entry
from backup_core.testing.m365.faults import Alter
from backup_core.testing.m365.wire import Response
from backup_core.testing.restored_folder import compare

PASSWORD = "pässwörd of a hostile drive"


class Kept(NamedTuple):
    """A drive that was backed up: where it lies, for stock restic too, and what must come back."""

    command: CommandLine
    folder: Path
    summary: dict[str, Any]
    m365: Simulation
    expected: dict[str, Entry]


@pytest.fixture(scope="module")
def hostile() -> Iterator[tuple[Simulation, HostileDrive]]:
    with Simulation() as m365:
        yield m365, HostileDrive(m365.users[0].drive)


@pytest.fixture(scope="module", params=["local", "azurite"])
def kept(
    request: pytest.FixtureRequest,
    hostile: tuple[Simulation, HostileDrive],
    tmp_path_factory: pytest.TempPathFactory,
) -> Kept:
    m365, drive = hostile
    scratch = tmp_path_factory.mktemp("whole")
    place: Place = LocalPlace(scratch / "repository")
    if request.param == "azurite":
        place = AzuritePlace(request.getfixturevalue("azurite"))
    command = CommandLine(scratch, backup_settings(m365, place))
    summary = command.ok("backup")
    return Kept(command, place.folder(scratch), summary, m365, drive.expected())


def backup_settings(m365: Simulation, place: Place) -> dict[str, str]:
    where = {"DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": PASSWORD}
    return {**m365.environment(), **place.settings, **where}


def test_everything_is_in_the_summary(kept: Kept) -> None:
    """All 300 files are new, nothing was left out, and what came is what Microsoft reports."""
    summary = kept.summary
    assert (summary["complete"], summary["mode"], summary["files_new"]) == (True, "full", 300)
    assert (summary["items_skipped"], summary["items_failed"]) == ([], [])
    assert summary["folders_new"] == sum(entry.kind == "folder" for entry in kept.expected.values())
    assert summary["bytes_downloaded"] == sum(entry.size for entry in kept.expected.values())


def test_restic_finds_no_error(kept: Kept, judge: type[Judge]) -> None:
    """`restic check --read-data` reads every byte and is content."""
    judge(kept.folder, PASSWORD).check()


def test_restic_restores_the_drive(kept: Kept, judge: type[Judge], tmp_path: Path) -> None:
    """`restic restore` brings back every byte, every time and every empty folder."""
    top = judge(kept.folder, PASSWORD).restore(kept.summary["snapshot_id"], tmp_path)
    assert top.name == "OneDrive"
    assert compare(top, kept.expected).differences == []


def test_drivekeep_restores_the_drive(kept: Kept, tmp_path: Path) -> None:
    """`drivekeep restore` brings back the same, and nothing outside of its target."""
    target = tmp_path / "outer" / "target"
    summary = kept.command.ok("restore", "latest", "--target", target, "--verify")
    assert (summary["files_restored"], summary["files_failed"]) == (300, [])
    found = compare(target, kept.expected)
    assert (found.files, found.differences) == (300, [])
    assert list(tmp_path.iterdir()) == [target.parent] and list(target.parent.iterdir()) == [target]
    again = kept.command.ok("restore", "latest", "--target", target)
    assert (again["files_restored"], again["files_skipped"]) == (0, 300)


def test_our_own_check_agrees(kept: Kept) -> None:
    """`drivekeep check --read-data` is content where restic is."""
    kept.command.ok("check", "--read-data")


def test_ls_shows_the_true_names(kept: Kept) -> None:
    """Whatever a file is called in the repository, its owner sees the name that it has in the drive; stdout is safe."""
    ran = kept.command.run("ls", "latest", "--json")
    drive = kept.m365.users[0].drive
    paths = sorted(item.path for item in drive.walk(drive.root) if item.parent)
    assert sorted(line["path"] for line in ran.documents) == paths
    assert {line["verdict"] for line in ran.documents if line["type"] == "file"} == {"verified"}
    plain = kept.command.run("ls", "latest")
    assert len(plain.out.splitlines()) == len(paths)
    assert not [each for each in plain.out if unicodedata.category(each) == "Cc" and each != "\n"]
    assert "\u202e" not in plain.out


def test_personal_drive(tmp_path: Path, judge: type[Judge]) -> None:
    """The same names and times in a personal drive, whose ids change their spelling and whose times are finer."""
    with Simulation(business=False) as m365:
        m365.switches.personal_id_defects = True
        m365.switches.page_size = 7
        drive = HostileDrive(m365.users[0].drive, large_bytes=1 << 20)
        place = LocalPlace(tmp_path / "repository")
        command = CommandLine(tmp_path, backup_settings(m365, place))
        summary = command.ok("backup")
        restic = judge(place.path, PASSWORD)
        restic.check()
        assert compare(restic.restore("latest", tmp_path / "restic"), drive.expected()).differences == []
        command.ok("restore", summary["snapshot_id"][:10], "--target", tmp_path / "ours")
        assert compare(tmp_path / "ours", drive.expected()).differences == []


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """Half a surrogate pair in one name, which JSON can carry and UTF-8 cannot, does not stop the backup of a drive."""
    with Simulation() as m365:
        m365.users[0].drive.put_file("/before.txt", b"before")
        m365.users[0].drive.put_file("/half MARK pair.txt", b"half")

        def halve(response: Response) -> Response:
            response.body = response.body.replace(b"MARK", b"\\ud83d")
            return response

        m365.faults.add(r"GET graph .*/delta", Alter(halve), times=None)
        place = LocalPlace(tmp_path / "repository")
        command = CommandLine(tmp_path, backup_settings(m365, place))
        ran = command.run("backup", "--json")
        assert ran.code == 0, ran.err
        command.ok("restore", "latest", "--target", tmp_path / "out")
        assert (tmp_path / "out" / "half \ufffd pair.txt").read_bytes() == b"half"


@pytest.mark.serial
def test_restic_reads_azurite_itself(tmp_path: Path, judge: type[Judge]) -> None:
    """restic 0.14 opens, checks and restores the repository where it lies in Azure Blob Storage, without a copy."""
    with Simulation() as m365, Azurite(blob_port=10000) as azurite:
        drive = HostileDrive(m365.users[0].drive, large_bytes=20 << 20)
        place = AzuritePlace(azurite, "pre/fix")
        summary = CommandLine(tmp_path, backup_settings(m365, place)).ok("backup")
        access = {"AZURE_ACCOUNT_NAME": azurite.account_name, "AZURE_ACCOUNT_KEY": azurite.account_key}
        restic = judge(place.location, PASSWORD, access)
        restic.check()
        top = restic.restore(summary["snapshot_id"], tmp_path / "out")
        assert compare(top, drive.expected()).differences == []
