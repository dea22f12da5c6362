"""The app's own service over a registry in memory, as the verbs of the command line open it."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from backup_core.cli import main as command
from backup_core.clock import Clock, SystemClock
from backup_core.registry.accounts import Account
from backup_core.registry.tenants import Tenant
from backup_core.service import Service
from backup_core.settings import Settings, read_settings
from backup_core.testing.memory_table import MemoryTable

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
CONTOSO, FABRIKAM = ("11111111-aaaa-4bbb-8ccc-000000000001", "22222222-aaaa-4bbb-8ccc-000000000002")
ADA, BOB = ("acc00000-0000-4000-8000-00000000000a", "acc00000-0000-4000-8000-00000000000b")


class Office:
    """Each command gets a service of its own over one table; `service` is the last one's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.table = MemoryTable()
        monkeypatch.setattr("backup_core.service.open_service", self._open)
        monkeypatch.setenv("DRIVEKEEP_MASTER_KEY", MASTER_KEY)
        monkeypatch.setenv(
            "DRIVEKEEP_STORAGE", "AccountName=vault;AccountKey=c2VjcmV0PQ==;EndpointSuffix=core.windows.net"
        )
        self.service: Service | None = None
        self.errors = ""

    def _open(self, settings: Settings, clock: Clock) -> Service:
        self.service = Service(settings, clock, self.table)
        return self.service

    @property
    def registry(self) -> Any:
        return Service(read_settings(), SystemClock(), self.table).registry

    def add_tenant(self, tenant: str, **fields: Any) -> None:
        self.registry.tenants.save(None, Tenant(tenant, **fields))

    def add(self, account: str, tenant: str = CONTOSO, **fields: Any) -> None:
        made = Account(account, tenant, **fields)
        self.registry.commit(tenant, lambda: self.registry.accounts.changes(None, made))

    def account(self, account: str, tenant: str = CONTOSO) -> Account:
        found: Account = self.registry.accounts.get(tenant, account)
        return found

    def notes(self, tenant: str = CONTOSO) -> list[tuple[str, str, str]]:
        return [(each.who, each.what, each.target) for each in self.registry.audit.page(tenant, None, 100)]

    def run(self, *words: str) -> tuple[int, str]:
        code = command.main(words)
        out, self.errors = self._capsys.readouterr()
        return code, out

    def json(self, words: Sequence[str]) -> tuple[int, Any]:
        code, out = self.run(*words, "--json")
        return code, json.loads(out.splitlines()[-1])
