"""Somebody uses stock restic on our repository between two backups: the next run is right, and as cheap as can be."""

import errno
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
from support.commands import CommandLine
from support.judge import Judge, require_restic
from support.places import LocalPlace
from support.traffic import feed_pages, fetched

from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.drive import Drive
from backup_core.testing.restored_folder import compare

PASSWORD = "beside restic"
FILES = 40


class Prepared(NamedTuple):
    """A repository with two snapshots, and a drive that has changed since."""

    m365: Simulation
    drive: Drive
    folder: Path
    settings: dict[str, str]
    snapshots: list[str]
    second: list[str]  # ids of the items that the second run fetched
    third: list[str]  # ids of those that have changed since


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    require_restic()
    folder = tmp_path_factory.mktemp("prepared")
    content = random.Random(21)
    with Simulation() as m365:
        drive = m365.users[0].drive
        for number in range(FILES):
            drive.put_file(f"/Folder {number % 5}/{number}.bin", content.randbytes(9_000 + number))
        drive.put_file("/large.bin", content.randbytes(4 << 20))
        settings = {**m365.environment(None), "DRIVEKEEP_PASSWORD": PASSWORD}
        settings["DRIVEKEEP_REPOSITORY"] = str(folder / "repository")
        command, words = CommandLine(folder, settings), ["backup", "--account", m365.users[0].upn]
        first = command.ok(*words)
        m365.log.clear()
        lost = drive.item("/Folder 1/1.bin").body
        assert lost is not None
        drive.put_file("/Folder 1/1.bin", content.randbytes(8_000))
        drive.rename("/Folder 2", "Two")
        drive.put_file("/Two/new.txt", b"new in the second run")
        second = command.ok(*words)
        fetched_then = fetched(m365)
        drive.put_file("/Folder 3/3.bin", content.randbytes(7_000))
        drive.delete("/Folder 4/4.bin")
        drive.put_file("/again.bin", lost)  # what only the first snapshot has; a prune may have taken it away
        drive.move("/Two", "/Folder 0")
        snapshots = [first["snapshot_id"], second["snapshot_id"]]
        third = [drive.item("/Folder 3/3.bin").id, drive.item("/again.bin").id]
        yield Prepared(m365, drive, folder / "repository", settings, snapshots, fetched_then, third)


def tag(restic: Judge, prepared: Prepared, _scratch: Path) -> None:
    restic("tag", "--add", "kept for the auditor")


def rebuild_index(restic: Judge, prepared: Prepared, _scratch: Path) -> None:
    restic("rebuild-index", "--read-all-packs")


def forget_the_first_and_prune(restic: Judge, prepared: Prepared, _scratch: Path) -> None:
    restic("forget", "--keep-last", "1", "--prune", "--max-unused", "0")


def forget_the_second(restic: Judge, prepared: Prepared, _scratch: Path) -> None:
    restic("forget", prepared.snapshots[1])


def forget_the_second_and_prune(restic: Judge, prepared: Prepared, _scratch: Path) -> None:
    restic("forget", prepared.snapshots[1], "--prune", "--max-unused", "0")


def forget_all_and_prune(restic: Judge, prepared: Prepared, _scratch: Path) -> None:
    restic("forget", *prepared.snapshots, "--prune", "--max-unused", "0")


def back_up_something_else(restic: Judge, prepared: Prepared, scratch: Path) -> None:
    """Among it, a folder called like the drive, from a machine called like the tenant."""
    (scratch / "OneDrive").mkdir()
    (scratch / "OneDrive" / "other.txt").write_text("of somebody's laptop")
    restic("backup", scratch / "OneDrive", "--host", prepared.m365.tenant.domain)
    restic("backup", scratch, "--host", "laptop", "--tag", "laptop")


def tag_then_prune(restic: Judge, prepared: Prepared, _scratch: Path) -> None:
    restic("tag", "--set", "x")
    restic("prune", "--max-unused", "0", "--repack-small")


def add_a_key(restic: Judge, prepared: Prepared, scratch: Path) -> None:
    """For another person, with another password."""
    (scratch / "password").write_text("another")
    restic("key", "add", "--new-password-file", scratch / "password")


class Deed(NamedTuple):
    """What somebody does; the mode of the run after it, and what that run has to fetch."""

    act: Callable[[Judge, Prepared, Path], None]
    mode: str
    fetches: str  # "third": what has changed since; "second": also what the forgotten snapshot had; "all"


