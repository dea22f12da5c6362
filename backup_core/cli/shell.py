"""Commands of drivekeep as a person types them, each shown and then run as a process of its own, for the demo."""

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import backup_core
from backup_core.clock import Clock
from backup_core.errors import DrivekeepError
from backup_core.settings import plain_environment

_STOP_SECONDS = 10.0  # for a command that is told to stop to let go of its lock and its files
_LAST_WORDS_BYTES = 2000  # of what a command that went wrong has written to its log: some twenty lines


class Ran(NamedTuple):
    """`lines` of its stdout; `seconds` of the whole process, from its start to its end."""

    lines: list[str]
    seconds: float


class Shell:
    """`settings` are all the settings that a command sees; `folder` is where it runs, its home, and its scratch room.

    What a command says on stderr, its progress bar too, goes where this process has its own.
    """

    def __init__(self, settings: Mapping[str, str], folder: Path, clock: Clock, show: Callable[[str], None]) -> None:
        self._environment = {
            **plain_environment(),
            **settings,
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONPATH": str(Path(backup_core.__file__).parents[1]),
        }
        self._folder, self._clock, self._show = folder, clock, show

    def run(self, *words: str, unseen: Sequence[str] = ()) -> Ran:
        """Show `drivekeep WORDS` and run it, with the `unseen` words behind. DrivekeepError unless it ends with 0."""
        typed = self._type(words)
        started = self._clock.monotonic()
        with self._process(words, unseen) as process:
            try:
                said, _ = process.communicate()
            except BaseException:  # Ctrl-C, mostly; the terminal sends that to the process too, a program may not
                _stop(process)
                raise
        if process.returncode:
            raise DrivekeepError(
                f"`{typed}` ended with exit code {process.returncode}.",
                why="It has said above what is wrong." if process.returncode > 0 else "Somebody ended it.",
                remedy="Nothing of yours was touched. Put that right, and run the demo again.",
            )
        return Ran(said.splitlines(), self._clock.monotonic() - started)

    @contextlib.contextmanager
    def serving(self, *words: str, log: Path) -> Iterator[str]:
        """Show `drivekeep WORDS` and let it run inside the `with`; the first line that it says, when it is ready.

        What it says on stderr goes into `log`, and its last lines into the DrivekeepError where it does not become
        ready, or does not end with 0 when it is told to stop.
        """
        typed = self._type(words)
        with log.open("w") as errors, self._process(words, stderr=errors) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if line:
                    yield line.strip()
            finally:
                _stop(process)
        if not line or process.returncode:
            raise DrivekeepError(
                f"`{typed}` ended with exit code {process.returncode}.",
                why=f"It said last: {last_words(log)}",
                remedy="Put that right, and run the demo again.",
            )

    def _type(self, words: Sequence[str]) -> str:
        typed = shlex.join(["drivekeep", *words])
        self._show(f"$ {typed}")
        return typed

    def _process(self, words: Sequence[str], unseen: Sequence[str] = (), **streams: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "backup_core.cli.main", *words, *unseen],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            **streams,
        )


def last_words(log: Path) -> str:
    """The end of what a command has said there."""
    return log.read_bytes()[-_LAST_WORDS_BYTES:].decode(errors="replace").strip() or "nothing"


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
