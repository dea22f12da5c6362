"""Many drives and large ones: the app with its hub and its worker processes in sight, and what all of it costs."""

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from azure.storage.blob import ContainerClient

from backup_core.clock import SystemClock
from backup_core.testing.azurite import Azurite
from backup_core.testing.durable_host.host_json import read_host_json
from backup_core.testing.durable_host.host_thread import HostThread
from backup_core.testing.durable_host.instance import Instance
from backup_core.testing.durable_host.local_host import LocalHost
from backup_core.testing.durable_host.process_workers import ProcessWorkers
from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.bodies import SyntheticBody
from support.commands import ROOT, CommandLine
from support.judge import Judge
from support.served import SERVE_KEY, Served, served

MIB = 1 << 20
_THREADS = 16  # of each worker process, as the app's settings for Azure have it
_DRIP_SECONDS = 2.0  # between two pieces: slow, and too fast to be taken for a connection that hangs


class HeldBody(SyntheticBody):
    """A file that comes in drips until a test lets it go; `begun` is set when somebody reads it."""

    __slots__ = ("begun", "let_go")

    def __init__(self, size: int, seed: int) -> None:
        super().__init__(size, seed)
        self.begun, self.let_go = threading.Event(), threading.Event()

    def read(self, offset: int, length: int) -> bytes:
        self.begun.set()
        self.let_go.wait(_DRIP_SECONDS)
        return super().read(offset, length)

    def quickxor(self) -> str:
        return SyntheticBody(self.size, self._seed).quickxor()


@dataclass
class Workshop:
    """`app` answers as ever; its orchestrations are in this process, its activities in processes of their own."""

    app: Served
    host: LocalHost
    workers: ProcessWorkers

    def instances(self, name: str) -> list[Instance]:
        """All orchestrations of that name that have been."""
        return [each for each in list(self.host.hub.instances.values()) if each.name == name]

    def activities(self, name: str) -> int:
        """How often an activity of that name has run."""
        return sum(1 for each in list(self.host.hub.activities.log) if each.name == name)

    def peaks_mib(self) -> list[float]:
        """The most memory that each worker process has had in its life; none of them has died."""
        return sorted(peak_mib(process) for process in self.workers.process_ids)


@contextlib.contextmanager
def workshop(m365: Simulation, azurite: Azurite, home: Path, processes: int, **settings: str) -> Iterator[Workshop]:
    """The app as `serve --workers N` runs it, with the host where a test can look into it."""
    with served(m365, azurite, home, start=False, DRIVEKEEP_SCHEDULE="0 */15 * * * *", **settings) as app:
        app.log = home / "serve.log"
        app.log.touch()
        environment = app.person.environment
        workers = ProcessWorkers(ROOT, processes, _THREADS)
        host = LocalHost(
            workers, read_host_json(ROOT, environment), environment, SystemClock(), key=SERVE_KEY, timers=False
        )
        thread = HostThread(host)
        with mock.patch.dict(os.environ, environment, clear=True):
            app.url = f"http://127.0.0.1:{thread.start()}"
        try:
            yield Workshop(app, host, workers)
        finally:
            thread.stop()


def peak_mib(process_id: int) -> float:
    """The most memory that a process has had, as Linux counts it."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{process_id}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def owner(app: Served, azurite: Azurite, tenant: str, account: str) -> CommandLine:
    """Whoever has the administrator's access to one repository and uses the command line."""
    recovery = app.recovery(tenant, account)
    return app.person.but(
        DRIVEKEEP_REPOSITORY=recovery["repository"],
        DRIVEKEEP_PASSWORD=recovery["password"],
        AZURE_STORAGE_CONNECTION_STRING=azurite.connection_string,
    )


def judge_of(app: Served, azurite: Azurite, tenant: str, account: str, folder: Path) -> Judge:
    """Stock restic on a copy of one account's repository, with the password that `accounts recovery` tells."""
    prefix = f"{tenant}/{account}/"
    with ContainerClient.from_connection_string(azurite.connection_string, app.container) as container:
        for name in container.list_blob_names(name_starts_with=prefix):
            path = folder / name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(container.download_blob(name).readall())
    return Judge(folder, app.recovery(tenant, account)["password"])


def all_of_run(app: Served, tenant: str) -> Any:
    """The tenant's only run, with its results; None before there is one."""
    runs = app.items(f"/api/runs?tenant={tenant}")
    assert len(runs) <= 1, runs
    return app.get(f"/api/runs/{runs[0]['id']}") if runs else None
