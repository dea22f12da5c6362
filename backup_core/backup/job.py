"""What a backup is asked to do, what it works with, and what it says at the end."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from backup_core.backup.run_log import Mode
from backup_core.clock import Clock
from backup_core.graph.client import GraphClient
from backup_core.graph.download import Downloads
from backup_core.graph.drives import Drive
from backup_core.repository.repository import Repository
from backup_core.storage.metered import MeteredStore

Source = Literal["onedrive", "onedrive-changes"]

SUSPICIOUS_FROM_FILES = 50  # below this many files an ordinary clean-up looks like a mass change


@dataclass(frozen=True)
class BackupJob:
    """`root_path`: the folder taken as the root, without slashes around it; "" for the whole drive."""

    drive: Drive
    root_path: str = ""
    source: Source = "onedrive-changes"
    tags: tuple[str, ...] = ()
    dry_run: bool = False
    threads: int = 8


@dataclass(frozen=True)
class Components:
    """The repository is open, the client signed in. `meter` counts what goes to the repository's store."""

    repository: Repository
    graph: GraphClient
    downloads: Downloads
    clock: Clock
    meter: MeteredStore
    pack_bytes: int
    packs_in_flight: int = 1  # of each batch. Two batches run side by side, and a put needs a pack's size once more


class Reported(NamedTuple):
    """One item that was left out or could not be had, for a person to read."""

    path: str
    id: str
    reason: str


@dataclass
class Summary:
    """The contract's summary of a run. Counts are of this run, `files_total` and `bytes_total` of its snapshot."""

    source: Source
    mode: Mode
    account: str
    snapshot_id: str | None = None
    parent: str | None = None
    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    files_deleted: int = 0
    folders_new: int = 0
    files_total: int = 0
    bytes_total: int = 0
    items_skipped: list[Reported] = field(default_factory=list)
    items_failed: list[Reported] = field(default_factory=list)
    bytes_downloaded: int = 0
    bytes_added: int = 0
    graph_requests: int = 0
    store_requests: int = 0
    throttled_seconds: float = 0.0
    duration_seconds: float = 0.0
    suspicious: bool = False

    @property
    def complete(self) -> bool:
        return not self.items_failed

    @property
    def exit_code(self) -> int:
        if self.suspicious:
            return 4
        return 0 if self.complete else 3

    def to_json(self) -> dict[str, Any]:
        return {
            "message_type": "summary",
            "snapshot_id": self.snapshot_id,
            "parent": self.parent,
            "source": self.source,
            "mode": self.mode,
            "account": self.account,
            "complete": self.complete,
            "suspicious": self.suspicious,
            "files_new": self.files_new,
            "files_changed": self.files_changed,
            "files_unmodified": self.files_unmodified,
            "files_deleted": self.files_deleted,
            "folders_new": self.folders_new,
            "files_total": self.files_total,
            "bytes_total": self.bytes_total,
            "items_skipped": [each._asdict() for each in self.items_skipped],
            "items_failed": [each._asdict() for each in self.items_failed],
            "bytes_downloaded": self.bytes_downloaded,
            "bytes_added": self.bytes_added,
            "graph_requests": self.graph_requests,
            "store_requests": self.store_requests,
            "throttled_seconds": round(self.throttled_seconds, 3),
            "duration_seconds": round(self.duration_seconds, 3),
        }
