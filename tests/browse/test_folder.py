"""One folder's children, as the API shows them."""

import pytest
from support.snapshots import Lost, Snapshots

from backup_core.browse.listing import list_folder, list_items
from backup_core.errors import Damaged, NotFound

TREE = {
    "b.txt": b"1234",
    "A": {"sub": {"deep": b"12"}, "z": b""},
    "q/a": {"r/s": b"22"},
    "q": {"a": b"1"},
    "void": {},
}


def listed(content: dict, path: str = "", **more: object) -> list[str]:
    snapshots = Snapshots()
    return [item.path for item in list_folder(snapshots.repository, snapshots.add(content, **more), path)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ["A", "q", "q/a", "void", "b.txt"]),
        ("/a/", ["A/sub", "A/z"]),
        ("A/SUB", ["A/sub/deep"]),
        ("A/sub/deep", ["A/sub/deep"]),
        ("q", ["q/a"]),
        ("q/a/r/s", ["q/a/r/s"]),
        ("void", []),
        ("b.txt", ["b.txt"]),
    ],
)
def test_what_lies_in_it_and_not_below(path: str, expected: list[str]) -> None:
    """Folders first, then the rest, each by name; a path in any case; a file is itself."""
    assert listed(TREE, path) == expected


@pytest.mark.parametrize("path", ["c", "A/c", "b.txt/c", "void/c", "A/sub/deep/x"])
def test_what_is_not_there(path: str) -> None:
    """NotFound, whichever part of the path is not there."""
    with pytest.raises(NotFound):
        listed(TREE, path)


def test_a_lost_list_is_damage(tmp_path) -> None:
    """A folder whose list is stored nowhere did exist: Damaged, and its neighbours show."""
    tree = {"lost": Lost(), "a": {"b": b"1"}}
    assert listed(tree) == ["a", "lost"]
    for path in ("lost", "lost/x"):
        with pytest.raises(Damaged):
            listed(tree, path)


def test_it_is_the_same_as_the_long_list_has(tmp_path) -> None:
    """Item by item, what `ls` shows of them."""
    snapshots = Snapshots()
    snapshot = snapshots.add(TREE)
    everything = {item.path: item for item in list_items(snapshots.repository, snapshot)}
    for item in list_folder(snapshots.repository, snapshot, "A"):
        assert item == everything[item.path]


def test_what_restic_made_has_no_drive_folder() -> None:
    """Paths start at its root."""
    assert listed({"a": {"b": b"1"}}, origin=None) == ["a"]
