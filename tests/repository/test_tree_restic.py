"""Stock restic as the judge of trees: it restores what we build, and what it built comes back from us byte for byte."""

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from backup_core.repository.blobs import BlobReader, LoadedIndex
from backup_core.repository.index import save_index
from backup_core.repository.names import stored_name
from backup_core.repository.packer import Packer
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, save_snapshot
from backup_core.repository.tree import (
    Origin,
    Tree,
    decode_node,
    encode_node,
    file_node,
    folder_node,
    item_key,
    top_node,
    tree_id,
)
from backup_core.storage.local_folder import LocalFolderStore
from backup_core.testing.fake_clock import FakeClock

HOSTILE = [
    "plain.txt",
    "ünï 漢字 😀.txt",
    'quote " and back\\slash',
    "line\nbreak\ttab\x1b\x7f",
    "<b>&amp;",
    "zero\u200bwidth\u2028\ue000\U000f0000\u00a0",
    "a:b*c?<>|",
    "trailing. ",
    "../evil",
    "a/b",
    "a_b",
    ".",
    "..",
    "half \ud83d pair",
    "x" * 400,
    "漢" * 255 + ".docx",
    "report.docx",
    "Report.docx",
]
TIMES = [1_700_000_000_123_456_700, 0, 1, -1, 2_000_000_000_000_000_000]


class Item(NamedTuple):
    id: str
    name: str
    size: int = 0
    quickxor: str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
    etag: str = ""
    modified: int = TIMES[0]
    created: int = 0


class Builder:
    """A repository in a folder, with one snapshot of what is put into it."""

    def __init__(self, folder: Path) -> None:
        self.repository = Repository.create(LocalFolderStore(folder, sync=False), "pw", FakeClock())
        self._packers = {tree: self._packer(tree) for tree in (False, True)}
        self._seen: set[bytes] = set()

    def _packer(self, tree: bool) -> Packer:
        return Packer(self.repository, tree=tree, pack_bytes=1 << 20, in_flight=1)

    def add(self, data: bytes, tree: bool = False) -> str:
        blob_id = hashlib.sha256(data).digest()
        if blob_id not in self._seen:
            self._seen.add(blob_id)
            self._packers[tree].add(blob_id, data)
        return blob_id.hex()

    def add_tree(self, tree: Tree) -> str:
        added = self.add(b"".join(tree.parts()), tree=True)
        assert tree_id(tree.parts()) == added
        return added

    def snapshot(self, tree: Tree) -> None:
        root = self.add_tree(tree)
        save_index(self.repository, [pack for each in self._packers.values() for pack in each.finish()])
        snapshot = Snapshot(time="2026-11-02T08:00:00Z", tree=root, paths=["/OneDrive"], hostname="example.org")
        save_snapshot(self.repository, snapshot)


def folder_of(builder: Builder, items: list[Item]) -> tuple[Tree, dict[str, bytes]]:
    """A folder of files, each holding its own name, and what each must hold, by stored name."""
    tree, content, expected = Tree(), dict[str, bytes](), dict[str, bytes]()
    for item in items:
        content[item.id] = data = item.name.encode("utf-8", "surrogatepass") if item.size else b""
        chunks = [builder.add(data)] if data else []
        tree.insert(item_key(item.id), file_node(item, chunks, len(data)), item.name)
    for _, node in tree.nodes():
        expected[node.name] = content[node.item_id]
    return tree, expected


def test_restic_restores_what_we_build(tmp_path: Path, restic) -> None:
    """Hostile names, names claimed twice, empty files and folders, old times: check is clean, every byte comes back."""
    builder = Builder(tmp_path / "repository")
    items = [
        Item(f"01ITEM{number}", name, len(name), modified=TIMES[number % len(TIMES)])
        for number, name in enumerate(HOSTILE)
    ]
    items += [
        Item("01TWICE1", "report.docx", 9),
        Item("01TWICE2", "report.docx", 9),
        Item("01EMPTY", "empty", quickxor=""),
    ]
    inner, expected = folder_of(builder, items)
    outer = Tree()
    for item_id, name, tree in (("01INNER", "inner", inner), ("01VOID", "void", Tree())):
        outer.insert(item_key(item_id), folder_node(Item(item_id, name), builder.add_tree(tree)), name)
    origin = Origin("onedrive-changes", "ann@example.org", "b!x", incomplete=2)
    root = Tree()
    root.insert(
        item_key("01ROOT"), top_node(Item("01ROOT", "root"), "OneDrive", builder.add_tree(outer), origin), "OneDrive"
    )
    builder.snapshot(root)

    restic(tmp_path / "repository", "check", "--read-data")
    listed = restic(tmp_path / "repository", "ls", "--json", "latest").stdout.splitlines()
    assert len([line for line in listed if json.loads(line).get("type") == "file"]) == len(items) == len(expected)
    restic(tmp_path / "repository", "restore", "latest", "--target", str(tmp_path / "out"))
    out = tmp_path / "out" / "OneDrive"
    assert {path.name: path.read_bytes() for path in (out / "inner").iterdir()} == expected
    assert sorted(path.name for path in out.iterdir()) == ["inner", "void"]
    assert list((out / "void").iterdir()) == []
    for item in items:
        path = out / "inner" / stored_name(item.name)
        assert path.exists()
        if not item.id.startswith("01TWICE") and item.name not in ("report.docx", "a/b", "a_b", ".", ".."):
            assert path.stat().st_mtime_ns == item.modified
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "repository"]
    assert not (tmp_path / "out" / "evil").exists()


