"""Azurite as a process that starts when it is asked to, and ends for sure."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from backup_core.clock import SystemClock
from backup_core.errors import DrivekeepError
from backup_core.storage.azure_blob import AzureBlobStore
from backup_core.storage.azure_client import BlobAccount
from backup_core.testing import azurite as azurite_module
from backup_core.testing.azurite import Azurite, find_azurite


def listens(port: int) -> bool:
    """Whether anybody answers at this port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def port_of(azurite: Azurite) -> int:
    """The port of its Blob service."""
    return int(azurite.blob_url.split(":")[2].split("/")[0])


@pytest.mark.usefixtures("azurite")
def test_it_answers_in_the_block_and_is_gone_after_it(tmp_path: Path) -> None:
    """Two run at once on ports of their own; what one keeps in a folder outlives it, and it leaves no process."""
    for expected in ([], ["config"]):
        with Azurite(folder=tmp_path) as second:
            store = AzureBlobStore(BlobAccount(second.connection_string), "box", clock=SystemClock())
            assert [found.name for found in store.list()] == expected
            if not expected:
                store.put_new("config", b"")
            assert f"BlobEndpoint={second.blob_url};" in second.connection_string
            assert "TableEndpoint=" in second.connection_string
            port = port_of(second)
            assert listens(port)
        assert not listens(port)


@pytest.mark.usefixtures("azurite")
def test_a_taken_port_is_an_error_with_its_own_words() -> None:
    """When the port is taken the error holds what Azurite said, and nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        starting = Azurite(blob_port=taken.getsockname()[1])
        with pytest.raises(DrivekeepError, match="EADDRINUSE"), starting:
            pass
    assert starting._process.poll() is not None


def test_a_program_that_ends_is_an_error_with_its_output() -> None:
    """A command that is not Azurite, or cannot run, is told with what it printed."""
    command = [sys.executable, "-c", "import sys; sys.exit('no such luck')"]
    with pytest.raises(DrivekeepError, match="no such luck"), Azurite(command):
        pass


def test_a_program_that_never_listens_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting has an end, and the process that was waited for, with its children, does not survive it."""
    monkeypatch.setattr(azurite_module, "_START_SECONDS", 0.3)
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    starting = Azurite([sys.executable, "-c", script])
    with pytest.raises(DrivekeepError, match="not ready"), starting:
        pass
    group = subprocess.run(["ps", "-o", "stat=", "-g", str(starting._process.pid)], capture_output=True, check=False)
    # A dead grandchild may wait as a zombie for whoever is process 1 here.
    assert [state for state in group.stdout.split() if not state.startswith(b"Z")] == []


def test_where_it_is_missing_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Azurite the error says how to get it."""
    monkeypatch.setattr(azurite_module, "find_azurite", list)
    with pytest.raises(DrivekeepError, match="make setup"), Azurite():
        pass


def test_the_projects_own_is_found_and_run_by_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """npm's link leads to a script; it is run by the virtual environment's Node where there is one."""
    script = tmp_path / "node_modules" / "azurite" / "azurite.js"
    link = tmp_path / "node_modules" / ".bin" / "azurite"
    node = tmp_path / "venv" / "bin" / "node"
    for path in (script, node):
        path.parent.mkdir(parents=True)
        path.touch(mode=0o755)
    link.parent.mkdir()
    link.symlink_to(script)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setenv("PATH", "")
    assert find_azurite() == [str(node), str(script)] or (Path.cwd() / "node_modules").exists()
