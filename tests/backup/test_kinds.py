"""Names that become one, items and roots that are not what they were, and folders in folders in folders."""

import pytest
from support.world import World, world

from backup_core.backup.job import Summary
from backup_core.repository import layout
from backup_core.testing.fake_clock import FakeClock


def failed(summary: Summary) -> dict[str, str]:
    return {item.path: item.reason for item in summary.items_failed}


def test_two_items_of_one_stored_name(fresh: World) -> None:
    """Two names that become one are both kept; when one of them goes, the other is what it always was."""
    for number, name in enumerate(("a/b", "a_b", "c/d", "c_d")):
        fresh.drive.put_file(f"/dir/{number}", b"content %d" % number)
        fresh.drive.rename(f"/dir/{number}", "x")
        fresh.drive.item("/dir").children.pop("x")  # the simulated drive splits paths at slashes
        item = next(each for each in fresh.drive._items.values() if each.name == "x")
        item.name = name
        fresh.drive.item("/dir").children[name.lower()] = item
    first = fresh.back_up()
    fresh.assert_same(first)
    assert first.complete and first.files_total == 4
    for name in ("a/b", "c_d"):
        gone = fresh.drive.item("/dir").children[name]
        fresh.drive._detach(gone, fresh.drive.item("/dir"))
        gone.deleted = True
        fresh.drive._changed(gone)
    second = fresh.back_up()
    fresh.assert_same(second)
    assert (second.files_deleted, second.files_total, second.mode) == (2, 2, "delta")


def test_root_with_another_date(fresh: World) -> None:
    """The root is no item of the tree, and yet its date in the snapshot is the date of now."""
    import datetime

    from backup_core.repository.blobs import BlobReader, LoadedIndex
    from backup_core.repository.snapshot import load_snapshot
    from backup_core.repository.tree import Tree

    fresh.drive.put_file("/a.txt", b"a")
    fresh.back_up()
    fresh.drive.set_modified("", datetime.datetime(2031, 1, 2, tzinfo=datetime.UTC))
    summary = fresh.back_up()
    repository = fresh.open_repository()
    reader = BlobReader(repository, LoadedIndex.load(repository).locate)
    tree = load_snapshot(repository, str(summary.snapshot_id)).tree
    (top,) = [node for _, node in Tree.parse(reader.read(bytes.fromhex(tree), True)).nodes()]
    assert top.mtime.startswith("2031-01-02")
    fresh.assert_same(summary)


@pytest.mark.parametrize("how", ["delta", "expired", "scan"])
def test_root_with_another_id(how: str) -> None:
    """A drive whose root has another id, as after Microsoft moved it to other machines, is listed from the new root."""
    with world(clock=FakeClock()) as made:
        made.drive.put_file("/dir/a.txt", b"a")
        made.back_up()
        root = made.drive.root
        root.id = "01ANOTHERROOTOFTHESAMEDRIVEXXXXXXX"
        made.drive._items[root.id] = root
        made.drive._changed(root)
        made.drive.put_file("/b.txt", b"b")
        if how == "expired":
            made.m365.switches.expire_positions()
        summary = made.back_up(source="onedrive" if how == "scan" else "onedrive-changes")
        made.assert_same(summary)
        assert summary.complete and summary.mode == ("rescan" if how == "scan" else "resync")
        made.assert_same(made.back_up())


@pytest.mark.parametrize("to_folder", [False, True])
@pytest.mark.parametrize("expired", [False, True])
def test_item_that_becomes_another_kind(fresh: World, to_folder: bool, expired: bool) -> None:
    """A folder that is a file under the same id, or the other way round, is saved as what it is now."""
    fresh.drive.put_file("/keep.txt", b"keep")
    if to_folder:
        item = fresh.drive.put_file("/thing", b"a file")
    else:
        fresh.drive.put_file("/thing/below/x.txt", b"below")
        item = fresh.drive.item("/thing")
    fresh.back_up()
    from backup_core.testing.m365.bodies import BytesBody

    if to_folder:
        item.body, item.children = None, {}
        fresh.drive.put_file("/thing/new.txt", b"new")
    else:
        fresh.drive.delete("/thing/below")
        item.children, item.body = None, BytesBody(b"a file now")
    fresh.drive._changed(item)
    if expired:
        fresh.m365.switches.expire_positions()
    summary = fresh.back_up()
    fresh.assert_same(summary)
    assert summary.bytes_total == sum(each.size for _, each in fresh.drive.files())
    fresh.assert_same(fresh.back_up())


def test_sixty_levels(fresh: World) -> None:
    """A change sixty folders down is found, saved and reported under its whole path."""
    deep = "/".join(f"level{number}" for number in range(60))
    fresh.drive.put_file(f"/{deep}/a.txt", b"a")
    fresh.assert_same(fresh.back_up())
    fresh.drive.put_file(f"/{deep}/a.txt", b"second")
    fresh.drive.set_locked(f"/{deep}/a.txt")
    fresh.drive.rename("/level0/level1", "renamed")
    summary = fresh.back_up()
    assert failed(summary) == {f"{deep.replace('level1/', 'renamed/', 1)}/a.txt": "locked"}
    fresh.drive.set_locked(f"/{deep.replace('level1/', 'renamed/', 1)}/a.txt", False)
    fresh.assert_same(fresh.back_up())


def test_damaged_state_keeps_to_this_drive(fresh: World) -> None:
    """A snapshot whose tree is gone is passed over, and what it had is fetched again."""
    fresh.drive.put_file("/a/b.txt", b"content")
    fresh.back_up()
    for folder in (layout.DATA, layout.INDEX, layout.STATE):
        for entry in list(fresh.store.list(folder)):
            fresh.store.delete(entry.name)
    summary = fresh.back_up()
    fresh.assert_same(summary)
    assert fresh.back_up().mode == "delta"
