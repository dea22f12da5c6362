"""A table of each kind, empty."""

import secrets
from collections.abc import Iterator

import pytest

from backup_core.clock import SystemClock
from backup_core.registry.azure_table import AzureTable, TableAccount
from backup_core.registry.table import Table
from backup_core.testing.memory_table import MemoryTable


@pytest.fixture(params=["memory", "azure"])
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """An empty table that does not exist yet."""
    if request.param == "memory":
        yield MemoryTable()
        return
    account = TableAccount(request.getfixturevalue("azurite").connection_string)
    table = AzureTable(account, f"test{secrets.token_hex(8)}", clock=SystemClock())
    yield table
    table.close()
