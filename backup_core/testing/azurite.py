"""Azurite, Microsoft's own stand-in for Azure Storage, as a process that a `with` block owns. It installs nothing."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from backup_core.clock import Clock, SystemClock
from backup_core.errors import DrivekeepError

# Known to everybody who has Azurite: it ships with exactly this account and key, and they protect nothing.
ACCOUNT_NAME = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_SERVICES = ("Blob", "Queue", "Table")
_LISTENING = re.compile(r"Azurite (\w+) service is successfully listening at (http://\S+)")
# One second on an idle machine; two cores that run several test processes have needed ten.
_START_SECONDS = 90.0
_STOP_SECONDS = 5.0
_LOOK_SECONDS = 0.05


class Azurite:
    """`with Azurite() as azurite:` starts all three services on free loopback ports and ends them for sure.

    `command`: the program and its first arguments, where it is not to be looked for. `blob_port`: stock restic 0.14
    finds Azurite only at 10000. `folder`: where it keeps its data; without one, in memory. DrivekeepError with what
    Azurite said, where it is missing or does not start.
    """

    account_name = ACCOUNT_NAME
    account_key = ACCOUNT_KEY

    def __init__(
        self,
        command: Sequence[str] | None = None,
        *,
        blob_port: int = 0,
        folder: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._command = list(command) if command else find_azurite()
        self._blob_port = blob_port
        self._folder = folder
        self._clock = clock or SystemClock()
        self._addresses: dict[str, str] = {}

    @property
    def blob_url(self) -> str:
        """`http://127.0.0.1:<port>/devstoreaccount1`, without a slash at its end."""
        return f"{self._addresses['Blob']}/{ACCOUNT_NAME}"

    @property
    def connection_string(self) -> str:
        endpoints = "".join(f"{service}Endpoint={url}/{ACCOUNT_NAME};" for service, url in self._addresses.items())
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT_NAME};AccountKey={ACCOUNT_KEY};{endpoints}"

    def __enter__(self) -> Self:
        if not self._command:
            raise DrivekeepError(
                "Azurite is not installed.",
                why="There is no node_modules/.bin/azurite in the project and no azurite on the PATH.",
                remedy="Run `make setup`, or `npm install -g azurite`.",
            )
        self._output = tempfile.TemporaryFile("w+", errors="replace")
        # A session of its own: what is started through a shell or a wrapper of Node is ended with everything below it.
        self._process = subprocess.Popen(  # noqa: S603  # the command is the developer's own
            [*self._command, *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._wait_until_it_listens(self._output)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _arguments(self) -> list[str]:
        ports = [f"--{service.lower()}Port={self._blob_port if service == 'Blob' else 0}" for service in _SERVICES]
        data = ["--location", str(self._folder)] if self._folder else ["--inMemoryPersistence"]
        # It would else report to the internet, and refuse clients that are newer than itself.
        return [*ports, *data, "--silent", "--disableTelemetry", "--skipApiVersionCheck"]

    def _wait_until_it_listens(self, output: IO[str]) -> None:
        deadline = self._clock.monotonic() + _START_SECONDS
        while True:
            ended = self._process.poll() is not None
            output.seek(0)
            said = output.read()
            self._addresses = dict(_LISTENING.findall(said))
            if len(self._addresses) == len(_SERVICES):
                return
            if ended or self._clock.monotonic() > deadline:
                raise DrivekeepError(
                    "Azurite ended at once." if ended else f"Azurite was not ready after {_START_SECONDS:.0f} seconds.",
                    why=f"It said: {said.strip() or 'nothing'}",
                    remedy="Look whether its port is taken and whether Node is version 20 or later.",
                )
            self._clock.sleep(_LOOK_SECONDS)

    def _stop(self) -> None:
        for way_to_end in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, way_to_end)
                self._process.wait(_STOP_SECONDS)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
        self._output.close()


def find_azurite() -> list[str]:
    """The command that starts it: the project's own, else the PATH's; [] where there is none."""
    projects = (Path(__file__).parents[2], Path(sys.prefix).parent, Path.cwd())
    candidates = [project / "node_modules" / ".bin" / "azurite" for project in projects]
    program = next((path for path in candidates if path.exists()), None) or shutil.which("azurite")
    if program is None:
        return []
    script = Path(program).resolve()
    # npm's file names `node` in its first line. One in the virtual environment is there because the machine's is
    # missing or too old, so it comes first, and the PATH need not know it.
    node = shutil.which("node", path=str(Path(sys.prefix) / "bin")) or shutil.which("node")
    return [node, str(script)] if node and script.suffix == ".js" else [str(program)]
