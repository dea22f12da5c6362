"""A large simulated drive that is backed up already, so that what is measured is the next run."""

from pathlib import Path
from typing import Any

from backup_core.backup.job import BackupJob, Components
from backup_core.backup.progress import NoProgress
from backup_core.backup.runner import back_up
from backup_core.clock import SystemClock
from backup_core.graph.client import GraphClient
from backup_core.graph.download import Downloads
from backup_core.graph.drives import user_drive
from backup_core.graph.gate import Gate
from backup_core.graph.items import DriveItem
from backup_core.graph.links import LinkRule
from backup_core.graph.sign_in import AppOnly
from backup_core.graph.sign_in_host import SignInHost
from backup_core.graph.transport import new_session
from backup_core.repository.repository import Repository
from backup_core.storage.local_folder import LocalFolderStore
from backup_core.storage.metered import MeteredStore
from backup_core.testing.m365 import Simulation

PASSWORD = "a password of the benchmark"
PACK_BYTES = 16 << 20


class ShortCut:
    """Stands for `Downloads` while a drive is prepared: content without 200,000 requests for it."""

    def __init__(self, drive: Any) -> None:
        self._drive = drive

    def open(self, drive_id: str, item_id: str) -> "ShortCutBody":
        return ShortCutBody(self._drive.by_id(item_id))


class ShortCutBody:
    verdict, mismatch_reason = "verified", None

    def __init__(self, item: Any) -> None:
        nanoseconds = int(item.modified.timestamp()) * 1_000_000_000 + item.modified.microsecond * 1000
        self._body, self._at = item.body, 0
        self.item = DriveItem(
            item.id, item.parent.id, item.name, "file", item.size, item.quickxor, "", nanoseconds, nanoseconds
        )

    def readinto(self, into: memoryview) -> int:
        piece = self._body.read(self._at, len(into))
        into[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def __enter__(self) -> "ShortCutBody":
        return self

    def __exit__(self, *_: object) -> None: ...


def components(m365: Simulation, repository: Path) -> Components:
    """In this process, as wiring would build them."""
    clock = SystemClock()
    meter = MeteredStore(LocalFolderStore(repository))
    session = new_session(8)
    session.verify = str(m365.ca_file)
    session.trust_env = False
    gate, rule = Gate(clock), LinkRule(m365.graph_url, ["127.0.0.1"])
    host = SignInHost(m365.authority_url, session, gate)
    tokens = AppOnly(host, m365.tenant.id, m365.client_id, m365.graph_url, secret=m365.client_secret)
    client = GraphClient(m365.graph_url, tokens, rule, gate, clock, session)
    opened = Repository.open_or_create(meter, PASSWORD, clock)
    return Components(opened, client, Downloads(client, session, rule, gate, clock), clock, meter, PACK_BYTES)


def run_here(m365: Simulation, parts: Components) -> Any:
    return back_up(BackupJob(user_drive(parts.graph, m365.users[0].upn)), parts, NoProgress())


def environment(m365: Simulation, repository: str) -> dict[str, str]:
    """For `drivekeep backup --account` as a process of its own."""
    return {**m365.environment(None), "DRIVEKEEP_REPOSITORY": repository, "DRIVEKEEP_PASSWORD": PASSWORD}
