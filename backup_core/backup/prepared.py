"""A plan seen against the last snapshot: every item with its old node and a decision, and the shape of the new tree."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from backup_core.backup.new_tree import Shape
from backup_core.backup.old_tree import OldTree
from backup_core.backup.parts import Parts
from backup_core.backup.plan import Action, Decision
from backup_core.backup.run_log import RunLog, SavedPart, Unplanned
from backup_core.backup.scratch import Planned, Scratch
from backup_core.backup.stored_trees import StoredTrees
from backup_core.drive_state.head import Totals
from backup_core.drive_state.segments import StateDamaged
from backup_core.drive_state.state import DriveState
from backup_core.errors import Inconsistent
from backup_core.graph.items import DriveItem
from backup_core.repository.node import Node
from backup_core.repository.tree import item_key

LOOKUPS_AT_ONCE = 1_000  # files whose chunks are looked up together; bounds memory and rounds


class Seen(NamedTuple):
    """What a run sees when it looks at its plan. `root_tree`: the root's tree in the last snapshot, None for none."""

    state: DriveState
    trees: StoredTrees
    root: DriveItem
    root_tree: str | None
    whole: bool
    in_folder: bool  # the root is a folder of the drive
    retry: dict[str, str]  # item id -> reason


class Prepared:
    """Everything that batches and commit ask about a plan. Complete from the start, but for what batches save later.

    Inconsistent where state, snapshot and feed contradict each other.
    """

    def __init__(self, seen: Seen, log: RunLog, earlier: list[RunLog]) -> None:
        self._state, self._whole = seen.state, seen.whole
        self._logs = {each.run: each for each in [*earlier, log]}
        self.scratch = Scratch()
        self.parts = Parts(lambda chunks: len(self._state.data.get_many(chunks)) == len(set(chunks)))
        self.gone: list[str] = []  # ids of the retry list that answered 404
        self.delta_link = ""  # the position behind the plan
        self.root_item = seen.root
        self.bytes_downloaded = self.bytes_added = 0
        self._loaded: set[tuple[str, int]] = set()
        root = item_key(seen.root.id)
        self.old = OldTree(seen.trees, root, seen.root_tree)
        self._take_in(log, root)
        retried = {item_key(item_id) for item_id in seen.retry}
        if self._whole:
            self.old.walk(self.scratch)
        else:
            self.old.find(self.scratch, self._state.items, retried)
        self.scratch.index_old()
        self.scratch.decide(seen.retry)
        if not self._whole and self.scratch.has_other_kind():
            raise Inconsistent("A folder has become a file, or a file a folder.")
        self.shape = Shape(self.scratch, self.old, root, self._whole)
        self.shape.settle_lost(self.scratch, self._whole, seen.in_folder, retried)
        if not self._whole:
            self._check_content_told(retried)
        self._check_kept()

    def load_saved(self) -> None:
        for run, log in self._logs.items():
            for number in log.numbers()["saved"]:
                if (run, number) in self._loaded:
                    continue
                self._loaded.add((run, number))
                try:
                    saved = log.saved(number)
                except StateDamaged:  # its files are fetched again
                    continue
                self.scratch.add_saved(saved.files)
                self._join(saved.parts)
                self.bytes_downloaded += saved.bytes_downloaded
                self.bytes_added += saved.bytes_added

    def _join(self, parts: list[SavedPart]) -> None:
        """Files whose last missing part has come count as saved, or as failed."""
        touched = {part.planned.id: part.planned for part in parts}
        self.parts.add(parts)
        joined = [self.parts.file(planned) for planned in touched.values()]
        self.scratch.add_saved([file for file in joined if file is not None])

    def lacks_content(self) -> bool:
        """Whether something is planned that nobody had fetched when `load_saved` looked, or that a prune has taken away
        since.
        """
        self.drop_lost()
        return any(saved is None or not saved.settles(item) for _, item, saved in self.scratch.wanted())

    def drop_lost(self) -> None:
        """Forget what batches have saved and a prune has taken away since, so that it is fetched again."""
        lost: list[bytes] = []
        for group in _groups(self.scratch.with_action(Action.FETCH)):
            fetched = [(planned, planned.saved.content) for planned in group if planned.saved is not None]
            lost += [planned.key for planned in self._without_chunks(fetched)]
        self.scratch.drop_saved(lost)

    def deleted(self) -> Totals:
        """What the last snapshot has and the new one has not."""
        return self._deleted_by_enumeration() if self._whole else self._deleted_by_delta()

    def before(self) -> Totals:
        """Of the last snapshot: as the state has it, or counted from its trees where all of them were read."""
        return Totals(*self.scratch.old_sums()) if self._whole else self._state.head.totals

    def _deleted_by_enumeration(self) -> Totals:
        """What was not listed, but for what lies in a folder that stays because it makes no sense now."""
        files, folders, size = self.scratch.old_not_placed()
        for planned in self.scratch.with_action(Action.STAY):
            if planned.old is not None and planned.old.subtree:
                for _, node in self.old.below(planned.old.subtree, self.scratch.is_planned):
                    files -= node.type == "file"
                    folders -= node.type == "dir"
                    size -= node.size
        return Totals(files, folders, size)

    def _deleted_by_delta(self) -> Totals:
        """A folder's tombstone speaks for everything below it, but for what was moved out in the same delta."""
        found: dict[bytes, tuple[bool, int]] = {}  # key -> (folder?, size): a tombstone of its own may follow
        for planned in self.scratch.with_action(Action.GONE):
            if planned.old is None:
                continue
            found[planned.key] = planned.old.type == "dir", planned.old.size
            if planned.old.subtree:
                below = self.old.below(planned.old.subtree, self.scratch.is_placed)
                found |= {key: (node.type == "dir", node.size) for key, node in below}
        folders = sum(is_folder for is_folder, _ in found.values())
        return Totals(len(found) - folders, folders, sum(size for _, size in found.values()))

    def _take_in(self, log: RunLog, root: bytes) -> None:
        for number, part in log.plan_parts():
            self.scratch.add_plan(number, part, root)
            self.gone += part.gone
            self.delta_link = part.delta_link or self.delta_link
            for item in part.items:
                if item.id == self.root_item.id and item.kind == "folder":
                    self.root_item = item  # the feed knows its times better than the last snapshot
        if not self.delta_link:
            raise Unplanned
        self.scratch.index()

    def _check_content_told(self, retried: set[bytes]) -> None:
        """A folder that was known once and comes back does not bring its content into the feed, nor does one that made
        no sense when its content was told.
        """
        returning = self._state.items.get_many(self.scratch.new_folders()).keys()
        understood = retried.intersection(key for key, _ in self.scratch.living(Action.FOLDER))
        if returning or understood:
            raise Inconsistent(f"{len(returning) + len(understood)} folders are back, and what is in them is not told.")

    def _check_kept(self) -> None:
        """Content that is taken over from the last snapshot must be stored still; else the file is fetched again."""
        lost: list[bytes] = []
        for group in _groups(self.scratch.with_action(Action.KEEP)):
            kept = [(planned, _old_chunks(planned.old)) for planned in group]
            lost += [planned.key for planned in self._without_chunks(kept)]
        self.scratch.decide_again(lost, Decision(Action.FETCH))

    def _without_chunks(self, files: list[tuple[Planned, list[bytes]]]) -> list[Planned]:
        wanted = {chunk for _, chunks in files for chunk in chunks}
        missing = wanted - self._state.data.get_many(wanted).keys()
        return [planned for planned, chunks in files if not missing.isdisjoint(chunks)] if missing else []


def _old_chunks(node: Node | None) -> list[bytes]:
    return [bytes.fromhex(chunk) for chunk in node.content or ()] if node else []


def _groups(planned: Iterator[Planned]) -> Iterator[list[Planned]]:
    while group := list(itertools.islice(planned, LOOKUPS_AT_ONCE)):
        yield group