DEEDS = [
    Deed(tag, "delta", "third"),
    Deed(rebuild_index, "delta", "third"),
    Deed(forget_the_first_and_prune, "delta", "third"),
    Deed(forget_the_second, "delta", "second"),
    Deed(forget_the_second_and_prune, "delta", "second"),
    Deed(forget_all_and_prune, "full", "all"),
    Deed(back_up_something_else, "delta", "third"),
    Deed(tag_then_prune, "delta", "third"),
    Deed(add_a_key, "delta", "third"),
]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.act.__name__)
def test_the_next_run_is_right_and_cheap(deed: Deed, prepared: Prepared, tmp_path: Path) -> None:
    """The snapshot is the drive, nothing is fetched that is stored, the run after it is a bare look, and `restic check`
    is content with all of it.
    """
    place, command = _copy_of(prepared, tmp_path)
    restic = Judge(place.path, PASSWORD)
    (tmp_path / "scratch").mkdir()
    deed.act(restic, prepared, tmp_path / "scratch")
    run = ["backup", "--account", prepared.m365.users[0].upn]

    prepared.m365.log.clear()
    summary = command.ok(*run)

    every = [item.id for _, item in prepared.drive.files()]
    wanted = {"third": prepared.third, "second": prepared.second + prepared.third, "all": every}[deed.fetches]
    assert summary["complete"]
    assert (summary["mode"], sorted(fetched(prepared.m365))) == (deed.mode, sorted(wanted))
    _assert_restored(prepared, command, restic, tmp_path)
    restic.check()

    prepared.m365.log.clear()
    again = command.ok(*run)
    assert (again["mode"], len(feed_pages(prepared.m365)), fetched(prepared.m365)) == ("delta", 1, [])
    assert again["parent"] == summary["snapshot_id"]
    groups = {(each["hostname"], tuple(each["paths"])) for each in command.ok("snapshots") if each["source"]}
    assert len(groups) == 1, "`restic forget` would keep too much: it takes these for several machines' backups"


def test_a_copy_by_restic_goes_on_as_a_repository(prepared: Prepared, tmp_path: Path) -> None:
    """`restic copy` brings the snapshots into another repository, without the state: the drive is listed once, nothing
    is fetched that is there, and from then on a run costs what changes.
    """
    copy = Judge(tmp_path / "copy", PASSWORD, {"RESTIC_FROM_PASSWORD": PASSWORD})
    copy("init")
    copy("copy", "--from-repo", prepared.folder)
    command = CommandLine(tmp_path, {**prepared.settings, "DRIVEKEEP_REPOSITORY": str(tmp_path / "copy")})
    run = ["backup", "--account", prepared.m365.users[0].upn]
    modes = []
    for expected in (prepared.third, []):
        prepared.m365.log.clear()
        summary = command.ok(*run)
        assert (summary["complete"], sorted(fetched(prepared.m365))) == (True, sorted(expected))
        modes.append(summary["mode"])
    assert modes == ["resync", "delta"]
    _assert_restored(prepared, command, copy, tmp_path)
    copy.check()


def test_prune_between_a_broken_run_and_the_next(prepared: Prepared, tmp_path: Path) -> None:
    """What a broken run had saved and a prune has taken for rubbish is fetched again, not named blindly."""
    place, command = _copy_of(prepared, tmp_path)
    run = ["backup", "--account", prepared.m365.users[0].upn]
    full = OSError(errno.ENOSPC, "No space left on device")
    with mock.patch("backup_core.backup.commit.save_snapshot", side_effect=full):
        assert command.run(*run).code == 1
    restic = Judge(place.path, PASSWORD)
    before = _packs(place)
    restic("prune", "--max-unused", "0")
    assert _packs(place) != before, "the prune has taken nothing away: this shows nothing"
    prepared.m365.log.clear()
    assert command.ok(*run)["complete"]
    assert fetched(prepared.m365) == prepared.third[:1]  # the other's content is the first snapshot's, too
    _assert_restored(prepared, command, restic, tmp_path)
    restic.check()


def _packs(place: LocalPlace) -> list[str]:
    return [name for name in place.names() if name.startswith("data/")]


def _copy_of(prepared: Prepared, scratch: Path) -> tuple[LocalPlace, CommandLine]:
    place = LocalPlace(scratch / "repository")
    shutil.copytree(prepared.folder, place.path)
    return place, CommandLine(scratch, {**prepared.settings, "DRIVEKEEP_REPOSITORY": place.location})


def _assert_restored(prepared: Prepared, command: CommandLine, restic: Judge, scratch: Path) -> None:
    (latest,) = command.ok("snapshots", "--latest", "1")
    top = restic.restore(latest["id"], scratch / f"restic {latest['short_id']}")
    expected = prepared.drive.snapshot()
    assert compare(top, expected).differences == []
    command.ok("restore", "latest", "--target", scratch / "ours")
    assert compare(scratch / "ours", expected).differences == []
