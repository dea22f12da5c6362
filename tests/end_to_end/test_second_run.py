"""The runs after the first one: they bring the snapshot up to the drive again, and cost what has changed, not more."""

import datetime
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.commands import CommandLine
from support.judge import Judge
from support.places import AzuritePlace, LocalPlace, Place
from support.traffic import feed_pages, fetched, listings

from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.drive import Drive
from backup_core.testing.restored_folder import compare

PASSWORD = "second run"
NOW = datetime.datetime(2026, 5, 17, 12, 0, 0, tzinfo=datetime.UTC)


class Case(NamedTuple):
    business: bool
    app_only: bool
    source: str
    place: str


CASES = [
    Case(True, True, "onedrive-changes", "local"),
    Case(True, False, "onedrive-changes", "azurite"),
    Case(True, True, "onedrive", "azurite"),
    Case(False, False, "onedrive-changes", "local"),
    Case(False, False, "onedrive", "local"),
]


def _name(case: Case) -> str:
    who = "app" if case.app_only else "token-file"
    return f"{'business' if case.business else 'personal'}-{who}-{case.source}-{case.place}"


class Scene(NamedTuple):
    case: Case
    m365: Simulation
    drive: Drive
    place: Place
    command: CommandLine
    words: list[str]

    def backup(self, *words: str) -> Any:
        self.m365.log.clear()
        return self.command.ok("backup", *self.words, *words)


@pytest.fixture(params=CASES, ids=_name)
def scene(request: pytest.FixtureRequest, tmp_path: Path, home: Path) -> Iterator[Scene]:
    case: Case = request.param
    place: Place = LocalPlace(tmp_path / "repository")
    if case.place == "azurite":
        place = AzuritePlace(request.getfixturevalue("azurite"))
    with Simulation(business=case.business, users=2) as m365:
        m365.switches.page_size = 9
        m365.switches.personal_id_defects = not case.business
        settings = {**m365.environment(None if case.app_only else 1), **place.settings}
        settings |= {"DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": PASSWORD}
        user = m365.users[1]
        words = ["-source", case.source, *(["--account", user.upn] if case.app_only else [])]
        yield Scene(case, m365, user.drive, place, CommandLine(home, settings), words)


def furnish(drive: Drive) -> None:
    content = random.Random(11)
    for number in range(24):
        drive.put_file(f"/Work/Project {number % 3}/paper {number}.txt", content.randbytes(500 + number))
    drive.put_file("/Work/large.bin", content.randbytes(5 << 20))
    for name in ("one", "two", "three", "kept", "reverted", "CASE.txt", "dated", "becomes a folder", "dir/in dir"):
        drive.put_file(f"/Misc/{name}", content.randbytes(1000))
    for folder in ("swapped a", "swapped b", "gone", "remade", "full of/folders/with a file"):
        drive.put_file(f"/{folder}/inside.txt", folder.encode())
    drive.put_file("/gone/leaves before.txt", b"moved out of a folder that is deleted then")
    drive.make_folder("/hollow/er")


def live_a_day(drive: Drive) -> list[str]:
    """Everything that happens to a drive; the paths of what has content that no snapshot has under that id."""
    content = random.Random(12)
    edited = drive.item("/Work/large.bin").body
    assert edited is not None
    whole = edited.read(0, edited.size)
    drive.put_file("/Work/large.bin", whole[: 2 << 20] + b"put into the middle" + whole[2 << 20 :])
    drive.put_file("/Work/Project 0/paper 0.txt", content.randbytes(500))  # of the same size
    drive.put_file("/Work/Project 0/paper 3.txt", b"")
    kept = drive.item("/Misc/reverted").body
    assert kept is not None
    drive.put_file("/Misc/reverted", b"for a moment")
    drive.put_file("/Misc/reverted", kept)  # another version, the same bytes
    drive.set_modified("/Misc/dated", NOW)
    drive.rename("/Misc/CASE.txt", "case.TXT")
    drive.rename("/Misc/one", "between")  # three names go round
    drive.rename("/Misc/two", "one")
    drive.rename("/Misc/three", "two")
    drive.rename("/Misc/between", "three")
    drive.rename("/swapped a", "between")
    drive.rename("/swapped b", "swapped a")
    drive.rename("/between", "swapped b")
    drive.rename("/Work/Project 1", "Project One")
    drive.move("/Work/Project 2", "/Archive/2026")
    drive.rename("/Archive/2026/Project 2/paper 2.txt", "paper two.txt")  # renamed within what was moved
    drive.move("/gone/leaves before.txt", "/hollow")
    drive.delete("/gone")
    drive.delete("/remade")  # the same name and content under other ids
    drive.put_file("/remade/inside.txt", b"remade")
    drive.delete("/Misc/becomes a folder")
    drive.put_file("/Misc/becomes a folder/with a file", b"new")
    drive.delete("/Misc/dir")
    drive.put_file("/Misc/dir", b"a file where a folder was")
    drive.move("/full of/folders", "/hollow/er")
    drive.make_folder("/new/and empty", NOW)
    return [
        "/Work/large.bin",
        "/Work/Project 0/paper 0.txt",
        "/remade/inside.txt",
        "/Misc/becomes a folder/with a file",
        "/Misc/dir",
    ]


