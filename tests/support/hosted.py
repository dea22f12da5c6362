"""The app on a local host in this process: waits pass at once, and a test can act between any two activities.

HTTP, orchestrations and activities are the app's own; the registry is in memory and the repositories lie in folders,
where stock restic finds them. What concerns processes, Azure's storage and the command line is `served.py`.
"""

import asyncio
import base64
import contextlib
import datetime
import json
import logging
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

from backup_core import wiring
from backup_core.clock import SystemClock
from backup_core.registry import keys
from backup_core.registry.table import Row, Table
from backup_core.runs import rows
from backup_core.runs.reports import Reports
from backup_core.service import Service, current
from backup_core.settings import Settings, read_settings
from backup_core.storage.local_folder import LocalFolderStore
from backup_core.storage.locations import LocalLocation
from backup_core.storage.metered import MeteredStore
from backup_core.storage.read_only import ReadOnlyStore
from backup_core.testing.azurite import Azurite
from backup_core.testing.durable_host.host_json import read_host_json
from backup_core.testing.durable_host.host_thread import HostThread
from backup_core.testing.durable_host.local_host import LocalHost
from backup_core.testing.durable_host.thin_worker import ThinWorker
from backup_core.testing.durable_host.worker import Payload
from backup_core.testing.m365 import Simulation
from backup_core.testing.memory_table import MemoryTable
from support.commands import ROOT, CommandLine
from support.judge import Judge
from support.served import API_KEY, SERVE_KEY, Served

THREADS = 24
Deed = Callable[[dict[str, Any]], None]


class HopClock:
    """The machine's clock with jumps: who waits lets that much time pass, and so does a test that says `hop`."""

    def __init__(self) -> None:
        self._system, self._ahead, self._lock = SystemClock(), 0.0, threading.Lock()

    def now(self) -> datetime.datetime:
        return self._system.now() + datetime.timedelta(seconds=self._ahead)

    def monotonic(self) -> float:
        return self._system.monotonic() + self._ahead

    def sleep(self, seconds: float) -> None:
        self.hop(seconds)
        self._system.sleep(0.001)  # so that a thread that waits for another one lets it work

    def hop(self, seconds: float) -> None:
        with self._lock:
            self._ahead += max(0.0, seconds)


class HostedService(Service):
    """The app's own service, with what it stores in a folder."""

    def __init__(self, settings: Settings, clock: HopClock, table: Table, folder: Path) -> None:
        super().__init__(settings, clock, table)
        self._folder = folder

    def place(self, tenant: str, account: str, *, read_only: bool = False) -> wiring.Place:
        path = self._folder / tenant / account
        kept = LocalFolderStore(path, sync=False)
        store = MeteredStore(ReadOnlyStore(kept) if read_only else kept)
        return wiring.Place(LocalLocation(path), store, store, wiring.LOCAL_PACK_BYTES)

    @cached_property
    def reports(self) -> Reports:
        return Reports(LocalFolderStore(self._folder, sync=False), lambda: self.sealer("report"))


class WatchedWorker(ThinWorker):
    """Runs what a test has planned before an activity, and counts the calls that have ended."""

    def __init__(self) -> None:
        super().__init__(ROOT, THREADS)
        self.before: dict[str, Deed] = {}
        self.begun: list[tuple[str, dict[str, Any]]] = []
        self.done: Counter[str] = Counter()

    async def call(self, name: str, inputs: Mapping[str, Payload], seconds_max: float) -> Payload | None:
        if self.functions[name].kind == "activityTrigger":
            ((_, text),) = inputs.values()
            job = json.loads(text)
            job = json.loads(job) if isinstance(job, str) else job
            self.begun.append((name, job))
            if name in self.before:
                await asyncio.to_thread(self.before[name], job)
        try:
            return await super().call(name, inputs, seconds_max)
        finally:
            self.done[name] += 1


