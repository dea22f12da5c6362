"""Whether every snapshot can be restored: each of its folders has a list, and every chunk of each file is stored."""

from collections.abc import Callable

from backup_core.errors import Damaged
from backup_core.maintenance.packs import Losses
from backup_core.maintenance.report import CheckReport
from backup_core.repository.blobs import LoadedIndex
from backup_core.repository.crypto import OVERHEAD
from backup_core.repository.node import Node
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot
from backup_core.repository.walk import Folder, Item, Walk

_REMEDY = (
    "Restore these from another snapshot, and run a backup: what is still in OneDrive is stored again. A copy of the"
    " repository may still have what is lost here."
)

AdvanceFiles = Callable[[int], None]


class TreeCheck:
    """A tree that many snapshots share is looked at once, and what is wrong with it told of the first of them."""

    def __init__(
        self, repository: Repository, index: LoadedIndex, losses: Losses, report: CheckReport, advance: AdvanceFiles
    ) -> None:
        self._repository, self._index, self._losses = repository, index, losses
        self._report, self._advance = report, advance
        self._seen: set[str] = set()

    def check(self, snapshot: Snapshot) -> None:
        if self._is_seen(snapshot.tree):
            return
        for folder in Walk(self._repository, self._index, snapshot.tree, enter=self._enter):
            self._report.folders += 1
            if folder.problem is not None:
                self._affected(snapshot, folder.path, folder.problem.what)
            self._check_files(snapshot, folder)

    def _enter(self, item: Item) -> bool:
        return not self._is_seen(item.node.subtree or "")

    def _is_seen(self, tree: str) -> bool:
        """Whether it was looked at before; a folder without a proper tree is a finding each time."""
        if not tree or tree in self._seen:
            return bool(tree)
        self._seen.add(tree)
        return False

    def _check_files(self, snapshot: Snapshot, folder: Folder) -> None:
        try:
            for path, node in folder.files():
                self._report.files += 1
                self._advance(1)
                if problem := self._problem(node):
                    self._affected(snapshot, path, problem)
        except Damaged as error:
            self._affected(snapshot, folder.path, error.what)

    def _problem(self, node: Node) -> str:
        """Why a file cannot be restored whole; "" where it can."""
        size = 0
        for text in node.content or ():
            try:
                blob = bytes.fromhex(text)
            except ValueError:
                return f"Its content names {text!r}, which is no chunk."
            if why := self._losses.why_lost(blob, False):
                return f"Its content is damaged: chunk {text[:16]}… cannot be had. {why}"
            place = self._index.locate(blob, False)
            assert place is not None, "a blob that is not lost is somewhere"
            size += place.raw_length or place.length - OVERHEAD
        if node.type == "file" and size != node.size:
            return f"Its content has {size} bytes, and it should have {node.size}."
        return ""

    def _affected(self, snapshot: Snapshot, path: str, what: str) -> None:
        self._report.add_affected(what, _REMEDY, snapshot.id, path)
