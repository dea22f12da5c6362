"""What a command says: data on stdout, all else on stderr; in words for a person, or in JSON for a program."""

import json
import re
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from backup_core.errors import DrivekeepError

_RED, _YELLOW, _PLAIN = "\x1b[1;31m", "\x1b[33m", "\x1b[0m"
# Control characters, line ends, marks that turn the writing direction, halves of surrogate pairs: a file's name may
# hold any of them and must not move the cursor, forge a line or read other than it is.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """One line that is safe on a terminal; what is not is shown as Python writes it (`\\x1b`)."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Output:
    """Safe to use from several threads. `quiet` silences messages; warnings and errors are always shown."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, verbosity: int = 0, colour: bool = True) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbosity = verbosity
        self._colour = colour
        self._lock = threading.Lock()

    def data(self, text: str) -> None:
        """A line for stdout; it is made safe for a terminal."""
        self._write(sys.stdout, printable(text))

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Columns as wide as their widest cell, never cut: whoever pipes them gets every character."""
        lines = [list(headings), *([printable(cell) for cell in row] for row in rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
        for line in lines:
            self._write(
                sys.stdout, "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            )

    def document(self, content: Any) -> None:
        """JSON in one line of ASCII on stdout, so that no locale and no name can break it."""
        self._write(sys.stdout, json.dumps(content), flush=True)

    def message(self, text: str) -> None:
        if not self.quiet:
            self._write_beside(printable(text))

    def detail(self, text: str) -> None:
        """A message that only -v shows."""
        if self.verbosity:
            self.message(text)

    def warning(self, text: str) -> None:
        self._write_beside(self._painted(_YELLOW, printable(text)))

    def error(self, error: DrivekeepError) -> None:
        """Three short lines on stderr: what happened, why, what to do; with --json also the last line of stdout."""
        first = self._painted(_RED, f"drivekeep: {printable(error.what)}")
        lines = [first, *(f"  {printable(text)}" for text in (error.why, error.remedy) if text)]
        self._write_beside("\n".join(lines))
        if self.as_json:
            self.document(
                {
                    "message_type": "error",
                    "code": error.exit_code,
                    "reason": error.reason,
                    "message": " ".join(text for text in (error.what, error.why) if text),
                    "remedy": error.remedy,
                }
            )

    def flush(self) -> None:
        """Have the system take what was printed. OSError where it cannot (a full disk, a reader that went away)."""
        sys.stdout.flush()

    @property
    def colourful(self) -> bool:
        """Whether stderr is a terminal on which colours are wanted."""
        from backup_core.settings import wants_no_colour

        return self._colour and sys.stderr.isatty() and not wants_no_colour()

    def _painted(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self.colourful else text

    def _write_beside(self, text: str) -> None:
        try:
            self._write(sys.stderr, text, flush=True)
        except OSError:
            pass  # nobody listens any more; a backup does not end for that

    def _write(self, stream: TextIO, text: str, *, flush: bool = False) -> None:
        with self._lock:
            try:
                stream.write(text + "\n")
            except UnicodeEncodeError:
                encoding = stream.encoding or "ascii"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            if flush:
                stream.flush()


def size_text(count: float) -> str:
    """Bytes for a person: `12.3 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration_text(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
