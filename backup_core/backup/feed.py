"""First step: what Microsoft says of the drive, page by page, into the parts of a plan.

A run that dies goes on from the link of the last part. A full scan is `full_scan.py`.
"""

from backup_core.backup.full_scan import scan
from backup_core.backup.plan_writer import PlanWriter
from backup_core.backup.progress import Progress
from backup_core.backup.run import Run
from backup_core.errors import DrivekeepError, Inconsistent, NotFound
from backup_core.graph.attempts import NoAnswer
from backup_core.graph.delta import PositionLost
from backup_core.graph.drives import get_item
from backup_core.graph.items import DriveItem

ENUMERATIONS_MAX = 3  # a position that is lost again right after a fresh start will not come back by asking again


def plan_changes(run: Run, progress: Progress, deadline: float | None = None) -> bool:
    """Read the feed to its end, or until `deadline` (monotonic seconds): True where there is more to read.

    A position that Microsoft no longer honours leads to a new attempt that enumerates the drive.
    """
    progress.stage("Reading what has changed")
    by_scan = run.job.source == "onedrive"
    read = scan if by_scan else _read_delta
    for _ in range(ENUMERATIONS_MAX):
        try:
            return read(run, progress, deadline)
        except PositionLost:
            run.start_over(run.mode if by_scan else "resync" if run.base.top else "full")
    raise Inconsistent(
        "Microsoft Graph gave up its own list of changes again and again.",
        why=f"{ENUMERATIONS_MAX} enumerations of the drive were cut off by the service.",
        remedy="Try again later. If it stays so, back the drive up with `-source onedrive`, which lists every folder.",
    )


def _read_delta(run: Run, progress: Progress, deadline: float | None) -> bool:
    feed = run.feed()
    number, last = run.last_plan_part()
    caught_up = last is not None and bool(last.delta_link)
    if last is not None:
        link = last.next_link or last.delta_link
    else:
        link = run.state.head.delta_link if run.mode == "delta" else feed.first_link()
    writer = PlanWriter(run, number + 1)
    seen = 0
    while True:
        page = feed.page(link)
        writer.add(page.items)
        seen += len(page.items)
        progress.advance(files=len(page.items))
        link = page.next_link
        late = deadline is not None and run.clock.monotonic() >= deadline
        if page.delta_link:
            if caught_up and not seen:
                return False
            retried, gone = _retry_items(run) if not caught_up else ([], [])
            writer.add(retried)
            stored = writer.close(delta_link=page.delta_link, gone=gone)
        elif writer.is_full() or late:
            stored = writer.close(next_link=link)
        else:
            continue
        if stored.delta_link:
            return False
        if stored.next_link != link:  # another process was first: its part ends elsewhere, and is the one that counts
            link, feed = stored.next_link, run.feed()
        if late:
            return True


def _retry_items(run: Run) -> tuple[list[DriveItem], list[str]]:
    """What is on the retry list is asked for by itself: the feed does not repeat it. Found items, ids of gone ones."""
    found: list[DriveItem] = []
    gone: list[str] = []
    for item_id in run.retry if run.mode == "delta" else ():
        try:
            found.append(get_item(run.graph, run.job.drive.id, item_id)[0])
        except NotFound:
            gone.append(item_id)
        except NoAnswer:
            raise
        except DrivekeepError as error:  # this item's own trouble: it waits on, and stops nothing else
            if error.reason == "throttled":
                raise
    return found, gone
