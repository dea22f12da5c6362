"""Trees that are stored, found through the drive state: an incremental run never loads restic's whole index."""

from collections.abc import Iterable
from concurrent.futures import Executor

from backup_core.drive_state.state import DriveState
from backup_core.errors import Damaged, NotFound
from backup_core.repository.blobs import BlobReader, Range
from backup_core.repository.repository import Repository

KEPT_BYTES = 32 << 20  # trees are looked at twice, on the way down and on the way up; a giant one is read twice


class StoredTrees:
    """`pool`: threads in which a level of folders is read at once; waiting for the store is most of what that costs."""

    def __init__(self, repository: Repository, state: DriveState, pool: Executor) -> None:
        self._repository, self._state, self._pool = repository, state, pool
        self._kept: dict[str, bytes] = {}
        self._kept_bytes = 0
        self._sound: set[bytes] = set()  # trees that were read, or are being stored, by this run

    def load(self, tree_ids: Iterable[str]) -> dict[str, bytes]:
        """Tree id -> JSON of those that can be read; a tree that is nowhere, or damaged, is left out."""
        wanted = set(tree_ids)
        found = {each: self._kept[each] for each in wanted if each in self._kept}
        missing = [bytes.fromhex(each) for each in wanted - found.keys()]
        places = self._state.tree_places(missing)
        reader = BlobReader(self._repository, lambda blob_id, _tree: places.get(blob_id))
        for part in self._pool.map(lambda span: _readable(reader, span), reader.ranges(places, tree=True)):
            for tree_id, data in part:
                self._sound.add(tree_id)
                found[tree_id.hex()] = data
                self._keep(tree_id.hex(), data)
        return found

    def is_new(self, tree_id: bytes, whole: bool) -> bool:
        """Whether a tree must be stored; of each it is said once.

        Not stored as far as this run has looked: to look up more would cost more than the rare tree stored twice.
        `whole`: the run has looked at every tree of the last snapshot, and one that it could not read is stored anew,
        whatever the state says of it.
        """
        known = tree_id in self._sound or (not whole and self._state.trees.waiting(tree_id))
        self._sound.add(tree_id)
        return not known

    def _keep(self, tree_id: str, data: bytes) -> None:
        if self._kept_bytes + len(data) <= KEPT_BYTES:
            self._kept[tree_id] = data
            self._kept_bytes += len(data)


def _readable(reader: BlobReader, span: Range) -> list[tuple[bytes, bytes]]:
    """What can be read of a range; whoever misses a tree says what that means."""
    found: list[tuple[bytes, bytes]] = []
    try:
        for each in reader.read_range(span):
            found.append(each)
    except (Damaged, NotFound):
        pass
    return found
