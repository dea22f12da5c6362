"""What a run starts from: the drive's last snapshot and the drive state that describes it, as far as they are sound."""

from concurrent.futures import Executor
from dataclasses import dataclass

from backup_core.backup.job import BackupJob
from backup_core.backup.stored_trees import StoredTrees
from backup_core.drive_state.head import choose_head
from backup_core.drive_state.segments import StateDamaged
from backup_core.drive_state.state import DriveState
from backup_core.drive_state.stock import take_stock
from backup_core.errors import Damaged, NotFound, Usage
from backup_core.repository.index import load_index
from backup_core.repository.node import Node
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, load_snapshot, load_snapshots
from backup_core.repository.tree import Tree


@dataclass(frozen=True)
class Base:
    """`snapshot` and `top`, the node of its one folder, are None before the first backup of the drive.

    `generation`: number of the newest head there is, of use or not; this run's own gets the number behind it.
    """

    generation: int
    state: DriveState
    trees: StoredTrees
    snapshot: Snapshot | None = None
    top: Node | None = None

    @property
    def tree(self) -> str:
        return self.snapshot.tree if self.snapshot else ""


def find_base(repository: Repository, job: BackupJob, pool: Executor, with_state: bool = True) -> Base:
    """Usage where the repository holds another drive, or another folder of it.

    `with_state`: False where the drive state and the feed have turned out to contradict each other.
    """
    chosen = choose_head(repository)
    head = chosen.head if with_state else None
    try:
        state = DriveState(repository, head, newest=chosen.newest, pool=pool)
    except StateDamaged:
        state = DriveState(repository, None, newest=chosen.newest, pool=pool)
    take_readable_stock(repository, state)
    trees = StoredTrees(repository, state, pool)
    for snapshot in _candidates(repository, state):
        top = _top(trees, snapshot)
        if top is None:
            continue
        _check_same_drive(top, job)
        return Base(chosen.newest, state, trees, snapshot, top)
    if not state.is_empty:  # a head without its tree: whatever is wrong, the drive can be enumerated
        return find_base(repository, job, pool, with_state=False)
    return Base(chosen.newest, state, trees)


def take_readable_stock(repository: Repository, state: DriveState) -> None:
    """As `take_stock`, but a damaged index file stops nothing: what it alone names counts as not stored.

    StateDamaged where the state covers an index file that is gone, and so cannot be mended by adding to it.
    """
    try:
        take_stock(repository, state)
        return
    except StateDamaged:
        raise
    except Damaged:
        present = set(repository.ids("index"))
    if not state.indexes <= present:
        raise StateDamaged("Index files are gone, and another one is damaged.")
    for index_id in sorted(present - state.indexes):
        try:
            state.cover(index_id, load_index(repository, index_id))
        except Damaged:
            continue  # not covered, so that it is looked at again once somebody has mended it


def _candidates(repository: Repository, state: DriveState) -> list[Snapshot]:
    """The head's snapshot; without a head every snapshot, newest first."""
    if not state.is_empty:
        try:
            return [load_snapshot(repository, state.head.snapshot)]
        except (NotFound, Damaged):
            return []
    return load_snapshots(repository, on_damage=lambda _id, _error: None)[::-1]


def _top(trees: StoredTrees, snapshot: Snapshot) -> Node | None:
    """The node of the drive's folder; None for a snapshot that is no drive's, or whose tree cannot be read."""
    data = trees.load([snapshot.tree]).get(snapshot.tree)
    if data is None:
        return None
    return next((node for _, node in Tree.parse(data).nodes() if node.origin is not None), None)


def _check_same_drive(top: Node, job: BackupJob) -> None:
    origin = top.origin
    assert origin is not None
    if origin.drive != job.drive.id:
        raise Usage(
            "The repository holds the backups of another drive.",
            why=f"It is the drive {origin.drive} of {origin.account}; a repository holds one drive.",
            remedy="Choose another repository for this drive, or check -r and the account.",
        )
    if origin.root.casefold() != job.root_path.casefold():
        there = f"the folder {origin.root}" if origin.root else "the whole drive"
        raise Usage(
            f"The repository holds the backups of {there}.",
            why="A repository holds one drive, or one folder of it.",
            remedy="Use the same --path as before, or another repository.",
        )
