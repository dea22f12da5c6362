"""`ls`: every item of a snapshot under its true path, a folder before what is in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.snapshots import File, Folder, Lost, Snapshots

from backup_core.browse.listing import Listed, list_items
from backup_core.browse.origins import read_origins
from backup_core.errors import Damaged, NotFound
from backup_core.repository import walk
from backup_core.repository.node import Node, Origin
from backup_core.storage.memory import MemoryStore
from backup_core.storage.metered import MeteredStore

TREE = {
    "b.txt": b"1234",
    "A": {"sub": {"deep": File(b"12", 1_000_000_000)}, "z": b""},
    "void": Folder({}, 2_500_000_000),
    "long" * 100: b"1",
    "q/a": {"r/s": b"22"},
    "odd": File(b"x", verdict="mismatch"),
    "unknown": File(b"x", verdict="unverifiable", quickxor=""),
}


def paths(snapshots: Snapshots, path: str = "", content: dict | None = None) -> list[str]:
    return [item.path for item in list_items(snapshots.repository, snapshots.add(content or TREE), path)]


def test_items_have_what_the_contract_names() -> None:
    """True names, sizes as stored, times in UTC, id, hash and verdict; a folder has size 0 and no hash or verdict."""
    snapshots = Snapshots()
    found = {item.path: item for item in list_items(snapshots.repository, snapshots.add(TREE))}
    assert list(found) == [
        "b.txt", "long" * 100, "odd", "unknown", "A", "A/z", "A/sub", "A/sub/deep", "q/a", "q/a/r/s", "void",
    ]  # fmt: skip
    quickxor = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
    ids = {path: item.item_id for path, item in found.items()}
    assert len(set(ids.values())) == len(found) and all(each and each.startswith("01ITEM") for each in ids.values())
    deep = Listed("A/sub/deep", "file", 2, "1970-01-01T00:00:01Z", ids["A/sub/deep"], quickxor, "verified")
    assert found["A/sub/deep"] == deep
    assert found["void"] == Listed("void", "dir", 0, "1970-01-01T00:00:02.5Z", ids["void"], None, None)
    assert found["odd"].verdict == "mismatch"
    assert (found["unknown"].quickxorhash, found["unknown"].verdict) == (None, "unverifiable")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("A", ["A/z", "A/sub", "A/sub/deep"]),
        ("/a/SUB/", ["A/sub/deep"]),
        ("A/sub/deep", ["A/sub/deep"]),
        ("q/a", ["q/a/r/s"]),
        ("q/a/r/s", ["q/a/r/s"]),
        ("void", []),
        ("long" * 100, ["long" * 100]),
    ],
)
def test_only_below_a_path(path: str, expected: list[str]) -> None:
    """A folder is listed without itself, a file alone, in any case of the letters."""
    assert paths(Snapshots(), path) == expected


@pytest.mark.parametrize("path", ["nowhere", "A/su", "A/sub/deep/er", "q", "OneDrive"])
def test_a_path_that_is_nowhere(path: str) -> None:
    """NotFound, which names it."""
    with pytest.raises(NotFound, match=path):
        paths(Snapshots(), path)


def test_a_damaged_folder_does_not_hide_the_others() -> None:
    """Everything else is listed, then what is wrong is raised; asked for by path, it is not called missing."""
    snapshots, found = Snapshots(), []
    snapshot = snapshots.add({"a": Lost(), "b": {"c": b"1"}})
    with pytest.raises(NotFound, match="is in no index"):
        found.extend(item.path for item in list_items(snapshots.repository, snapshot))
    assert found == ["a", "b", "b/c"]
    with pytest.raises(NotFound, match="is in no index"):
        list(list_items(snapshots.repository, snapshot, "a/x"))


def test_a_damaged_index_file_is_told_after_what_could_be_listed() -> None:
    """Folders that other index files name are listed; then Damaged names the file."""
    snapshots, found = Snapshots(), []
    snapshot = snapshots.add({"a": b"1"})
    snapshots.store.put_new("index/" + "ab" * 32, b"damaged" * 20)
    with pytest.raises(Damaged, match="index/abab"):
        found.extend(item.path for item in list_items(snapshots.repository, snapshot))
    assert found == ["a"]


def test_a_snapshot_of_stock_restic_is_listed_from_its_root() -> None:
    """Without drivekeep's top folder: the paths that restic has, times in UTC, neither ids nor verdicts."""
    snapshots = Snapshots()
    snapshot = snapshots.add({"home": {"a": b"1"}, "b": b"2"}, origin=None)
    found = list(list_items(snapshots.repository, snapshot))
    assert [item.path for item in found] == ["b", "home", "home/a"]
    assert {(item.item_id, item.quickxorhash, item.verdict) for item in found} == {(None, None, None)}
    link = Node(quoted="l", type="symlink", linktarget="x", mtime="2020-01-01T00:30:00.5+02:00")
    (item,) = list_items(snapshots.repository, snapshots.raw([link]))
    assert (item.path, item.type, item.mtime) == ("l", "symlink", "2019-12-31T22:30:00.5Z")


def test_requests_do_not_grow_with_the_number_of_folders() -> None:
    """A thousand folders, cousins of each other, cost some requests."""
    store = MeteredStore(MemoryStore())
    snapshots = Snapshots(store, pack_bytes=1 << 24)
    inner = {f"{b}": {f"{c}": {"f": b"%d" % c} for c in range(9)} for b in range(10)}
    snapshot = snapshots.add({f"{a}": {**inner, f"only in {a}": b"%d" % a} for a in range(10)})
    before = store.requests
    assert len(list(list_items(snapshots.repository, snapshot))) == 10 + 100 + 900 + 900 + 10
    assert store.requests - before <= 20


names = st.text("abcAB _", min_size=1, max_size=4)
contents = st.recursive(st.binary(max_size=3), lambda inner: st.dictionaries(names, inner, max_size=5), max_leaves=25)


def in_order(folder: dict, path: str = "") -> list[str]:
    files = [path + name for name in sorted(folder) if not isinstance(folder[name], dict)]
    for name in sorted(folder):
        if isinstance(folder[name], dict):
            files += [path + name, *in_order(folder[name], f"{path}{name}/")]
    return files


@given(st.dictionaries(names, contents, max_size=6), st.integers(1, 4))
def test_every_tree_is_listed_whole_and_in_order(content: dict, ahead: int) -> None:
    """Whatever is read ahead: each item once, each folder directly before its files and then its subfolders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "AHEAD_FOLDERS", ahead)
        assert paths(Snapshots(), content={**content, "last": b""}) == in_order({**content, "last": b""})


def test_origins_are_told_by_root_tree() -> None:
    """The source, the account and how the run went come from the top folder; None for what stock restic made."""
    snapshots = Snapshots()
    origin = Origin("onedrive", "bob@example.org", "b!x", root="Docs", suspicious=True, incomplete=3)
    ours, theirs = snapshots.add({"a": b"1"}, origin=origin), snapshots.add({"a": b"1"}, origin=None)
    assert read_origins(snapshots.repository, [ours, theirs]) == {ours.tree: origin, theirs.tree: None}
