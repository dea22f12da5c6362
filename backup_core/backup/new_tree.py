"""The tree of the next snapshot, written from the leaves up: work for what changed, not for the drive.

A delta rewrites the folders that it touches and those above them, starting from their old trees. An enumeration builds
every folder anew and takes only content from the old ones, so that what the feed once failed to say heals.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import msgspec

from backup_core.backup.old_tree import OldTree
from backup_core.backup.plan import Action, Decision
from backup_core.backup.run_log import version
from backup_core.backup.scratch import Planned, Scratch
from backup_core.backup.stored_trees import StoredTrees
from backup_core.drive_state.state import DriveState
from backup_core.errors import Inconsistent
from backup_core.graph.items import DriveItem
from backup_core.repository.node import Node, file_node, folder_node
from backup_core.repository.packer import Packer
from backup_core.repository.tree import Tree

PLACED = (Action.FOLDER, Action.KEEP, Action.EMPTY, Action.FETCH, Action.FAIL)


@dataclass
class Counted:
    """What went into the new tree. `files`, `folders`, `size`: of all an enumeration wrote, or a delta's difference."""

    files: int = 0
    folders: int = 0
    size: int = 0
    files_new: int = 0
    files_changed: int = 0
    folders_new: int = 0


class Shape:
    """Which folders are to be written, each after the folders in it; and what has no way to the root."""

    def __init__(self, scratch: Scratch, old: OldTree, root: bytes, whole: bool) -> None:
        placed = dict(scratch.living(Action.FOLDER))
        gone = {key for key, _ in scratch.living(Action.GONE)}
        parents = dict(placed)
        if not whole:
            # A known folder that is only renamed or moved carries its tree along and need not be written.
            for key in placed:
                if scratch.old_parent(key) is not None and key not in old.tree_ids:
                    del parents[key]
            for key in old.tree_ids.keys() - placed.keys() - gone - {root}:
                parents[key] = old.parents[key]
        self.below: dict[bytes, list[bytes]] = defaultdict(list)
        for key, parent in parents.items():
            self.below[parent].append(key)
        self.order = [root]
        for folder in self.order:  # grows while it is gone through: parents first
            self.order += self.below.get(folder, ())
        self.reached = set(self.order)

    def settle_lost(self, scratch: Scratch, whole: bool, in_folder: bool, may_stay: set[bytes]) -> None:
        """An item whose parent is unknown or gone contradicts a delta, and means a fresh enumeration (Inconsistent).

        After an enumeration, and for items that were asked for by themselves (`may_stay`), it is only that item's
        trouble: it stays where the last snapshot has it, unless it was deleted with a folder after it was listed.
        Where a folder is taken as the root (`in_folder`), such an item lies outside of it: the feed names the folders
        above it, too.
        """
        lost = {
            key: parent for action in PLACED for key, parent in scratch.living(action) if parent not in self.reached
        }
        if in_folder:
            scratch.decide_again(lost, Decision(Action.GONE))
            return
        if not whole and (strange := lost.keys() - may_stay):
            raise Inconsistent(f"{len(strange)} items hang below a folder that is not there.")
        gone = _deleted_with_a_folder(lost, {key for key, _ in scratch.living(Action.GONE)}) if whole else set()
        scratch.decide_again(gone, Decision(Action.GONE))
        scratch.decide_again(lost.keys() - gone, Decision(Action.STAY, "invalid-item"))


def _deleted_with_a_folder(lost: dict[bytes, bytes], gone: set[bytes]) -> set[bytes]:
    """Those of `lost` (key -> parent) that were listed before a folder above them was deleted, whose tombstone speaks
    for all of it.
    """
    found: set[bytes] = set()
    for start, parent in lost.items():
        way, key = [start], parent
        while key in lost and key not in found and key not in way:
            way.append(key)
            key = lost[key]
        if key in gone or key in found:
            found.update(way)
    return found