def assert_equal(scene: Scene, snapshot: str, expected: Any, scratch: Path) -> None:
    """What drivekeep brings back of a snapshot is what the drive was."""
    scene.command.ok("restore", snapshot, "--target", scratch)
    assert compare(scratch, expected).differences == []


def test_only_what_changed_is_fetched_and_the_past_stays(scene: Scene, judge: type[Judge], tmp_path: Path) -> None:
    """After edits, renames, moves, swaps and re-creations the second snapshot is the drive, the first what it was;
    only changed content is downloaded, and a third run downloads nothing at all.
    """
    furnish(scene.drive)
    first, first_state = scene.backup(), scene.drive.snapshot()
    changed = live_a_day(scene.drive)

    second, second_state = scene.backup(), scene.drive.snapshot()

    assert sorted(fetched(scene.m365)) == sorted(scene.drive.item(path).id for path in changed)
    assert second["bytes_downloaded"] == sum(second_state[path.lstrip("/")].size for path in changed)
    assert second["bytes_added"] < 4 << 20, "of the large file only the chunks around its edit are new"
    assert (second["mode"], second["parent"]) == (_later_mode(scene), first["snapshot_id"])
    counts = second["files_new"], second["files_changed"], second["files_deleted"]
    assert counts == (3, 3, 4)
    files = sum(entry.kind == "file" for entry in second_state.values())
    assert second["files_unmodified"] == files - 6

    third = scene.backup()
    assert fetched(scene.m365) == []
    assert (third["files_unmodified"], third["bytes_downloaded"], third["mode"]) == (files, 0, _later_mode(scene))
    if scene.case.source == "onedrive-changes":
        assert len(feed_pages(scene.m365)) == 1
        assert third["graph_requests"] == len(scene.m365.log.of("graph")) <= 3
    else:
        folders = sum(entry.kind == "folder" for entry in second_state.values())
        assert len(listings(scene.m365)) >= folders + 1

    assert_equal(scene, first["snapshot_id"], first_state, tmp_path / "first")
    assert_equal(scene, second["snapshot_id"][:8], second_state, tmp_path / "second")
    assert_equal(scene, "latest", second_state, tmp_path / "third")
    restic = judge(scene.place.folder(tmp_path), PASSWORD)
    restic.check()
    for snapshot, expected in ((first, first_state), (third, second_state)):
        top = restic.restore(snapshot["snapshot_id"], tmp_path / f"restic {snapshot['snapshot_id'][:8]}")
        assert compare(top, expected).differences == []


def _later_mode(scene: Scene) -> str:
    return "delta" if scene.case.source == "onedrive-changes" else "rescan"


@pytest.mark.parametrize("scene", CASES[:1], indirect=True, ids=_name)
def test_sources_take_turns(scene: Scene, tmp_path: Path) -> None:
    """A full scan leaves a position for the delta after it, and a delta leaves a state that a scan can use."""
    furnish(scene.drive)
    modes = []
    for turn, source in enumerate(["onedrive", "onedrive-changes", "onedrive", "onedrive-changes"]):
        path = f"/Misc/turn {turn}"
        scene.drive.put_file(path, b"%d" % turn)
        summary = scene.backup("-source", source)
        modes.append(summary["mode"])
        if turn:
            assert fetched(scene.m365) == [scene.drive.item(path).id]
        assert_equal(scene, "latest", scene.drive.snapshot(), tmp_path / str(turn))
    assert modes == ["full", "delta", "rescan", "delta"]
