"""One run of a backup as any process sees it: what it starts from, what it works with, where it writes its log.

Nothing in it must survive the process: `begin` finds the same run again from what is stored.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from backup_core.backup.base import Base, find_base, take_readable_stock
from backup_core.backup.content import Claims
from backup_core.backup.job import BackupJob, Components, Summary
from backup_core.backup.prepared import Prepared, Seen
from backup_core.backup.run_log import Basis, Mode, PlanPart, RunLog
from backup_core.drive_state.segments import StateDamaged
from backup_core.errors import Interrupted, Usage
from backup_core.graph.client import GraphClient
from backup_core.graph.delta import DeltaFeed
from backup_core.graph.drives import item_at_path, root_item
from backup_core.graph.items import DriveItem
from backup_core.repository.pack import Pack
from backup_core.repository.tree import item_key
from backup_core.storage.memory import MemoryStore
from backup_core.storage.store import Store

RULES = ""  # hash of the exclusion rules; this version has none
STATE_READERS = 8  # ranges of the state and trees that are read at once: waiting is most of what they cost


def chosen_folder(graph: GraphClient, job: BackupJob) -> DriveItem:
    """The folder of the drive that the job takes as the root. NotFound; Usage where it is a file."""
    found = item_at_path(graph, job.drive.id, job.root_path)
    if found.kind != "folder":
        raise Usage(f"{job.root_path} is no folder.", remedy="Name a folder of the drive with --path.")
    return found


class Run:
    """Made by `begin`, ended by `with`. `stop`, set by any thread, ends the others at their next step."""

    def __init__(
        self, parts: Components, job: BackupJob, base: Base, pool: ThreadPoolExecutor, start_over: bool
    ) -> None:
        self.parts, self.job, self.base, self._pool = parts, job, base, pool
        self.repository, self.graph, self.downloads = parts.repository, parts.graph, parts.downloads
        self.clock = parts.clock
        self.state, self.trees = base.state, base.trees
        self.stop = threading.Event()
        self.ensure_lock: Callable[[], None] = lambda: None  # of whoever works under a lock; Locked where it is lost
        self.claims = Claims(self.state.data)
        self.root_item = self._find_root()
        self.root_key = item_key(self.root_item.id)
        self.retry = {item_id: each.reason for item_id, each in self.state.retry().items()}
        self.basis = Basis(job.source, base.tree, base.generation, RULES, job.drive.id, self.folder_id or "")
        self.mode: Mode = self._first_mode()
        self._store: Store = MemoryStore(parts.clock) if job.dry_run else parts.repository.store
        self._prepared: Prepared | None = None
        self._started = self.clock.monotonic()
        self._attempts = RunLog.attempts(self._store, base.generation)
        if start_over or not self._take_over():
            self.start_over(self.mode)

    @classmethod
    def begin(cls, parts: Components, job: BackupJob, *, trust_state: bool = True, start_over: bool = False) -> "Run":
        """Find out what to start from, and take over the newest unfinished run that started from the very same.

        Without `trust_state` the drive state is not used, and the drive is enumerated. `start_over`: no unfinished run
        is taken over.
        """
        pool = ThreadPoolExecutor(STATE_READERS, thread_name_prefix="state")
        try:
            return cls(parts, job, find_base(parts.repository, job, pool, trust_state), pool, start_over)
        except BaseException:
            pool.shutdown()
            raise

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False)
        self._forget_prepared()

    # -- what it starts from -------------------------------------------------------------------------------------

    @property
    def whole(self) -> bool:
        """Whether the plan names the whole drive, and not only what changed."""
        return self.mode != "delta"

    @property
    def folder_id(self) -> str | None:
        """The folder taken as the root; None for the drive's own root."""
        return self.root_item.id if self.job.root_path else None

    @property
    def drive_name(self) -> str:
        """The first backup's, for ever: restic groups snapshots by the path that is made of it."""
        return self.base.top.true_name if self.base.top else self.job.drive.name

    @property
    def username(self) -> str:
        return self.base.snapshot.username if self.base.snapshot else self.job.drive.account.upn

    @property
    def hostname(self) -> str:
        """The domain of the account at the first backup."""
        if self.base.snapshot:
            return self.base.snapshot.hostname
        return self.job.drive.account.upn.rpartition("@")[2] or "onedrive"

    def feed(self) -> DeltaFeed:
        """What Microsoft says of changes in the drive, or in the folder taken as the root."""
        return DeltaFeed(self.graph, self.job.drive.id, self.folder_id)

    def _find_root(self) -> DriveItem:
        top = self.base.top
        if self.job.root_path:
            return chosen_folder(self.graph, self.job)
        if top is not None and top.item_id:
            return DriveItem(top.item_id, kind="folder", modified=top.modified, created=top.created, root=True)
        return root_item(self.graph, self.job.drive.id)

    def _first_mode(self) -> Mode:
        top, head = self.base.top, self.state.head
        if top is None:
            return "full"
        if self.job.source == "onedrive":
            return "rescan"
        known = bool(head.delta_link) and head.rules == RULES and top.item_id == self.root_item.id
        return "delta" if known else "resync"

    # -- its log -------------------------------------------------------------------------------------------------

    def start_over(self, mode: Mode) -> None:
        """A new attempt at the plan. What earlier ones have saved is used again."""
        self.mode = mode
        self._look_at_root()
        self._forget_prepared()
        number = int(self._attempts[-1].rpartition("-")[2]) + 1 if self._attempts else 1
        self._attempts.append(RunLog.name(self.base.generation, number))
        self.log = RunLog(self._store, self.repository.keys, self._attempts[-1])

    def _take_over(self) -> bool:
        if not self._attempts:
            return False
        log = RunLog(self._store, self.repository.keys, self._attempts[-1])
        try:
            first = next((part for _, part in log.plan_parts()), None)
        except StateDamaged:
            return False
        if first is None or first.basis != self.basis:
            return False
        if first.mode == "delta" and self.mode != "delta":  # what its changes were to be added to is not there any more
            return False
        self.log, self.mode = log, first.mode
        self._look_at_root()
        return True

    def _look_at_root(self) -> None:
        """Where all is listed, the root is not taken from the last snapshot: a drive that moved to other machines of
        Microsoft's has other ids, and below the former root nothing would be found.
        """
        if self.whole and self.base.top is not None and not self.job.root_path:
            self.root_item = root_item(self.graph, self.job.drive.id)
            self.root_key = item_key(self.root_item.id)

    def last_plan_part(self) -> tuple[int, PlanPart | None]:
        """Number and content of the last part that was written; 0 and None before the first."""
        number = max(self.log.numbers()["plan"], default=0)
        return number, self.log.plan(number) if number else None

    # -- what its steps share ------------------------------------------------------------------------------------

    def prepared(self) -> Prepared:
        """The plan against the last snapshot, with everything that batches have saved by now."""
        if self._prepared is None:
            earlier = [RunLog(self._store, self.repository.keys, name) for name in self._attempts[:-1]]
            top = self.base.top.subtree if self.base.top else None
            seen = Seen(self.state, self.trees, self.root_item, top, self.whole, bool(self.job.root_path), self.retry)
            self._prepared = Prepared(seen, self.log, earlier)
        self._prepared.load_saved()
        return self._prepared

    def _forget_prepared(self) -> None:
        if self._prepared is not None:
            self._prepared.scratch.close()
            self._prepared = None

    def take_stock(self) -> None:
        """See what index files there are now: somebody may have pruned, or written, since the run began."""
        take_readable_stock(self.repository, self.state)
        self.claims = Claims(self.state.data)  # what was claimed is stored by now, or is not and must be claimed again

    def cover(self, indexes: Iterable[str], packs: Iterable[Pack]) -> None:
        """Learn of packs that this run has stored, and of the index files that name them."""
        packs = list(packs)
        for index_id in indexes:
            self.state.cover(index_id, packs)

    def check_stop(self) -> None:
        """Interrupted where the run is to stop; Locked where it must, since its lock is lost: what is stored and not
        named yet may have been taken away by now.
        """
        if self.stop.is_set():
            raise Interrupted("The backup was stopped.")
        self.ensure_lock()

    # -- what it cost --------------------------------------------------------------------------------------------

    def empty_summary(self) -> Summary:
        parent = self.base.snapshot.id if self.base.snapshot else None
        return Summary(self.job.source, self.mode, self.username, parent=parent)

    def measure(self, summary: Summary) -> None:
        """Components are made for one run: their counters are the run's, the look for the drive included."""
        summary.graph_requests, summary.store_requests = self.graph.requests, self.parts.meter.requests
        summary.throttled_seconds = self.graph.gate.throttled_seconds
        summary.duration_seconds = self.clock.monotonic() - self._started
