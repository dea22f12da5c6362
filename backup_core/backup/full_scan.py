"""First step by a full scan: every folder's children, then what has changed since the scan began.

The position is taken before the first folder is listed. Each part of the plan names the folders that are still to be
listed, so that any process goes on there.
"""

from collections.abc import Iterable

from backup_core.backup.plan_writer import PlanWriter, another_run
from backup_core.backup.progress import Progress
from backup_core.backup.run import Run
from backup_core.graph import children
from backup_core.graph.items import DriveItem

FOLDERS = frozenset({"folder", "package"})  # kinds of items that hold others


def scan(run: Run, progress: Progress, deadline: float | None = None) -> bool:
    """List what is left to be listed; True where the `deadline` (monotonic seconds) came first. PositionLost."""
    _, last = run.last_plan_part()
    if last is not None and not (last.delta_link or last.next_link):
        run.start_over(run.mode)  # a scan that began with an older drivekeep does not tell how to go on
    return _Scan(run, progress, deadline).go_on()


class _Scan:
    """`position`: of the feed, from which changes are still to be read; `pending`: folders still to be listed."""

    def __init__(self, run: Run, progress: Progress, deadline: float | None) -> None:
        self._run, self._progress, self._deadline = run, progress, deadline
        number, last = run.last_plan_part()
        self._feed, self._writer = run.feed(), PlanWriter(run, number + 1)
        self._added: list[DriveItem] = []  # to the part that is being written
        self._walked = {run.root_item.id}
        self._is_whole = last is not None and bool(last.delta_link)
        if last is None:
            self._position, self._pending = self._feed.latest_link(), {run.root_item.id}
            self._add([run.root_item])
            return
        self._position, self._pending = last.delta_link or last.next_link, set(last.pending)
        for _, part in run.log.plan_parts():
            self._walked.update(item.id for item in part.items if item.kind in FOLDERS)

    def go_on(self) -> bool:
        """Whether the deadline came before the end. A folder that is begun is listed to its end all the same."""
        while True:
            self._list_pending()
            if not self._pending and self._read_changes():
                return False
            if self._is_late():
                self._close()
                return True

    def _list_pending(self) -> None:
        top = self._run.root_item.id
        drive, threads = self._run.job.drive.id, self._run.job.threads
        for listed in children.walk(
            self._run.graph, drive, self._pending.copy(), threads, self._walked, top, self._is_late
        ):
            self._add(listed.items)
            self._pending.update(listed.folders)
            if listed.is_last:
                self._pending.discard(listed.folder)
            if self._writer.is_full():
                self._close()

    def _read_changes(self) -> bool:
        """Whether the scan is whole now.

        A folder that was moved out of its way before it was listed is told by the feed, and what lies in it is not:
        the next delta would take it for empty.
        """
        page = self._feed.page(self._position)
        self._add(page.items)
        missed = {item.id for item in page.items if item.kind in FOLDERS} - self._walked
        self._walked |= missed
        self._pending |= missed
        self._position = page.next_link or page.delta_link
        if not page.delta_link or missed:
            return False
        if self._added or not self._is_whole:
            self._close(is_whole=True)
        return True

    def _add(self, items: Iterable[DriveItem]) -> None:
        found = list(items)
        self._added += found
        self._writer.add(found)
        self._progress.advance(files=len(found))

    def _close(self, is_whole: bool = False) -> None:
        """Write a part. Locked where another process has written another one: nobody else's fits into this list."""
        links = {"delta_link": self._position} if is_whole else {"next_link": self._position}
        if self._writer.close(**links, pending=sorted(self._pending)).items != self._added:
            raise another_run()
        self._added = []

    def _is_late(self) -> bool:
        return self._deadline is not None and self._run.clock.monotonic() >= self._deadline
