"""The service without a host: a test calls the steps of a drive's backup by hand, in any order and more than once.

The registry is in memory and the repositories lie in folders. Another process is another service over the same.
"""

import base64
import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from backup_core.backup.run import Run
from backup_core.registry.accounts import Account
from backup_core.registry.table import Table
from backup_core.registry.tenants import Tenant
from backup_core.runs import run as runs
from backup_core.service import Service, steps, turns
from backup_core.service import workplace as places
from backup_core.settings import read_settings
from backup_core.testing.m365 import Simulation
from backup_core.testing.memory_table import MemoryTable
from support.commands import CommandLine
from support.hosted import HopClock, HostedService
from support.judge import Judge

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
LANE = "lane-0"


@dataclass
class Bench:
    m365: Simulation
    clock: HopClock
    home: Path
    table: Table = field(default_factory=MemoryTable)
    service: Service = None  # type: ignore[assignment]

    @property
    def tenant(self) -> str:
        return str(self.m365.tenant.id)

    @property
    def user(self) -> Any:
        return self.m365.users[0]

    @property
    def folder(self) -> Path:
        """Where the first user's repository lies."""
        return self.home / "repositories" / self.tenant / self.user.id

    def process(self, **settings: str) -> Service:
        """A service that shares with others only what is stored."""
        own = {
            **self.m365.service_environment(),
            "DRIVEKEEP_STORAGE": "in-memory",
            "DRIVEKEEP_CONTAINER": "bench",
            "DRIVEKEEP_MASTER_KEY": MASTER_KEY,
            **settings,
        }
        with mock.patch.dict(os.environ, CommandLine(self.home, own).environment, clear=True):
            return HostedService(read_settings(folder=self.home), self.clock, self.table, self.home / "repositories")

    def protect(self) -> None:
        """The organisation has consented, and all its users are to be backed up."""
        registry = self.service.registry
        registry.tenants.save(None, Tenant(self.tenant, domain="x", connected_at=self.clock.now()))
        for user in self.m365.users:
            made = Account(user.id, self.tenant, upn=user.upn)
            registry.commit(self.tenant, lambda made=made: registry.accounts.changes(None, made))

    def ask(self, **more: Any) -> runs.Run:
        return self.service.runs.request(self.tenant, self.user.id, who="test", **more)

    def claim(self, lane: str = LANE) -> dict[str, Any]:
        """The next drive's, as an orchestration gets it."""
        taken = turns.claim_next(self.service, self.tenant, lane)
        assert taken["ok"], taken
        return dict(taken["claim"])

    def step(self, name: str, claim: dict[str, Any], service: Service | None = None, **more: Any) -> dict[str, Any]:
        """One activity, with what goes through a history as it comes out of one."""
        result = getattr(steps, name)(service or self.service, json.loads(json.dumps({**claim, **more})))
        return dict(json.loads(json.dumps(result)))

    def finish(self, claim: dict[str, Any], **ending: Any) -> dict[str, Any]:
        return turns.finish(self.service, {**claim, **ending})

    def lose_claim(self) -> None:
        """As a tick does that takes a lane for dead."""
        (held,) = self.service.runs.active(self.tenant)
        assert self.service.runs.free(held, "it looked dead") == "requeued"

    def step_while_reading(
        self, monkeypatch: pytest.MonkeyPatch, claim: dict[str, Any], batch: int, deed: Callable[[], object]
    ) -> dict[str, Any]:
        """Save a batch, with a deed done while its first file comes; whose end waits until somebody stops the run."""
        check, begun = Run.check_stop, threading.Event()

        def checking(run: Run) -> None:
            if not begun.is_set():
                begun.set()
                deed()
                assert run.stop.wait(10), "nobody stopped the run"
            check(run)

        with monkeypatch.context() as patched:
            patched.setattr(Run, "check_stop", checking)
            return self.step("save", claim, batch=batch)

    def outcome(self, run: runs.Run) -> runs.Outcome:
        (found,) = self.service.runs.results(run.id, None, 10)
        return found

    def snapshots(self) -> int:
        return sum(path.is_file() for path in (self.folder / "snapshots").glob("*"))

    def judge(self) -> Judge:
        return Judge(self.folder, self.service.master.repository_passwords(self.tenant, self.user.id)[0])


@contextlib.contextmanager
def bench(home: Path, users: int = 1, files: int = 3, **simulation: Any) -> Iterator[Bench]:
    """One organisation whose users have so many small files each; nothing is queued yet."""
    clock = HopClock()
    with (
        Simulation(users=users, clock=clock, **simulation) as m365,
        mock.patch.dict(os.environ, REQUESTS_CA_BUNDLE=str(m365.ca_file)),
    ):
        for user in m365.users:
            for number in range(files):
                user.drive.put_file(f"/Papers/{number}.txt", f"{number} of {user.upn}".encode())
        here = Bench(m365, clock, home)
        here.service = here.process()
        here.protect()
        forget()
        try:
            yield here
        finally:
            forget()
            here.service.session.close()


def forget() -> None:
    """As a process that has just begun."""
    for remembered in (places._drives, places._keys):
        remembered._known.clear()
