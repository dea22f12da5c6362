"""First step: what Microsoft says of the drive, page by page, into the parts of a plan.

A part is closed after so many items or seconds, with the link that follows it: a run that dies goes on from there.
"""

from contextlib import suppress

from backup_core.backup.progress import Progress
from backup_core.backup.run import Run
from backup_core.backup.run_log import FORMAT, PlanPart
from backup_core.errors import DrivekeepError, Inconsistent, Locked, NotFound
from backup_core.graph import children
from backup_core.graph.attempts import NoAnswer
from backup_core.graph.delta import DeltaFeed, PositionLost
from backup_core.graph.drives import get_item
from backup_core.graph.items import DriveItem

PART_ITEMS = 10_000  # about 1 MiB sealed
PART_SECONDS = 10.0  # at most this much reading is lost with a killed process
FOLDERS = frozenset({"folder", "package"})  # kinds of items that hold others
ENUMERATIONS_MAX = 3  # a position that is lost again right after a fresh start will not come back by asking again


class PlanWriter:
    """Gathers items into parts. `number`: of the part that is written next."""

    def __init__(self, run: Run, number: int) -> None:
        self._run, self._number = run, number
        self._items: list[DriveItem] = []
        self._opened = run.clock.monotonic()

    def add(self, items: list[DriveItem]) -> None:
        self._items += items

    def is_full(self) -> bool:
        return len(self._items) >= PART_ITEMS or self._run.clock.monotonic() - self._opened >= PART_SECONDS

    def close(self, next_link: str = "", delta_link: str = "", gone: list[str] | None = None) -> PlanPart:
        """Write a part; what is given is what is stored, by this run or by another that took it over."""
        part = PlanPart(FORMAT, self._run.basis, self._run.mode, self._items, next_link, delta_link, gone or [])
        stored = self._run.log.put_plan(self._number, part)
        if (stored.basis, stored.mode) != (part.basis, part.mode):
            raise _another_run()
        self._number += 1
        self._items, self._opened = [], self._run.clock.monotonic()
        return stored

    def close_own(self, delta_link: str = "") -> None:
        """As `close`, for a list that nobody else's part fits into: Locked where another has written the same part."""
        items = self._items
        if self.close(delta_link=delta_link).items != items:
            raise _another_run()


def _another_run() -> Locked:
    return Locked(
        "Another run of this drive began at the same moment.",
        why="What it reads of the drive and what this one reads do not make one list.",
        remedy="Wait until it has ended, then run the same command again.",
        reason="another-run",
    )


def plan_changes(run: Run, progress: Progress, deadline: float | None = None) -> bool:
    """Read the feed to its end, or until `deadline` (monotonic seconds): True where there is more to read.

    A position that Microsoft no longer honours leads to a new attempt that enumerates the drive.
    """
    progress.stage("Reading what has changed")
    if run.job.source == "onedrive":
        return _walk(run, progress)
    for _ in range(ENUMERATIONS_MAX):
        try:
            return _read_delta(run, progress, deadline)
        except PositionLost:
            run.start_over("resync" if run.base.top else "full")
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


def _walk(run: Run, progress: Progress) -> bool:
    """Every folder's children, then what has changed since the walk began: the position was taken before it."""
    number, last = run.last_plan_part()
    if last is not None and last.delta_link:
        with suppress(PositionLost):
            _catch_up(run, number, last.delta_link, progress)
            return False
    if last is not None:
        run.start_over(run.mode)  # a walk has no link to go on from
    feed, writer = run.feed(), PlanWriter(run, 1)
    position = feed.latest_link()
    writer.add([run.root_item])
    walked = {run.root_item.id}
    _walk_folder(run, writer, run.root_item.id, walked, progress)
    position = _walk_missed(run, feed, writer, position, walked, progress)
    writer.close_own(delta_link=position)
    return False


def _catch_up(run: Run, number: int, position: str, progress: Progress) -> None:
    """A walk that another process has ended, perhaps days ago: what has changed since is added to its plan."""
    writer = PlanWriter(run, number + 1)
    walked = {item.id for _, part in run.log.plan_parts() for item in part.items if item.kind in FOLDERS}
    writer.close_own(delta_link=_walk_missed(run, run.feed(), writer, position, walked, progress))


def _walk_folder(run: Run, writer: PlanWriter, folder_id: str, walked: set[str], progress: Progress) -> None:
    for items in children.walk(run.graph, run.job.drive.id, folder_id, run.job.threads):
        writer.add(items)
        walked.update(item.id for item in items if item.kind in FOLDERS)
        progress.advance(files=len(items))
        if writer.is_full():
            writer.close_own()


def _walk_missed(
    run: Run, feed: DeltaFeed, writer: PlanWriter, position: str, walked: set[str], progress: Progress
) -> str:
    """The position up to which the walk is whole.

    A folder that is moved out of the walk's way before it is listed is told by the feed, and what lies in it is not:
    the next delta would take it for empty.
    """
    link = position
    while True:
        page = feed.page(link)
        writer.add(page.items)
        missed = [item.id for item in page.items if item.kind in FOLDERS and item.id not in walked]
        for folder_id in missed:
            if folder_id in walked:  # it lies in one that was missed, too
                continue
            walked.add(folder_id)
            with suppress(NotFound):  # deleted since; the feed will say so
                _walk_folder(run, writer, folder_id, walked, progress)
        if page.delta_link and not missed:
            return page.delta_link
        link = page.next_link or page.delta_link


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
