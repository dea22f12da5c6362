"""What the last snapshot has of the items that a plan names, found by going down its trees.

A delta touches few folders: the maps of the drive state tell where its items lived, and only the folders on the way
there are read. An enumeration is compared with everything, so every folder is read once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from backup_core.backup.scratch import OldNode, Scratch
from backup_core.backup.stored_trees import StoredTrees
from backup_core.drive_state.paged_map import PagedMap
from backup_core.errors import Inconsistent
from backup_core.repository.node import Node
from backup_core.repository.tree import Tree

TREES_AT_ONCE = 256  # read together on the way down; bounds what is unpacked at one time


class OldTree:
    """`tree_ids` and `parents`: of the folders that were looked into, and of all above them."""

    def __init__(self, trees: StoredTrees, root_key: bytes, root_tree: str | None) -> None:
        self._trees, self._root, self._root_tree = trees, root_key, root_tree
        self._is_whole = False
        self.tree_ids: dict[bytes, str] = {}
        self.parents: dict[bytes, bytes] = {}
        self.names: dict[bytes, str] = {}  # of the folders in between; for reports

    def find(self, scratch: Scratch, items: PagedMap, also: set[bytes]) -> None:
        """The old nodes of what a delta names, and of the keys `also`, into `scratch`."""
        planned = dict(scratch.parents())
        places = set(planned.values()) - {b""}
        self._look_up_parents(planned.keys() | places | also, items)
        wanted: dict[bytes, set[bytes]] = defaultdict(set)  # folder -> keys of items that were in it
        for key in planned.keys() | also:
            if (parent := self.parents.get(key)) is not None:
                wanted[parent].add(key)
        below = self._ways_down(wanted.keys() | places)
        for level in self._levels(below):
            for folder, tree in level:
                scratch.add_old(self._nodes(folder, tree, wanted.get(folder, set())))

    def walk(self, scratch: Scratch) -> None:
        """Every node of the last snapshot that can be read, into `scratch`; what cannot is fetched again."""
        self._is_whole = True
        for level in self._levels(None):
            for folder, tree in level:
                scratch.add_old(self._nodes(folder, tree, None))

    def below(self, tree_id: str, leave_out: Callable[[bytes], bool] | None = None) -> Iterator[tuple[bytes, Node]]:
        """Everything below a folder of the last snapshot, in no order, but `leave_out` and what lies below that."""
        pending = [tree_id]
        while pending:
            portion, pending = pending[:TREES_AT_ONCE], pending[TREES_AT_ONCE:]
            loaded = self._trees.load(portion)
            if not self._is_whole and len(loaded) < len(set(portion)):  # the totals would be wrong from now on
                raise Inconsistent("A folder of the last snapshot cannot be read.")
            for data in loaded.values():
                for key, node in Tree.parse(data).nodes():
                    if key is None or (leave_out is not None and leave_out(key)):
                        continue
                    yield key, node
                    if node.subtree:
                        pending.append(node.subtree)

    def _look_up_parents(self, keys: Iterable[bytes], items: PagedMap) -> None:
        """Level by level up to the root; each level is one round of parallel reads."""
        level = set(keys)
        while level:
            found = items.get_many(level)
            self.parents |= found
            level = set(found.values()) - self.parents.keys() - {self._root}

    def _ways_down(self, folders: Iterable[bytes]) -> dict[bytes, set[bytes]]:
        """Folder -> the folders in it that lie on the way to one of `folders`."""
        below: dict[bytes, set[bytes]] = defaultdict(set)
        for start in folders:
            folder = start
            while (parent := self.parents.get(folder)) is not None and folder not in below[parent]:
                below[parent].add(folder)
                folder = parent
        return below

    def _levels(self, below: dict[bytes, set[bytes]] | None) -> Iterator[list[tuple[bytes, Tree]]]:
        """The folders of the old tree with their trees, parents first; `below`: only these ways, None: all."""
        level = [] if self._root_tree is None else [(self._root, self._root_tree)]
        while level:
            following: list[tuple[bytes, str]] = []
            for at in range(0, len(level), TREES_AT_ONCE):
                portion = level[at : at + TREES_AT_ONCE]
                loaded = self._trees.load(tree_id for _, tree_id in portion)
                if below is not None and any(tree_id not in loaded for _, tree_id in portion):
                    raise Inconsistent("A folder of the last snapshot is not where the drive state says.")
                portion = [each for each in portion if each[1] in loaded]
                trees = [(folder, Tree.parse(loaded[tree_id])) for folder, tree_id in portion]
                self.tree_ids.update(portion)
                yield trees
                for folder, tree in trees:
                    following += self._folders_in(folder, tree, None if below is None else below.get(folder, set()))
            level = following

    def _folders_in(self, folder: bytes, tree: Tree, keys: set[bytes] | None) -> Iterator[tuple[bytes, str]]:
        nodes = tree.nodes() if keys is None else ((key, tree.find(key)) for key in keys)
        for key, node in nodes:
            if key is not None and node is not None and node.subtree:
                self.parents[key] = folder
                self.names[key] = node.true_name
                yield key, node.subtree

    def _nodes(self, folder: bytes, tree: Tree, keys: set[bytes] | None) -> Iterator[OldNode]:
        if keys is None:
            keys = {key for key, _ in tree.nodes() if key is not None}
        for key in keys:
            node, raw = tree.find(key), tree.encoded(key)
            if node is not None and raw is not None:
                yield OldNode(key, folder, node, raw)
