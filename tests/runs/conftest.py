"""An installation in memory for each test of runs."""

import pytest
from support.installation import World


@pytest.fixture
def world() -> World:
    """With one connected tenant, without accounts."""
    made = World()
    made.tenant()
    return made
