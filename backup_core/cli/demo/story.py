"""What a person reads of the demo: lines, commands as they are typed, and tables. It plays nothing."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from backup_core.cli.output import Output, printable, size_text

if TYPE_CHECKING:
    from rich.table import Table

_CAPTION = "dedup: bytes / stored, compression included; Graph and store: requests; seconds: from start to end"


class Figures(NamedTuple):
    """What one command or run took. `bytes` is what the drives hold, or what was restored; None: nobody says.

    Requests to Graph are counted by the simulated Microsoft 365, those to the store by the backup.
    """

    run: str
    files: int
    bytes: int
    bytes_stored: int | None
    graph_requests: int
    store_requests: int | None
    seconds: float


class Story:
    """On stdout, or on stderr where stdout has JSON. With -q only the figures at the end are left."""

    def __init__(self, output: Output, *, colour: bool) -> None:
        from rich.console import Console

        from backup_core.settings import wants_no_colour

        self._console = Console(
            stderr=output.as_json,
            no_color=not colour or wants_no_colour(),
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
        )
        self.is_quiet = output.quiet

    def say(self, text: str = "", style: str = "") -> None:
        if not self.is_quiet:
            self._console.print(self._shown(text), style=style)

    def title(self, text: str) -> None:
        self.say()
        self.say(text, style="bold")

    def command(self, typed: str) -> None:
        """What a person types, or a program sends."""
        self.say()
        self.say(typed, style="bold cyan")

    def listing(self, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table in the middle of the story; numbers stand at the right."""
        if self.is_quiet:
            return
        rows = list(rows)
        table = _table()
        for column, heading in enumerate(headings):
            is_number = all(isinstance(row[column], int | float) for row in rows)
            table.add_column(heading, justify="right" if is_number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*(self._shown(f"{cell:.1f}" if isinstance(cell, float) else str(cell)) for cell in row))
        self._console.print(table, soft_wrap=False)

    def figures(self, rows: Iterable[Figures]) -> None:
        table = _table()
        table.add_column("run", no_wrap=True)
        for heading in ("files", "bytes", "stored", "dedup", "Graph", "store", "seconds"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*_cells(row))
        self._console.print()
        self._console.print(table, soft_wrap=False)
        self._console.print(_CAPTION, style="dim")

    def _shown(self, text: str) -> str:
        encoding = self._console.encoding
        return printable(text).encode(encoding, "backslashreplace").decode(encoding)


def _table() -> "Table":
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def _cells(row: Figures) -> tuple[str, ...]:
    stored = row.bytes_stored
    return (
        row.run,
        str(row.files),
        size_text(row.bytes),
        "-" if stored is None else size_text(stored),
        f"{row.bytes / stored:.1f}" if stored else "-",
        str(row.graph_requests),
        "-" if row.store_requests is None else str(row.store_requests),
        f"{row.seconds:.1f}",
    )
