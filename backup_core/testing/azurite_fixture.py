"""pytest's fixtures for Azurite: one process for a whole test run. Only pytest imports this, as a plugin."""

import os
import secrets
from collections.abc import Iterator

import pytest

from backup_core.testing.azurite import Azurite, find_azurite


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """A running Azurite. Where it is not installed the test is skipped, but on a CI machine it fails."""
    if not find_azurite() and os.environ.get("CI") != "true":  # noqa: TID251  # pytest has no setting for that
        pytest.skip("Azurite is not installed: run `make setup`")
    with Azurite() as process:
        yield process


@pytest.fixture
def container(azurite: Azurite) -> str:
    """The name of a container that no other test uses; it is made by the first put."""
    return f"test-{secrets.token_hex(8)}"
