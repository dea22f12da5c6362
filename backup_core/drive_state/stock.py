"""Taking stock: before anything is looked up, the maps cover exactly the index files that are there."""

from backup_core.drive_state.state import DriveState, tree_record
from backup_core.repository.index import load_index
from backup_core.repository.repository import Repository


def take_stock(repository: Repository, state: DriveState) -> None:
    """Read the index files that the state does not know: of a run that died, or of stock restic.

    Where one that it knows is gone, somebody has pruned: then the maps are built anew from all of them, one file in
    memory at a time. Under the repository's lock only, or a prune may take away what is found. Damaged; NotFound.
    """
    present = set(repository.ids("index"))
    if state.indexes and state.indexes <= present:
        for index_id in sorted(present - state.indexes):
            state.cover(index_id, load_index(repository, index_id))
        return
    trees, data = state.sorted_parts("trees"), state.sorted_parts("data")
    for index_id in sorted(present):
        for pack in load_index(repository, index_id):
            for blob in pack.blobs:
                if blob.tree:
                    trees.put(blob.id, tree_record(pack.id, blob))
                else:
                    data.put(blob.id, b"")
    state.trees.rebuild(trees)
    state.data.rebuild(data)
    state.indexes = present
