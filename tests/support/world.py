"""A simulated Microsoft 365, a repository and the product between them; and what every test asks at its end."""

import datetime
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from backup_core.backup.job import BackupJob, Components, Summary
from backup_core.backup.progress import NoProgress
from backup_core.backup.runner import back_up
from backup_core.clock import Clock, SystemClock
from backup_core.graph.client import GraphClient
from backup_core.graph.download import Downloads
from backup_core.graph.drives import user_drive
from backup_core.graph.gate import Gate
from backup_core.graph.links import LinkRule
from backup_core.graph.sign_in import AppOnly
from backup_core.graph.sign_in_host import SignInHost
from backup_core.graph.transport import new_session
from backup_core.repository.blobs import BlobReader, LoadedIndex
from backup_core.repository.node import Node
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import load_snapshot
from backup_core.repository.tree import Tree
from backup_core.storage.memory import MemoryStore
from backup_core.storage.metered import MeteredStore
from backup_core.storage.store import Store
from backup_core.testing.m365 import Simulation

PASSWORD = "a password of the tests"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
PACK_BYTES = 4 << 20  # small enough for several packs in small tests


@dataclass
class World:
    m365: Simulation
    store: Store
    clock: Clock = field(default_factory=SystemClock)
    user: int = 0
    _opened: tuple[Store, Repository] | None = None

    @property
    def drive(self) -> Any:
        return self.m365.users[self.user].drive

    def components(self, **patience: Any) -> Components:
        """As another process would build them: nothing is shared but the store."""
        meter = MeteredStore(self.store)
        session = new_session(8)
        session.verify = str(self.m365.ca_file)
        host = SignInHost(self.m365.authority_url, session, Gate(self.clock))
        tokens = AppOnly(
            host, self.m365.tenant.id, self.m365.client_id, self.m365.graph_url, secret=self.m365.client_secret
        )
        rule = LinkRule(self.m365.graph_url, ["127.0.0.1"])
        gate = Gate(self.clock)
        client = GraphClient(self.m365.graph_url, tokens, rule, gate, self.clock, session, **patience)
        downloads = Downloads(client, session, rule, gate, self.clock, **patience)
        self._session = session
        return Components(self.open_repository(meter), client, downloads, self.clock, meter, PACK_BYTES)

    def open_repository(self, store: Store | None = None) -> Repository:
        """The keys are derived once per store: scrypt is slow on purpose, and its tests are elsewhere."""
        if self._opened is None or self._opened[0] is not self.store:
            self._opened = self.store, Repository.open_or_create(self.store, PASSWORD, self.clock)
        known = self._opened[1]
        return Repository(store or self.store, known.keys, known.id, known.version, store or self.store)

    def back_up(self, parts: Components | None = None, **job: Any) -> Summary:
        parts = parts or self.components()
        drive = user_drive(parts.graph, self.m365.users[self.user].upn)
        try:
            return back_up(BackupJob(drive=drive, threads=job.pop("threads", 4), **job), parts, NoProgress())
        finally:
            self._session.close()

    def downloads(self) -> list[str]:
        """Paths of the content host that were asked for, since the log was cleared."""
        return [each.path for each in self.m365.log if each.origin == "content"]

    def contents(self, snapshot_id: str) -> dict[str, tuple[Any, ...]]:
        """Path -> ("file", SHA-256, modified ns) or ("dir", modified ns) of everything in a snapshot."""
        repository = self.open_repository()
        index = LoadedIndex.load(repository)
        reader = BlobReader(repository, index.locate)
        snapshot = load_snapshot(repository, snapshot_id)
        (top,) = [node for _, node in Tree.parse(reader.read(bytes.fromhex(snapshot.tree), True)).nodes()]
        return dict(_walk(reader, top, ""))

    def expected(self) -> dict[str, tuple[Any, ...]]:
        """The same of the drive as it is now."""
        return {path: _expected(entry) for path, entry in self.drive.snapshot().items()}

    def assert_same(self, summary: Summary) -> None:
        """The run's snapshot is the drive, and the summary's totals are the snapshot's."""
        assert summary.snapshot_id is not None
        expected, found = self.expected(), self.contents(summary.snapshot_id)
        assert found == expected
        assert summary.files_total == sum(entry[0] == "file" for entry in expected.values())
        assert summary.files_new + summary.files_changed + summary.files_unmodified == summary.files_total


def _walk(reader: BlobReader, folder: Node, path: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    assert folder.subtree is not None
    for _, node in Tree.parse(reader.read(bytes.fromhex(folder.subtree), True)).nodes():
        below = f"{path}/{node.true_name}" if path else node.true_name
        if node.type == "dir":
            yield below, ("dir", node.modified)
            yield from _walk(reader, node, below)
            continue
        digest = hashlib.sha256()
        for chunk in node.content or ():
            digest.update(reader.read(bytes.fromhex(chunk), False))
        yield below, ("file", digest.hexdigest(), node.modified)


def _expected(entry: Any) -> tuple[Any, ...]:
    nanoseconds = (entry.modified - EPOCH) // datetime.timedelta(microseconds=1) * 1000
    return ("dir", nanoseconds) if entry.kind == "folder" else ("file", entry.digest, nanoseconds)


def clear(drive: Any) -> None:
    """Delete everything, as the owner would."""
    for path, _ in [*drive.files(), *drive.folders()]:
        if "/" not in path.strip("/"):
            drive.delete(path)


@contextmanager
def world(store: Store | None = None, clock: Clock | None = None, **simulation: Any) -> Iterator[World]:
    with Simulation(clock=clock, strict_content=True, **simulation) as m365:
        yield World(m365, store or MemoryStore(clock or SystemClock()), clock or SystemClock())