@pytest.fixture
def restic_made(tmp_path: Path, restic) -> Repository:
    """A repository into which restic backed up files with everything that a node can say."""
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    names = [
        name
        for name in HOSTILE
        if "/" not in name and name not in (".", "..") and len(name.encode(errors="ignore")) < 256
    ]
    for number, name in enumerate(names):
        if "\ud83d" not in name:
            path = source / name
            path.write_text(name)
            os.utime(path, ns=(TIMES[number % 5], TIMES[number % 5]))
    (source / os.fsdecode(b"not \xff utf-8")).write_text("x")
    (source / "empty").touch()
    (source / "hard").hardlink_to(source / "plain.txt")
    (source / "link <&>").symlink_to("deep/er & more")
    (source / "big").write_bytes(os.urandom(3 << 20))
    os.mkfifo(source / "pipe")
    try:
        os.setxattr(source / "empty", "user.some", b"\xff\0")
        os.setxattr(source / "empty", "user.void", b"")
    except OSError:
        pass  # a file system without attributes: their encoding is tested elsewhere, too
    restic(tmp_path / "repository", "init")
    restic(tmp_path / "repository", "backup", str(source))
    return Repository.open(LocalFolderStore(tmp_path / "repository"), "pw")


def test_trees_that_restic_made_come_back_byte_for_byte(restic_made: Repository) -> None:
    """Every tree is written as it was read, and every node encoded as Go encoded it."""
    index = LoadedIndex.load(restic_made)
    reader = BlobReader(restic_made, index.locate)
    trees = {blob.id for pack in index.packs() for blob in pack.blobs if blob.tree}
    seen, times = 0, dict[str, int]()
    for _, data in reader.read_many(trees, tree=True):
        tree = Tree.parse(data)
        assert b"".join(tree.parts()) == data
        nodes = [node for _, node in tree.nodes()]
        assert b'{"nodes":[' + b",".join(map(encode_node, nodes)) + b"]}\n" == data
        assert all(decode_node(encode_node(node)) == node for node in nodes)
        times.update({node.name: node.modified for node in nodes})
        seen += len(nodes)
    assert len(trees) >= 3
    assert seen >= 20
    assert {times[HOSTILE[number]] for number in range(5)} == set(TIMES)


def test_a_folder_that_restic_made_can_be_edited(restic_made: Repository, tmp_path: Path, restic) -> None:
    """Our items go beside restic's nodes without changing a byte of them, and restic reads the result."""
    index = LoadedIndex.load(restic_made)
    reader = BlobReader(restic_made, index.locate)
    trees = [blob.id for pack in index.packs() for blob in pack.blobs if blob.tree]
    data = max((data for _, data in reader.read_many(trees, tree=True)), key=len)
    tree = Tree.parse(data)
    tree.insert(item_key("01A"), file_node(Item("01A", "plain.txt"), [], 0), "plain.txt")
    edited = b"".join(tree.parts())
    for _, node in Tree.parse(data).nodes():
        assert encode_node(node) in edited
    packer = Packer(restic_made, tree=True, pack_bytes=1 << 20, in_flight=1)
    packer.add(hashlib.sha256(edited).digest(), edited)
    save_index(restic_made, packer.finish())
    snapshot = Snapshot(time="2030-01-01T00:00:00Z", tree=tree_id([edited]), paths=["/edited"])
    saved = save_snapshot(restic_made, snapshot)
    restic(tmp_path / "repository", "check")
    lines = restic(tmp_path / "repository", "ls", "--json", saved).stdout.splitlines()
    listed = [json.loads(line).get("name") for line in lines]
    assert listed.count("plain.txt") == 1
    assert "plain.txt (01A)" in listed