class NewTree:
    """Writes the folders of a `Shape`; `write` gives the id of the drive root's tree."""

    def __init__(
        self, trees: StoredTrees, scratch: Scratch, old: OldTree, shape: Shape, packer: Packer, whole: bool
    ) -> None:
        self._trees, self._scratch, self._old, self._shape = trees, scratch, old, shape
        self._packer, self._whole = packer, whole
        self._written: dict[bytes, str] = {}
        self.counted = Counted()

    def write(self) -> str:
        for folder in reversed(self._shape.order):
            self._written[folder] = self._write_folder(folder)
        return self._written[self._shape.order[0]]

    def record_places(self, state: DriveState) -> None:
        """Where everything lives that this run has seen; a file without a node has no place.

        A delta adds to the map, an enumeration makes it anew: what it has not seen is gone, but for what stays.
        """
        placed = self._scratch.with_action(*PLACED)
        places = (
            (planned.key, self._scratch.parent(planned.key))
            for planned in placed
            if planned.action is Action.FOLDER or self._file(planned) is not None
        )
        if not self._whole:
            for key, parent in places:
                state.items.put(key, parent)
            return
        records = state.sorted_parts("items")
        if next(self._scratch.living(Action.STAY), None) is not None:
            # More than what lies below those items: a hint too much is harmless.
            for key, parent in self._scratch.old_places():
                records.put(key, parent)
        for key, parent in places:
            records.put(key, parent)
        state.items.rebuild(records)

    def _write_folder(self, folder: bytes) -> str:
        old_id = self._old.tree_ids.get(folder)
        tree = Tree()
        if not self._whole and old_id is not None:
            tree = Tree.parse(self._trees.load([old_id])[old_id])
            for key in self._scratch.planned_from(folder):  # all out before any goes in: names may have been swapped
                tree.remove(key)
        if self._whole:
            self._keep_staying(folder, tree)
        for planned in self._scratch.placed_in(folder):
            node = self._folder(planned) if planned.action is Action.FOLDER else self._file(planned)
            if node is not None:
                tree.insert(planned.key, node, planned.item.name)
                self._count(planned, node)
        for child in self._shape.below.get(folder, ()):
            if child in tree:
                tree.set_subtree(child, self._written[child])
        if not self._whole and old_id is not None and not tree.changed():
            return old_id
        return self._save(tree, old_id)

    def _keep_staying(self, folder: bytes, tree: Tree) -> None:
        for each in self._scratch.staying_in(folder):
            tree.insert(each.key, each.raw, each.node.true_name)
            if each.node.subtree is None:
                self.counted.files += 1
                self.counted.size += each.node.size
                continue
            self.counted.folders += 1
            for _, node in self._old.below(each.node.subtree):
                self.counted.files += node.type == "file"
                self.counted.folders += node.type == "dir"
                self.counted.size += node.size

    def _save(self, tree: Tree, old_id: str | None) -> str:
        data = b"".join(tree.parts())
        tree_id = hashlib.sha256(data).digest()
        if tree_id.hex() != old_id and self._trees.is_new(tree_id, self._whole):
            self._packer.add(tree_id, data)
        return tree_id.hex()

    def _folder(self, planned: Planned) -> bytes:
        subtree = self._written.get(planned.key) or (planned.old.subtree if planned.old else None)
        if subtree is None:  # known, not written, and yet without a tree: the state and the snapshot disagree
            raise Inconsistent("A folder that the feed names has no tree in the last snapshot.")
        return folder_node(planned.item, subtree)

    def _file(self, planned: Planned) -> bytes | None:
        """The file's node; None where there is no version of it to name."""
        if planned.action is Action.EMPTY:
            return file_node(planned.item, [], 0)
        if planned.action is Action.FETCH and planned.saved is not None and planned.saved.verdict:
            saved, delivered = planned.saved, planned.item
            if version(delivered) != version(saved.item):  # newer than the plan; the feed will tell where and when
                delivered = msgspec.structs.replace(saved.item, name=planned.item.name)
            return file_node(delivered, saved.content, saved.stored_size, planned.saved.verdict)
        old = planned.old
        if old is None or old.type != "file" or old.content is None:
            return None
        item = planned.item if planned.action is Action.KEEP else _earlier(planned.item, old)
        return file_node(item, old.content, old.size, old.verdict or "unverifiable")

    def _count(self, planned: Planned, encoded: bytes) -> None:
        counted, old = self.counted, planned.old
        before = old if old is not None and not self._whole else None
        if planned.action is Action.FOLDER:
            counted.folders += before is None
            counted.folders_new += old is None
            return
        node = _measure(encoded)
        counted.files += before is None
        counted.size += node.size - (before.size if before else 0)
        counted.files_new += old is None
        counted.files_changed += old is not None and old.content != node.content


class _Measured(msgspec.Struct):
    size: int = 0
    content: list[str] | None = None


_measure = msgspec.json.Decoder(_Measured).decode


def _earlier(item: DriveItem, old: Node) -> DriveItem:
    """The version that the last snapshot has, under the name of now."""
    return msgspec.structs.replace(
        item,
        size=old.reported_size,
        quickxor=old.quickxor,
        etag=old.etag,
        modified=old.modified,
        created=old.created,
    )
