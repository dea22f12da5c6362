"""Last step: trees, their index, the snapshot, and the drive state behind it, in this order.

Nothing names what is not stored: data packs and their index were written by the batches; the snapshot is written after
everything that it names, and the position, which says what need not be read again, after the snapshot.
"""

import hashlib
from collections.abc import Callable

from backup_core import __version__
from backup_core.backup.job import SUSPICIOUS_FROM_FILES, Summary
from backup_core.backup.new_tree import NewTree
from backup_core.backup.prepared import Prepared
from backup_core.backup.progress import Progress
from backup_core.backup.report import Report, Reporter
from backup_core.backup.run import Run
from backup_core.drive_state.head import Retry, Totals
from backup_core.errors import AlreadyExists, DrivekeepError, Locked, NotFound
from backup_core.graph.drives import root_item
from backup_core.repository import times
from backup_core.repository.index import save_index
from backup_core.repository.node import Origin, top_node
from backup_core.repository.packer import Packer
from backup_core.repository.snapshot import Snapshot, save_snapshot
from backup_core.repository.tree import Tree

TREE_LEVEL = 3  # trees are read again at every run, and a sixteenth smaller than at level 1
PROGRAM = f"drivekeep {__version__}"


def commit_snapshot(run: Run, progress: Progress, last_look: Callable[[], object] = lambda: None) -> Summary | None:
    """Make the snapshot. None where content that it would name is not stored any more: cut and save batches again.

    `last_look`: called just before the snapshot is made, which what it raises prevents.
    Locked where another run of this drive was first; the snapshot that this one has made by then stays. DrivekeepError,
    reason `no-drive`, where the drive has vanished meanwhile.
    """
    progress.stage("Writing the snapshot")
    run.take_stock()
    prepared = run.prepared()
    if prepared.lacks_content():
        return None
    report = Reporter(prepared.scratch, prepared.old, run.root_key).report(run.retry, prepared.gone, run.whole)
    if any(each.reason == "gone" for each in report.skipped):
        _check_drive(run)
    packer = Packer(run.repository, tree=True, pack_bytes=run.parts.pack_bytes, in_flight=1, level=TREE_LEVEL)
    try:
        new = NewTree(run.trees, prepared.scratch, prepared.old, prepared.shape, packer, run.whole)
        root_tree = new.write()
        deleted = prepared.deleted()
        totals = _totals(run, new, deleted)
        summary = _summary(run, prepared, new, report, totals, deleted.files)
        tree = b"".join(_top_tree(run, prepared, root_tree, summary).parts())
        tree_id = hashlib.sha256(tree).digest()
        if run.trees.is_new(tree_id, run.whole):
            packer.add(tree_id, tree)
        packs = packer.finish()
    except BaseException:
        packer.abort()
        raise
    run.check_stop()
    run.cover(save_index(run.repository, packs), packs)
    last_look()
    run.check_stop()
    summary.bytes_added += sum(pack.size for pack in packs)
    summary.snapshot_id = save_snapshot(run.repository, _snapshot(run, tree_id.hex()))
    _record_state(run, prepared, new, report, summary.snapshot_id, tree_id.hex(), totals)
    run.measure(summary)
    return summary


def _check_drive(run: Run) -> None:
    """Of a drive that is gone every item is gone. To believe that would move the position past items which are back,
    untold by any feed, when an administrator restores the drive.
    """
    try:
        root_item(run.graph, run.job.drive.id)
    except NotFound:
        raise DrivekeepError(
            "The drive is gone.",
            why="It was there when this backup began; now Microsoft does not know it. The snapshots stay.",
            remedy="Where it was deleted by mistake, let an administrator restore it, and run the same command again.",
            reason="no-drive",
        ) from None


def is_suspicious(files_before: int, changed_or_gone: int) -> bool:
    """Over half of a drive with other content or gone: an accident or an attack more often than work."""
    return files_before >= SUSPICIOUS_FROM_FILES and 2 * changed_or_gone > files_before


def _totals(run: Run, new: NewTree, deleted: Totals) -> Totals:
    """Of the new snapshot: what an enumeration has counted, or what a delta adds to the last one's."""
    if run.whole:
        return Totals(new.counted.files, new.counted.folders, new.counted.size)
    before = run.state.head.totals
    return Totals(
        before.files + new.counted.files - deleted.files,
        before.folders + new.counted.folders - deleted.folders,
        before.bytes + new.counted.size - deleted.bytes,
    )


def _summary(run: Run, prepared: Prepared, new: NewTree, report: Report, totals: Totals, files_deleted: int) -> Summary:
    summary = run.empty_summary()
    counted = new.counted
    summary.files_new, summary.files_changed = counted.files_new, counted.files_changed
    summary.folders_new, summary.files_deleted = counted.folders_new, files_deleted
    summary.files_total, summary.bytes_total = totals.files, totals.bytes
    summary.files_unmodified = totals.files - counted.files_new - counted.files_changed
    summary.items_skipped, summary.items_failed = report.skipped, report.failed
    summary.bytes_downloaded, summary.bytes_added = prepared.bytes_downloaded, prepared.bytes_added
    summary.suspicious = is_suspicious(prepared.before().files, summary.files_changed + summary.files_deleted)
    return summary


def _top_tree(run: Run, prepared: Prepared, root_tree: str, summary: Summary) -> Tree:
    """The snapshot's root: one folder named like the drive, with what must survive a rewrite by stock restic."""
    origin = Origin(
        source=run.job.source,
        account=run.username,
        drive=run.job.drive.id,
        root=run.job.root_path,
        suspicious=summary.suspicious,
        incomplete=len(summary.items_failed),
    )
    tree = Tree()
    tree.insert(run.root_key, top_node(prepared.root_item, run.drive_name, root_tree, origin), run.drive_name)
    return tree


def _snapshot(run: Run, tree: str) -> Snapshot:
    """Host name, user name and path stay what they were at the first backup: restic groups by them."""
    return Snapshot(
        time=times.to_text(run.clock.now()),
        parent=run.base.snapshot.id if run.base.snapshot else "",
        tree=tree,
        paths=[f"/{run.drive_name}"],
        hostname=run.hostname,
        username=run.username,
        tags=list(run.job.tags),
        program_version=PROGRAM,
    )


def _record_state(
    run: Run, prepared: Prepared, new: NewTree, report: Report, snapshot: str, tree: str, totals: Totals
) -> None:
    """The next head: position, retry list and snapshot change in one object, or not at all."""
    state = run.state
    new.record_places(state)
    tries = {item_id: each.tries for item_id, each in state.retry().items()}
    try:
        state.commit(
            retry={item_id: Retry(reason, tries.get(item_id, 0) + 1) for item_id, reason in report.retry.items()},
            snapshot=snapshot,
            tree=tree,
            drive=run.job.drive.id,
            root=run.root_item.id,
            root_path=run.job.root_path,
            root_key=run.root_key,
            source=run.job.source,
            mode=run.mode,
            totals=totals,
            delta_link=prepared.delta_link,
            rules=run.basis.rules,
        )
    except AlreadyExists as error:
        raise Locked(error.what, why=error.why, remedy=error.remedy, reason="another-run") from error
