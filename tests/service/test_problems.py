"""What keeps the app from its work is said once each, with what to do; and nothing is believed that is no value."""

import base64
import logging
from pathlib import Path

import pytest

from backup_core.service import current
from backup_core.service.service import PROBLEMS_SECONDS, Service
from backup_core.settings import read_settings
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.memory_table import MemoryTable

REFERENCE = "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/k)"


def service_with(folder: Path, table: MemoryTable | None = None, **more: str) -> Service:
    own = {
        "DRIVEKEEP_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
        "DRIVEKEEP_STORAGE": "accountname",
        "DRIVEKEEP_CLIENT_ID": "48e56ca9-fa4e-4e92-ae02-d2d8e56030c7",
        "DRIVEKEEP_CLIENT_SECRET": "s",
    }
    settings = read_settings(environment={**own, **more}, folder=folder)
    return Service(settings, FakeClock(), table or MemoryTable())


@pytest.mark.parametrize(
    ("more", "reason", "named"),
    [
        ({"DRIVEKEEP_MASTER_KEY": ""}, "master-key", "DRIVEKEEP_MASTER_KEY is not set"),
        ({"DRIVEKEEP_MASTER_KEY": "abc"}, "master-key", "32 bytes"),
        ({"DRIVEKEEP_MASTER_KEY": REFERENCE}, "key-vault", "DRIVEKEEP_MASTER_KEY is"),
        ({"DRIVEKEEP_MASTER_KEY_PREVIOUS": REFERENCE}, "key-vault", "DRIVEKEEP_MASTER_KEY_PREVIOUS is"),
        ({"DRIVEKEEP_API_KEY": REFERENCE}, "key-vault", "DRIVEKEEP_API_KEY is"),
        ({"DRIVEKEEP_CLIENT_SECRET": REFERENCE}, "key-vault", "DRIVEKEEP_CLIENT_SECRET is"),
        ({"DRIVEKEEP_CLIENT_SECRET": ""}, "app-registration", "nothing to prove itself"),
        ({"DRIVEKEEP_MANAGED_IDENTITY": "x"}, "app-registration", "exactly one proof"),
        ({"DRIVEKEEP_ONBOARDING": "maybe"}, "setting", "DRIVEKEEP_ONBOARDING cannot be"),
        ({"DRIVEKEEP_MAX_DRIVES_PER_TENANT": "many"}, "setting", "DRIVEKEEP_MAX_DRIVES_PER_TENANT cannot be"),
        ({"DRIVEKEEP_DEFAULT_BACKUP_CRON": "x"}, "schedule", "no schedule"),
        ({"DRIVEKEEP_MASTR_KEY": "x"}, "setting", "the nearest one is DRIVEKEEP_MASTER_KEY"),
    ],
)
def test_each_problem_is_said_once(tmp_path: Path, more: dict[str, str], reason: str, named: str) -> None:
    """By its own reason, naming the setting, with a remedy; without it the app is well."""
    assert service_with(tmp_path).problems() == []
    (problem,) = service_with(tmp_path, **more).problems()
    assert problem.reason == reason
    assert named in problem.message
    assert problem.remedy


def test_another_installations_key_is_noticed_when_it_is_set(tmp_path: Path) -> None:
    """What was known a moment ago is not asked for again."""
    table = MemoryTable()
    assert service_with(tmp_path, table).problems() == []
    other = service_with(tmp_path, table, DRIVEKEEP_MASTER_KEY=base64.b64encode(b"o" * 32).decode())
    (problem,) = other.problems()
    assert problem.reason == "wrong-key"
    seen = other.problems()
    other.clock.sleep(PROBLEMS_SECONDS)
    assert other.problems() == seen and other.problems() is not seen


def test_a_process_without_its_key_says_so_when_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, in the log, where somebody looks who wonders why nothing is backed up."""
    monkeypatch.setenv("DRIVEKEEP_MASTER_KEY", REFERENCE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    current.use(None)
    try:
        with caplog.at_level(logging.WARNING):
            assert current.get() is current.get()
    finally:
        current.use(None)
    (record,) = caplog.records
    assert "Key Vault" in record.getMessage()
