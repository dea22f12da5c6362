"""Draws docs/demo.svg, the README's picture, from a real run of `drivekeep demo` on a terminal that this makes.

    .venv/bin/python tools/picture.py

Of each progress bar, which is drawn over itself, one state is kept. Of the second part only title and figures are
left, and the end is cut: the picture stands at the top of a page. Nothing else is changed.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

_COLUMNS = 100
_PROJECT = Path(__file__).parents[1]
_PICTURE = _PROJECT / "docs" / "demo.svg"
# The cursor is hidden while a bar is drawn, and its line is cleared at the end.
_BAR = re.compile("\x1b\\[\\?25l(.*?)\x1b\\[\\?25h\r\x1b\\[1A\x1b\\[2K", re.DOTALL)
_NEXT_FRAME = "\r\x1b[2K"
_SHOWN_STAGE = "Saving files"  # the one whose end is known; the others come and go in a moment
_SECOND_PART = "2. Every drive"
_FIGURES = "Graph  store  seconds"
_LAST_LINE = "Everything came back"
# A picture that asks another host for its letters is not drawn by every reader, and tells that host who reads.
_FOREIGN_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main() -> int:
    said, code = _run()
    if code:
        print(said)
        return code
    shown = _BAR.sub(_one_frame, said).replace("\r\n", "\n")
    lines = shown.splitlines()
    second, figures, end = (_place_of(words, lines) for words in (_SECOND_PART, _FIGURES, _LAST_LINE))
    console = Console(record=True, width=_COLUMNS, file=Path(os.devnull).open("w"))  # noqa: SIM115 - as long as we run
    console.print(Text("$ drivekeep demo", style="bold"))
    for line in [*lines[: second + 1], "...", "", *lines[figures : end + 1]]:
        console.print(Text.from_ansi(line), soft_wrap=True)
    drawn = console.export_svg(title="drivekeep demo", theme=MONOKAI, unique_id="demo")
    _PICTURE.parent.mkdir(exist_ok=True)
    _PICTURE.write_text(_FOREIGN_FONT.sub("", drawn))
    return 0


def _place_of(words: str, lines: list[str]) -> int:
    """Of the first line that has these words, colours aside."""
    return next(number for number, line in enumerate(lines) if words in Text.from_ansi(line).plain)


def _run() -> tuple[str, int]:
    """Everything that the demo wrote to its terminal, and its exit code."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 60, _COLUMNS, 0, 0))
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color"}  # noqa: TID251 - a tool, no part of the product
    with subprocess.Popen(
        [sys.executable, "-m", "backup_core.cli.main", "demo"],
        cwd=_PROJECT,
        env=environment,
        stdin=its,
        stdout=its,
        stderr=its,
    ) as process:
        os.close(its)
        pieces = []
        try:
            while piece := os.read(ours, 1 << 16):
                pieces.append(piece)
        except OSError:  # how Linux says that nobody writes there any more
            pass
    os.close(ours)
    return b"".join(pieces).decode(), process.returncode


def _one_frame(bar: re.Match[str]) -> str:
    frames = [frame for frame in bar[1].split(_NEXT_FRAME) if _SHOWN_STAGE in frame]
    return frames[len(frames) * 5 // 6].rstrip() + "\n" if frames else ""


if __name__ == "__main__":
    sys.exit(main())
