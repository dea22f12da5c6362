"""The save path alone: a folder of this machine into a repository, by the very code that saves downloaded files.

    python -m benchmarks.save_tree [--checksum] FOLDER REPOSITORY

`--checksum`: every byte also passes through quickXorHash, as in a download, which restic has no need of.
DRIVEKEEP_PASSWORD opens the repository.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from backup_core.backup.content import Claims, save_content, window
from backup_core.clock import SystemClock
from backup_core.graph.items import DriveItem
from backup_core.graph.quickxorhash import QuickXorHash
from backup_core.repository import times
from backup_core.repository.index import save_index
from backup_core.repository.node import Origin, file_node, top_node
from backup_core.repository.packer import Packer
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, save_snapshot
from backup_core.repository.tree import Tree, item_key, tree_id
from backup_core.storage.local_folder import LocalFolderStore

WORKERS = 2  # as many as there are cores
PACK_BYTES = 16 << 20  # as the product packs locally, and as restic does


def save(folder: Path, repository: Repository, with_checksum: bool) -> str:
    packer = Packer(repository, tree=False, pack_bytes=PACK_BYTES, in_flight=2)
    claims = Claims(None)

    def save_file(path: Path) -> tuple[Path, list[bytes], int, str]:
        checksum = QuickXorHash()
        with path.open("rb", buffering=0) as file:

            def read(into: memoryview) -> int:
                count = file.readinto(into)  # type: ignore[attr-defined]
                if with_checksum:
                    checksum.update(into[:count])
                return int(count)

            content, size = save_content(read, window(), claims, packer)
        return path, content, size, checksum.base64()

    files = sorted(path for path in folder.iterdir() if path.is_file())
    with ThreadPoolExecutor(WORKERS) as pool:
        saved = list(pool.map(save_file, files))
    save_index(repository, packer.finish())
    tree = Tree()
    for path, content, size, checksum in saved:
        modified = path.stat().st_mtime_ns
        item = DriveItem(path.name, "root", path.name, "file", size, checksum, "", modified, modified)
        tree.insert(item_key(item.id), file_node(item, content, size), item.name)
    top = Tree()
    trees = Packer(repository, tree=True, pack_bytes=PACK_BYTES, in_flight=1, level=3)
    root = DriveItem("root", kind="folder")
    top.insert(
        item_key("root"),
        top_node(root, "Drive", tree_id(tree.parts()), Origin("onedrive", "bench@example.com", "drive")),
        "Drive",
    )
    for each in (tree, top):
        trees.add(bytes.fromhex(tree_id(each.parts())), b"".join(each.parts()))
    save_index(repository, trees.finish())
    now = times.to_text(SystemClock().now())
    return save_snapshot(repository, Snapshot(time=now, tree=tree_id(top.parts()), paths=["/Drive"]))


if __name__ == "__main__":
    *options, tree_folder, place = sys.argv[1:]
    opened = Repository.open(LocalFolderStore(Path(place)), os.environ["DRIVEKEEP_PASSWORD"])
    print(save(Path(tree_folder), opened, "--checksum" in options))
