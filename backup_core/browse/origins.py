"""Whose drive each snapshot holds and how its run went, read from the top folders. It lists nothing else."""

from collections.abc import Sequence

import msgspec

from backup_core.errors import Damaged, NotFound
from backup_core.repository.blobs import BlobReader, LoadedIndex
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot
from backup_core.repository.tree import Origin, Tree


def read_origins(repository: Repository, snapshots: Sequence[Snapshot]) -> dict[str, Origin | None]:
    """By the id of the snapshot's root tree. None where stock restic made it, or where it cannot be read any more:
    a list of snapshots is most needed when something is damaged.
    """
    if not snapshots:
        return {}
    index = LoadedIndex.load(repository, trees_only=True)
    reader = BlobReader(repository, index.locate, index.copies)
    return {tree: _origin(reader, tree) for tree in {snapshot.tree for snapshot in snapshots}}


def _origin(reader: BlobReader, tree: str) -> Origin | None:
    try:
        top = Tree.parse(reader.read(bytes.fromhex(tree), tree=True))
        return next((node.origin for _, node in top.nodes() if node.origin), None)
    except (Damaged, NotFound, ValueError, msgspec.MsgspecError):
        return None