@dataclass
class Hosted(Served):
    clock: HopClock = field(default_factory=HopClock)
    service: Service = None  # type: ignore[assignment]
    worker: WatchedWorker = field(default_factory=WatchedWorker)
    host: LocalHost = None  # type: ignore[assignment]
    folder: Path = field(default_factory=Path)

    def tick(self) -> None:
        """And wait for its end."""
        before = self.worker.done["tick"]
        super().tick()
        self.wait_for(lambda: self.worker.done["tick"] > before)

    def settle(self, seconds: float = 90) -> None:
        """Wait until no orchestration is alive."""
        self.wait_for(lambda: all(each.ended for each in list(self.host.hub.instances.values())), seconds)

    def run_of_tick(self, tenant: str) -> Any:
        """Tick, wait for the end of all work, and give the newest run."""
        self.tick()
        self.settle()
        return self.get(f"/api/runs/{self.items(f'/api/runs?tenant={tenant}')[0]['id']}")

    def hop(self, seconds: float) -> None:
        self.clock.hop(seconds)
        self.host.hub.alarms.wake()

    def rows(self, prefix: str, tenant: str) -> list[Row]:
        return list(self.service.registry.table.rows(keys.part(tenant), prefix, keys.end(prefix)))

    def assert_idle(self, tenant: str) -> None:
        """Nothing of a run is left lying: no claim, nothing queued, no lane alive, no lock."""
        self.settle()
        for prefix in (rows.CLAIMS, rows.QUEUE, rows.ACTIVE):
            assert self.rows(prefix, tenant) == [], prefix
        locks = [path for path in self.folder.rglob("locks/*") if path.is_file()]
        assert locks == []

    def judge(self, tenant: str, account: str) -> Judge:
        """Stock restic on one account's repository."""
        password = self.service.master.repository_passwords(tenant, account)[0]
        return Judge(self.folder / tenant / account, password)

    def histories(self) -> str:
        """All that the orchestrations and their activities were told and have said, as Azure would keep it."""
        hub = self.host.hub
        alive = [instance.recorded() for instance in hub.instances.values()]
        ends = [(each.output, each.custom_status) for each in hub.instances.values()]
        return json.dumps([hub.recorded, alive, ends, [each[1:] for each in map(str, hub.activities.log)]])

    def calls_of(self, name: str) -> list[dict[str, Any]]:
        return [job for begun, job in self.worker.begun if begun == name]


def once(deed: Callable[[], None], nth: int = 1) -> Deed:
    """A deed that is done before the `nth` of its activities only."""
    lock, seen = threading.Lock(), 0

    def before(_: dict[str, Any]) -> None:
        nonlocal seen
        with lock:
            seen += 1
            mine = seen == nth
        if mine:
            deed()

    return before


def by_account(results: list[Any]) -> dict[str, Any]:
    """User principal name before the @ -> result."""
    return {each["upn"].split("@")[0]: each for each in results}


@contextlib.contextmanager
def hosted(
    m365: Simulation, home: Path, clock: HopClock, azurite: Azurite | None = None, **settings: str
) -> Iterator[Hosted]:
    """The app, running, with the simulation's clock. With `azurite` registry and repositories are there."""
    home.mkdir(parents=True, exist_ok=True)
    master_key = base64.b64encode(secrets.token_bytes(32)).decode()
    own = {
        **m365.service_environment(),
        "DRIVEKEEP_STORAGE": azurite.connection_string if azurite else "in-memory",
        "DRIVEKEEP_CONTAINER": f"hosted-{secrets.token_hex(6)}",
        "DRIVEKEEP_MASTER_KEY": master_key,
        "DRIVEKEEP_API_KEY": API_KEY,
        "DRIVEKEEP_SCHEDULE": "0 */15 * * * *",
        **settings,
    }
    person = CommandLine(home, own)
    with mock.patch.dict(os.environ, person.environment, clear=True):
        read, folder = read_settings(folder=home), home / "repositories"
        service = Service(read, clock) if azurite else HostedService(read, clock, MemoryTable(), folder)
        app = Hosted(m365, person, own["DRIVEKEEP_CONTAINER"], master_key, clock=clock, service=service, folder=folder)
        app.host = LocalHost(
            app.worker, read_host_json(ROOT, own), own, clock, key=SERVE_KEY, timers=False, skip=clock.hop
        )
        with _logged(home / "app.log") as app.log, _running(app):
            yield app


@contextlib.contextmanager
def _running(app: Hosted) -> Iterator[None]:
    current.use(app.service)
    thread = HostThread(app.host)
    try:
        app.url = f"http://127.0.0.1:{thread.start()}"
        yield
    finally:
        thread.stop()
        current.use(None)
        app.service.session.close()


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[Path]:
    """What all rooms log as information, and this app's own also below that."""
    handler = logging.FileHandler(path, delay=False)
    root, own = logging.getLogger(), logging.getLogger("backup_core")
    levels = root.level, own.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    own.setLevel(logging.DEBUG)
    try:
        yield path
    finally:
        root.removeHandler(handler)
        handler.close()
        root.setLevel(levels[0])
        own.setLevel(levels[1])


@contextlib.contextmanager
def office(home: Path, users: int, **settings: str) -> Iterator[Hosted]:
    """An app whose one organisation has consented and whose users are enrolled, each with three files."""
    clock = HopClock()
    with Simulation(users=users, clock=clock) as m365, hosted(m365, home, clock, **settings) as app:
        for user in m365.users:
            for number in range(3):
                user.drive.put_file(f"/Papers/{number}.txt", f"{number} of {user.upn}".encode())
        assert app.onboard().status_code == 200
        app.enrolled(m365.tenant.id, users)
        app.settle()
        yield app
