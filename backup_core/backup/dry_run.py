"""What a backup would do, from the same plan and the same decisions; nothing is fetched and nothing is written."""

from backup_core.backup.job import Summary
from backup_core.backup.plan import Action
from backup_core.backup.report import Reporter
from backup_core.backup.run import Run


def estimate(run: Run) -> Summary:
    """The summary of the run that would follow, as far as it can be told without its content.

    `bytes_downloaded` is what would be fetched by what Microsoft reports; a file that would be fetched under a known id
    counts as changed.
    """
    prepared = run.prepared()
    summary = run.empty_summary()
    before = prepared.before()
    deleted = prepared.deleted()
    files = folders_new = size = replaced = 0
    for planned in prepared.scratch.with_action(Action.FETCH, Action.EMPTY, Action.KEEP, Action.FAIL, Action.FOLDER):
        if planned.action is Action.FOLDER:
            folders_new += planned.old is None
            continue
        if planned.action is Action.FAIL and planned.old is None:
            continue
        files += 1
        old_size = planned.old.size if planned.old is not None else 0
        replaced += old_size
        size += old_size if planned.action is Action.FAIL else planned.item.size
        if planned.old is None:
            summary.files_new += 1
            summary.bytes_downloaded += planned.item.size
        elif planned.action is Action.FETCH or (planned.action is Action.EMPTY and planned.old.size):
            summary.files_changed += 1
            summary.bytes_downloaded += planned.item.size
    summary.folders_new, summary.files_deleted = folders_new, deleted.files
    summary.files_total = files if run.whole else before.files + summary.files_new - deleted.files
    summary.bytes_total = size if run.whole else before.bytes + size - replaced - deleted.bytes
    summary.files_unmodified = summary.files_total - summary.files_new - summary.files_changed
    report = Reporter(prepared.scratch, prepared.old, run.root_key).report(run.retry, prepared.gone, run.whole)
    summary.items_skipped, summary.items_failed = report.skipped, report.failed
    run.measure(summary)
    return summary
