"""Snapshots built from plain dicts with the repository room alone, and stock restic as their judge."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backup_core.repository.blobs import LoadedIndex
from backup_core.repository.crypto import Keys
from backup_core.repository.index import save_index
from backup_core.repository.node import Origin, Verdict, encode_node, file_node, folder_node, top_node
from backup_core.repository.packer import Packer
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, load_snapshot, save_snapshot
from backup_core.repository.tree import Node, Tree, item_key
from backup_core.storage.memory import MemoryStore
from backup_core.storage.store import Store
from backup_core.testing.fake_clock import FakeClock

MODIFIED = 1_700_000_000_123_456_700  # of what has no time of its own
ORIGIN = Origin("onedrive-changes", "ann@example.org", "b!drive")

Content = dict[str, Any]
Restic = Callable[..., "subprocess.CompletedProcess[str]"]


class File(NamedTuple):
    """A file that differs from the usual one: `data` in one chunk, MODIFIED, verified, with a hash."""

    data: bytes
    modified: int = MODIFIED
    verdict: Verdict = "verified"
    quickxor: str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
    chunk_bytes: int = 1 << 20
    size: int | None = None  # what the node says, where that is a lie


class Folder(NamedTuple):
    content: Content
    modified: int = MODIFIED


class Lost(NamedTuple):
    """A folder whose list is stored nowhere."""


class _Facts(NamedTuple):
    id: str
    name: str
    size: int = 0
    quickxor: str = ""
    etag: str = ""
    modified: int = MODIFIED
    created: int = MODIFIED


class Snapshots:
    """Makes snapshots in one repository; each call is one run: new packs, one index, one snapshot."""

    def __init__(self, store: Store | None = None, *, pack_bytes: int = 1 << 20) -> None:
        self.store = store or MemoryStore(FakeClock())
        self.pack_bytes = pack_bytes
        if store is None:  # key files and `config` cost a scrypt; most tests do not look at them
            self.repository = Repository(self.store, Keys.random(), "0" * 64, 2, self.store)
        else:
            self.repository = Repository.create(store, "pw", FakeClock())
        self._seen: set[bytes] = set()
        self._ids = 0
        self._made = 0

    def add(self, content: Content, *, origin: Origin | None = ORIGIN) -> Snapshot:
        """A drive called OneDrive that holds this; without `origin` as stock restic makes it, and no ids."""
        packers = {tree: self._packer(tree) for tree in (False, True)}
        tree = self._folder(content, packers, origin is not None)
        if origin is not None:
            top = Tree()
            top.insert(item_key("01ROOT"), top_node(_Facts("01ROOT", "root"), "OneDrive", tree, origin), "OneDrive")
            tree = self._blob(b"".join(top.parts()), packers, tree=True)
        self.save_index(packers.values())
        self._made += 1
        time = f"2026-11-02T08:{self._made:02}:00Z"
        saved = save_snapshot(self.repository, Snapshot(time=time, tree=tree, paths=["/OneDrive"], hostname="a.org"))
        return load_snapshot(self.repository, saved)

    def save_index(self, packers: Iterable[Packer]) -> None:
        save_index(self.repository, [pack for packer in packers for pack in packer.finish()])

    def index(self) -> LoadedIndex:
        return LoadedIndex.load(self.repository)

    def raw(self, nodes: list[Node]) -> Snapshot:
        """A snapshot whose root tree is exactly these nodes, whatever they say."""
        packers = {tree: self._packer(tree) for tree in (False, True)}
        data = b'{"nodes":[' + b",".join(map(encode_node, nodes)) + b"]}\n"
        tree = self._blob(data, packers, tree=True)
        self.save_index(packers.values())
        self._made += 1
        time = f"2026-11-02T08:{self._made:02}:00Z"
        return load_snapshot(
            self.repository, save_snapshot(self.repository, Snapshot(time=time, tree=tree, paths=["/"]))
        )

    def blob(self, data: bytes, *, tree: bool = False) -> str:
        """Store one blob by itself."""
        packers = {tree: self._packer(tree)}
        blob = self._blob(data, packers, tree=tree)
        self.save_index(packers.values())
        return blob

    def _packer(self, tree: bool) -> Packer:
        return Packer(self.repository, tree=tree, pack_bytes=self.pack_bytes, in_flight=1)

    def _blob(self, data: bytes, packers: dict[bool, Packer], *, tree: bool) -> str:
        blob_id = hashlib.sha256(data).digest()
        if blob_id not in self._seen:
            self._seen.add(blob_id)
            packers[tree].add(blob_id, data)
        return blob_id.hex()

    def _folder(self, content: Content, packers: dict[bool, Packer], with_ids: bool) -> str:
        tree, bare = Tree(), []
        for name, each in content.items():
            self._ids += 1
            item_id = f"01ITEM{self._ids:06}"
            node = self._node(item_id, name, each, packers, with_ids)
            tree.insert(item_key(item_id), node, name)
        data = b"".join(tree.parts())
        if not with_ids:
            for _, decoded in tree.nodes():
                decoded.extended_attributes = []
                bare.append(encode_node(decoded))
            data = b'{"nodes":[' + b",".join(bare) + b"]}\n"
        return self._blob(data, packers, tree=True)

    def _node(self, item_id: str, name: str, each: Any, packers: dict[bool, Packer], with_ids: bool) -> bytes:
        if isinstance(each, Lost):
            return folder_node(_Facts(item_id, name), hashlib.sha256(item_id.encode()).hexdigest())
        if isinstance(each, dict | Folder):
            folder = each if isinstance(each, Folder) else Folder(each)
            subtree = self._folder(folder.content, packers, with_ids)
            return folder_node(_Facts(item_id, name, modified=folder.modified), subtree)
        file = each if isinstance(each, File) else File(each)
        chunks = [
            self._blob(file.data[at : at + file.chunk_bytes], packers, tree=False)
            for at in range(0, len(file.data), file.chunk_bytes)
        ]
        size = len(file.data) if file.size is None else file.size
        facts = _Facts(item_id, name, size=size, quickxor=file.quickxor, modified=file.modified)
        return file_node(facts, chunks, size, file.verdict)


def found_in(folder: Path) -> dict[str, tuple[bytes | None, int]]:
    """Everything in a folder of this machine: path -> content (None for a folder) and time; links are not followed."""
    found: dict[str, tuple[bytes | None, int]] = {}
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        found[str(path.relative_to(folder))] = (content, path.lstat().st_mtime_ns)
    return found


@pytest.fixture
def restic() -> Restic:
    """`restic(folder, *arguments)` runs stock restic with password "pw"; it must succeed unless `fails=True`."""
    program = shutil.which("restic")
    if program is None:
        assert os.environ.get("CI") != "true", "stock restic is the judge of what is stored: CI must have it"
        pytest.skip("stock restic is not installed")

    def run(folder: Path, *arguments: str, fails: bool = False) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [program, "--repo", str(folder), "--no-cache", *arguments],
            env={**os.environ, "RESTIC_PASSWORD": "pw"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert fails == (done.returncode != 0), f"restic {arguments}: {done.stdout}{done.stderr}"
        return done

    return run
