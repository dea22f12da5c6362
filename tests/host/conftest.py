"""What the tests of the local host share: a hub around the sample app, and the traces that its functions leave."""

from pathlib import Path

import pytest
from support.sample_hub import SampleHub


@pytest.fixture
def sample() -> SampleHub:
    return SampleHub()


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the sample app's functions leave a line when they run."""
    monkeypatch.setenv("SAMPLE_NOTES", str(tmp_path))
    return tmp_path / "notes"
