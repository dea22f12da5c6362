"""Both kinds of places for a repository, a home folder for whoever types the commands, and stock restic as judge."""

from pathlib import Path

import pytest
from support.judge import judge
from support.places import AzuritePlace, LocalPlace, Place

__all__ = ["judge"]  # a fixture of every test here


@pytest.fixture(params=["local", "azurite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place, once of each kind."""
    if request.param == "local":
        return LocalPlace(tmp_path / "repository")
    return AzuritePlace(request.getfixturevalue("azurite"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"
