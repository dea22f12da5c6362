"""Lost positions, lost and damaged state, full scans: everything that reads the whole drive again downloads nothing
that the last snapshot has, and ends with the same snapshot that a first backup would make.
"""

import pytest
from support.world import World

from backup_core.repository import layout
from backup_core.testing.m365.faults import Status


def furnish(fresh: World) -> None:
    for number in range(20):
        fresh.drive.put_file(f"/f{number % 4}/file{number}.txt", b"content %d" % number)
    fresh.drive.make_folder("/f1/empty")


def test_unchanged_drive_is_one_request(fresh: World) -> None:
    """A run without changes makes one delta request, downloads nothing, and its snapshot has the same tree."""
    furnish(fresh)
    first = fresh.back_up()
    fresh.m365.log.clear()
    second = fresh.back_up()
    asked = [each.path for each in fresh.m365.log if each.origin == "graph"]
    assert len([path for path in asked if "delta" in path]) == 1
    assert len(asked) == 3, "whose drive, which drive, what changed"
    assert not fresh.downloads()
    assert (second.mode, second.files_unmodified, second.parent) == ("delta", 20, first.snapshot_id)
    fresh.assert_same(second)


def test_position_refused(fresh: World) -> None:
    """410 leads to an enumeration that downloads only what changed, and finds deletions that no feed tells any more."""
    furnish(fresh)
    fresh.back_up()
    fresh.drive.put_file("/f1/file1.txt", b"changed")
    fresh.drive.delete("/f2")
    fresh.m365.switches.expire_positions()
    fresh.m365.log.clear()
    summary = fresh.back_up()
    assert (summary.mode, summary.files_changed, summary.files_deleted) == ("resync", 1, 5)
    assert len(fresh.downloads()) == 1
    fresh.assert_same(summary)
    assert fresh.back_up().mode == "delta"


@pytest.mark.parametrize("status", [400, 404, 410])
def test_position_refused_in_other_words(fresh: World, status: int) -> None:
    """A stored position that answers 400 or 404 is as lost as one that answers 410."""
    furnish(fresh)
    fresh.back_up()
    refusal = Status(status, {"error": {"code": "invalidRequest" if status == 400 else "itemNotFound", "message": "x"}})
    fresh.m365.faults.add(match=r"GET graph .*/delta\?.*token", nth=1, times=3 if status == 400 else 1, fault=refusal)
    summary = fresh.back_up()
    assert summary.mode == "resync"
    fresh.assert_same(summary)


@pytest.mark.parametrize("lost", [layout.STATE, layout.HEADS, layout.SEGMENTS])
def test_state_lost(fresh: World, lost: str) -> None:
    """Without its state the drive is listed again, nothing is downloaded twice, and the state is whole again."""
    furnish(fresh)
    fresh.back_up()
    for entry in list(fresh.store.list(lost)):
        fresh.store.delete(entry.name)
    fresh.drive.put_file("/f0/new.txt", b"new")
    fresh.m365.log.clear()
    summary = fresh.back_up()
    assert len(fresh.downloads()) == 1
    fresh.assert_same(summary)
    assert fresh.back_up().mode == "delta"


@pytest.mark.parametrize("where", ["first", "middle", "last"])
@pytest.mark.parametrize("kind", [layout.HEADS, layout.SEGMENTS])
def test_state_damaged(fresh: World, kind: str, where: str) -> None:
    """A flipped bit anywhere in the state costs an enumeration at most, never a wrong snapshot."""
    furnish(fresh)
    fresh.back_up()
    fresh.drive.put_file("/f0/file0.txt", b"second version")
    fresh.back_up()
    for entry in list(fresh.store.list(kind)):
        data = bytearray(fresh.store.get(entry.name))
        data[{"first": 0, "middle": len(data) // 2, "last": -1}[where]] ^= 1
        fresh.store.delete(entry.name)
        fresh.store.put_new(entry.name, bytes(data))
    fresh.drive.put_file("/f0/new.txt", b"new")
    fresh.assert_same(fresh.back_up())


def test_snapshot_forgotten(fresh: World) -> None:
    """A state whose snapshot somebody has forgotten is not believed; the one before it is, or the drive is listed."""
    furnish(fresh)
    fresh.back_up()
    fresh.drive.put_file("/f0/file0.txt", b"second version")
    second = fresh.back_up()
    fresh.store.delete(layout.snapshot_name(str(second.snapshot_id)))
    fresh.drive.delete("/f3")
    summary = fresh.back_up()
    fresh.assert_same(summary)
    assert summary.mode == "delta", "the earlier state and its older position are as good"


def test_full_scan(fresh: World) -> None:
    """`onedrive` lists every folder, downloads only what changed, and leaves a position for the next delta."""
    furnish(fresh)
    first = fresh.back_up(source="onedrive")
    assert first.mode == "full"
    fresh.assert_same(first)
    fresh.drive.put_file("/f1/file1.txt", b"other")
    fresh.drive.delete("/f2/file2.txt")
    fresh.m365.log.clear()
    second = fresh.back_up(source="onedrive")
    assert (second.mode, second.files_changed, second.files_deleted) == ("rescan", 1, 1)
    assert len(fresh.downloads()) == 1
    fresh.assert_same(second)
    third = fresh.back_up()
    assert third.mode == "delta"
    fresh.assert_same(third)


def test_change_during_a_scan_comes_with_the_next_delta(fresh: World) -> None:
    """The position is taken before the walk, so that what changes while folders are listed is not lost."""
    furnish(fresh)
    drive = fresh.drive

    def change(response: object) -> object:
        drive.put_file("/f0/during.txt", b"made while others were listed")
        return response

    from backup_core.testing.m365.faults import Alter

    fresh.m365.faults.add(match=r"GET graph .*/children", nth=5, fault=Alter(change))
    fresh.back_up(source="onedrive")
    summary = fresh.back_up()
    assert summary.mode == "delta"
    fresh.assert_same(summary)


def test_folder_as_the_root(fresh: World) -> None:
    """`--path` backs up one folder as if it were the drive; what moves out of it is gone, what moves in is new."""
    furnish(fresh)
    fresh.drive.put_file("/f1/sub/inner.txt", b"inner")
    inside = {path.removeprefix("f1/"): entry for path, entry in fresh.expected().items() if path.startswith("f1/")}
    first = fresh.back_up(root_path="f1")
    assert fresh.contents(first.snapshot_id) == inside
    fresh.drive.move("/f1/file1.txt", "/f2")
    fresh.drive.move("/f0/file0.txt", "/f1/sub")
    fresh.drive.put_file("/f1/sub/inner.txt", b"inner two")
    inside = {path.removeprefix("f1/"): entry for path, entry in fresh.expected().items() if path.startswith("f1/")}
    second = fresh.back_up(root_path="f1")
    assert fresh.contents(second.snapshot_id) == inside
    assert second.complete


def test_restored_from_the_recycle_bin(fresh: World) -> None:
    """A folder that comes back with its old id brings its content back."""
    furnish(fresh)
    fresh.back_up()
    item = fresh.drive.delete("/f1")
    fresh.back_up()
    fresh.drive.restore(item)
    summary = fresh.back_up()
    fresh.assert_same(summary)
