"""How far a long command is: a bar on a terminal, a line now and then elsewhere, JSON lines on stdout with --json."""

import math
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from backup_core.backup.progress import NoProgress, Progress
from backup_core.cli.output import Output, duration_text, printable, size_text
from backup_core.clock import Clock
from backup_core.settings import terminal_redraws

_LINE_SECONDS = 10  # a log of an eight-hour first backup stays readable
_STATUS_SECONDS = 1


@contextmanager
def shown_progress(output: Output, clock: Clock) -> Iterator[Progress]:
    """The kind of progress that suits where the output goes."""
    on_terminal = sys.stderr.isatty() and terminal_redraws()
    if output.quiet:
        yield NoProgress()
    elif output.as_json and on_terminal and not sys.stdout.isatty():
        with BarWithStatusLines(output, clock) as both:
            yield both
    elif output.as_json:
        with StatusLines(output, clock) as status:
            yield status
    elif on_terminal:
        with Bar(output, clock) as bar:
            yield bar
    else:
        with PlainLines(output, clock) as lines:
            yield lines


@dataclass
class Count:
    """Where a stage stands. A total of 0 is not known (yet)."""

    stage: str = ""
    files: int = 0
    bytes: int = 0
    files_total: int = 0
    bytes_total: int = 0
    started: float = 0.0

    def figures(self) -> str:
        """`25 of 40 files, 4.8 MiB of 7.6 MiB`; what is neither begun nor known to come is left out."""
        parts = []
        if self.files or self.files_total:
            parts.append(f"{self.files} of {self.files_total} files" if self.files_total else f"{self.files} files")
        if self.bytes_total:
            parts.append(f"{size_text(self.bytes)} of {size_text(self.bytes_total)}")
        elif self.bytes:
            parts.append(size_text(self.bytes))
        return ", ".join(parts)

    def text(self, now: float) -> str:
        """The figures with speed and time left."""
        elapsed = now - self.started
        parts = [self.figures()]
        if self.bytes and elapsed > 0:
            parts.append(f"{size_text(self.bytes / elapsed)}/s")
        if 0 < self.bytes < self.bytes_total:
            parts.append(f"{duration_text((self.bytes_total - self.bytes) * elapsed / self.bytes)} left")
        return f"{self.stage}: {', '.join(parts)}"


class _Periodic(ABC):
    """Keeps count, and reports at the first call after a period has passed; nothing is said after the `with` block.

    A run that was stopped does not wait for its threads, and its error is the last line.
    """

    period_seconds: float

    def __init__(self, output: Output, clock: Clock) -> None:
        self._output, self._clock = output, clock
        self._lock = threading.Lock()
        self._count = Count(started=clock.monotonic())
        self._due = clock.monotonic() + self.period_seconds
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended = True

    def stage(self, name: str, files: int = 0, bytes: int = 0) -> None:
        with self._lock:
            self._count = Count(name, files_total=files, bytes_total=bytes, started=self._clock.monotonic())
        self._output.detail(f"{name} ...")

    def total(self, files: int, bytes: int) -> None:
        with self._lock:
            self._count.files_total, self._count.bytes_total = files, bytes

    def advance(self, files: int = 0, bytes: int = 0) -> None:
        with self._lock:
            self._count.files += files
            self._count.bytes += bytes
            now = self._clock.monotonic()
            if now < self._due or self._ended:
                return
            self._due = now + self.period_seconds
            try:
                self._report(now)
            except OSError:  # nobody reads it any more; a backup does not end for that
                self._due = math.inf

    def waiting(self, seconds: float) -> None:
        self.message(_pause(seconds))

    def message(self, text: str) -> None:
        if not self._ended:
            self._output.message(text)

    @abstractmethod
    def _report(self, now: float) -> None:
        """Show where the stage stands."""


class PlainLines(_Periodic):
    """A line on stderr every ten seconds: for cron, a log, a pipe."""

    period_seconds = _LINE_SECONDS

    def _report(self, now: float) -> None:
        self._output.message(self._count.text(now))


class StatusLines(_Periodic):
    """A JSON line on stdout every second."""

    period_seconds = _STATUS_SECONDS

    def _report(self, now: float) -> None:
        count = self._count
        self._output.document(
            {
                "message_type": "status",
                "stage": count.stage,
                "files_done": count.files,
                "files_total": count.files_total or None,
                "bytes_done": count.bytes,
                "bytes_total": count.bytes_total or None,
                "seconds_elapsed": round(now - count.started, 1),
            }
        )


class Bar:
    """A bar that is drawn on stderr again and again, and gone at the end; messages stay above it."""

    def __init__(self, output: Output, clock: Clock) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._clock = clock
        self._lock = threading.Lock()
        self._console = Console(stderr=True, no_color=not output.colourful)
        self._count = Count(started=clock.monotonic())
        self._waiting_until = 0.0
        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            redirect_stdout=False,  # what a command prints there is data, for whoever reads it
            get_time=clock.monotonic,
        )
        self._task = self._bar.add_task("", total=None, figures="")

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stage(self, name: str, files: int = 0, bytes: int = 0) -> None:
        with self._lock:
            self._count = Count(name, files_total=files, bytes_total=bytes, started=self._clock.monotonic())
            self._bar.reset(self._task, description=printable(name), total=None, figures="")
            self._draw()

    def total(self, files: int, bytes: int) -> None:
        with self._lock:
            self._count.files_total, self._count.bytes_total = files, bytes
            self._draw()

    def advance(self, files: int = 0, bytes: int = 0) -> None:
        with self._lock:
            self._count.files += files
            self._count.bytes += bytes
            self._draw()

    def waiting(self, seconds: float) -> None:
        with self._lock:
            self._waiting_until = self._clock.monotonic() + seconds
            self._draw()
        self.message(_pause(seconds))

    def message(self, text: str) -> None:
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        count = self._count
        by_bytes = count.bytes_total > 0  # files of one byte and of a gigabyte do not make an even bar
        figures = count.figures()
        if self._waiting_until > self._clock.monotonic():
            figures += "  (waiting for Microsoft)"
        self._bar.update(
            self._task,
            completed=count.bytes if by_bytes else count.files,
            total=(count.bytes_total if by_bytes else count.files_total) or None,
            figures=figures,
        )


class BarWithStatusLines(Bar):
    """Where a program reads stdout while a person looks at the terminal: the bar for one, JSON lines for the other."""

    def __init__(self, output: Output, clock: Clock) -> None:
        super().__init__(output, clock)
        self._lines = StatusLines(output, clock)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._lines.__exit__()

    def stage(self, name: str, files: int = 0, bytes: int = 0) -> None:
        super().stage(name, files, bytes)
        self._lines.stage(name, files, bytes)

    def total(self, files: int, bytes: int) -> None:
        super().total(files, bytes)
        self._lines.total(files, bytes)

    def advance(self, files: int = 0, bytes: int = 0) -> None:
        super().advance(files, bytes)
        self._lines.advance(files, bytes)


def _pause(seconds: float) -> str:
    return f"Microsoft asked us to wait {max(1, round(seconds))} s"
