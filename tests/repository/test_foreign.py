"""We read repositories that stock restic made: both versions, every way of compressing, several keys."""

import hashlib
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_core.clock import SystemClock
from backup_core.errors import WrongPassword
from backup_core.repository.blobs import BlobReader, LoadedIndex
from backup_core.repository.crypto import Keys
from backup_core.repository.key import create_key
from backup_core.repository.layout import CONFIG, pack_name
from backup_core.repository.pack import check_pack
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import load_snapshots
from backup_core.storage.local_folder import LocalFolderStore

Restic = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with text, random bytes, an empty file and a folder below a folder."""
    root = tmp_path / "source"
    (root / "a" / "b").mkdir(parents=True)
    (root / "text").write_bytes(b"the same line again\n" * 100_000)
    (root / "a" / "random").write_bytes(random.Random(1).randbytes(3 << 20))
    (root / "a" / "b" / "empty").write_bytes(b"")
    for number in range(30):
        (root / "a" / "b" / f"{number}").write_bytes(b"%d" % number * 500)
    return root


def empty_repository(tmp_path: Path, version: int) -> Path:
    """As `restic init` makes it, but with a cheap key: restic's own costs half a second in every command."""
    store, keys = LocalFolderStore(tmp_path / "repo", sync=False), Keys.random()
    create_key(store, "pw", keys, SystemClock())
    config = {"version": version, "id": "a" * 64, "chunker_polynomial": "3da3358b4dc173"}
    store.put_new(CONFIG, keys.seal(json.dumps(config).encode()))
    return tmp_path / "repo"


def files_of(read: BlobReader, tree: str, below: str = "") -> Iterator[tuple[str, bytes]]:
    for node in json.loads(read.read(bytes.fromhex(tree), True))["nodes"]:
        path = f"{below}/{node['name']}"
        if node["type"] == "dir":
            yield from files_of(read, node["subtree"], path)
        else:
            contents = dict(read.read_many(map(bytes.fromhex, node["content"]), False))
            yield path, b"".join(contents[bytes.fromhex(each)] for each in node["content"])


def is_read_whole(repository: Repository, source: Path) -> None:
    """The latest snapshot holds the folder's bytes; every pack is what the index says, to the last byte."""
    loaded = LoadedIndex.load(repository)
    read = BlobReader(repository, loaded.locate, loaded.copies)
    found = dict(files_of(read, load_snapshots(repository)[-1].tree))
    expected = {str(path): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    assert found == expected
    scratch = memoryview(bytearray(16 << 20))
    for pack in loaded.packs():
        data = repository.store.get(pack_name(pack.id.hex()))
        assert hashlib.sha256(data).digest() == pack.id
        check_pack(repository.keys, memoryview(data), pack.blobs, scratch)


@pytest.mark.parametrize(("version", "compression"), [("1", "off"), ("2", "off"), ("2", "auto"), ("2", "max")])
def test_what_restic_wrote_is_read(
    tmp_path: Path, source: Path, restic: Restic, version: str, compression: str
) -> None:
    """Version 1 and 2, uncompressed, compressed and compressed hard: every byte is there."""
    folder = empty_repository(tmp_path, int(version))
    extra = () if version == "1" else ("--compression", compression)
    restic(folder, *extra, "backup", str(source))
    repository = Repository.open(LocalFolderStore(folder), "pw")
    assert repository.version == int(version)
    assert repository.id == json.loads(restic(folder, "cat", "config").stdout)["id"]
    is_read_whole(repository, source)


def test_an_upgraded_repository_is_read(tmp_path: Path, source: Path, restic: Restic) -> None:
    """After `migrate upgrade_repo_v2` plain objects of version 1 lie beside compressed ones; all are read."""
    folder = empty_repository(tmp_path, 1)
    restic(folder, "backup", str(source))
    restic(folder, "migrate", "upgrade_repo_v2")
    (source / "new").write_bytes(b"new content " * 1000)
    restic(folder, "backup", str(source))
    repository = Repository.open(LocalFolderStore(folder), "pw")
    assert repository.version == 2
    assert len(load_snapshots(repository)) == 2
    is_read_whole(repository, source)


def test_a_repository_that_restic_made_opens(tmp_path: Path, restic: Restic) -> None:
    """What `restic init` makes opens with its password and with no other; what we add to it restic reads."""
    folder, store = tmp_path / "repo", LocalFolderStore(tmp_path / "repo")
    restic(folder, "init")
    with pytest.raises(WrongPassword):
        Repository.open(store, "eve")
    saved = Repository.open(store, "pw").save_unpacked("index", b'{"packs":[]}')
    assert restic(folder, "list", "index").stdout.split() == [saved]
