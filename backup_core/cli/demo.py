"""`drivekeep demo`: a drive backed up, changed, backed up again and brought back twice, all of it on this machine.

It types real commands and compares what they restore with what the simulated drive was. It leaves nothing behind.
"""

import argparse
import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from backup_core.cli.output import Output, printable, size_text
from backup_core.errors import Usage

if TYPE_CHECKING:
    from backup_core.clock import Clock
    from backup_core.testing.azurite import Azurite
    from backup_core.testing.m365 import Simulation
    from backup_core.testing.m365.drive import Entry

HELP = "show the whole thing with a simulated Microsoft 365 on this machine"

_LOCATION = "azure:demo:/alex"
_NAMED_MAX = 20  # differences that are named to a person; --json has all of them

_CAPTION = "dedup: bytes / stored, compression included; Graph and store: requests; seconds: from start to end"
_NEXT = """\
Next, with a real account (the README has the steps to register an app):

  export DRIVEKEEP_TENANT=... DRIVEKEEP_CLIENT_ID=... DRIVEKEEP_CLIENT_SECRET=...
  export DRIVEKEEP_REPOSITORY=/backup/alex DRIVEKEEP_PASSWORD=...
  drivekeep backup --account alex@your-organisation.com
  drivekeep restore latest --target /tmp/alex

or as a person whose refresh token is in a file, {"refresh_token": "..."}:

  export DRIVEKEEP_CLIENT_ID=... ONEDRIVE_TOKEN_FILE=onedrive_token.json
  drivekeep backup"""


class Row(NamedTuple):
    """One command of the demo. `bytes` is what the drive holds, or what was restored; None: the command does not say.

    Requests to Graph are counted by the simulated Microsoft 365, those to the store by the backup.
    """

    run: str
    files: int
    bytes: int
    bytes_stored: int | None
    graph_requests: int
    store_requests: int | None
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--drive", metavar="FOLDER", help="show this folder as the drive; nothing in it is changed")
    parser.add_argument("--keep", action="store_true", help="leave what was stored and restored, and say where")


def run(arguments: argparse.Namespace) -> int:
    """0 only if everything came back as it was."""
    from backup_core.testing.azurite import Azurite
    from backup_core.testing.m365 import Simulation

    output, folder = arguments.output, _checked(arguments.drive)
    story = _Story(output, colour=not arguments.no_color)
    with _scratch_folder(arguments.keep) as scratch:
        story.say("A simulated Microsoft 365 and Azurite start on this machine; nothing leaves it.")
        story.say("The commands are run as they are shown; backup also gets --json, for the figures of the table.")
        with Azurite(folder=scratch / "azurite", clock=arguments.clock) as azurite, Simulation() as m365:
            demo = _Demo(story, m365, _settings(azurite, m365), scratch, arguments.clock)
            demo.fill(folder)
            demo.play()
        if arguments.keep:
            story.say(f"What was stored and restored is kept in {scratch}")
    if output.as_json:
        output.document(
            {
                "message_type": "summary",
                "complete": not demo.differences,
                "runs": [row._asdict() for row in demo.rows],
                "differences": demo.differences,
            }
        )
    else:
        story.table(demo.rows)
    _conclude(story, demo.differences, own_files=folder is not None)
    return 1 if demo.differences else 0


class _Story:
    """What a person reads: on stdout, or on stderr where stdout has JSON. With -q only the table is left."""

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
            encoding = self._console.encoding
            shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
            self._console.print(shown, style=style)

    def command(self, typed: str) -> None:
        self.say()
        self.say(typed, style="bold cyan")

    def table(self, rows: "list[Row]") -> None:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("run", no_wrap=True)
        for heading in ("files", "bytes", "stored", "dedup", "Graph", "store", "seconds"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*_cells(row))
        self._console.print()
        self._console.print(table, soft_wrap=False)
        self._console.print(_CAPTION, style="dim")


class _Demo:
    """`rows`: what the commands took; `differences`: what did not come back as it was."""

    def __init__(
        self, story: _Story, m365: "Simulation", settings: Mapping[str, str], scratch: Path, clock: "Clock"
    ) -> None:
        from backup_core.cli.shell import Shell

        self.rows: list[Row] = []
        self.differences: list[str] = []
        self._story, self._m365, self._scratch = story, m365, scratch
        self._user = m365.users[0]
        self._flags = ("-q",) if story.is_quiet else ()
        self._shell = Shell(settings, scratch, clock, story.command)

    def fill(self, folder: Path | None) -> None:
        from backup_core.testing import demo_drive

        drive = self._user.drive
        if folder:
            drive.mount_folder(folder)
        else:
            demo_drive.fill(drive)
        held = f"{len(drive.files())} files, {size_text(drive.root.size)}"
        self._story.say(f"The OneDrive of {self._user.upn} holds {held}.")

    def play(self) -> None:
        from backup_core.testing import demo_drive

        drive = self._user.drive
        self._story.command(f"$ export DRIVEKEEP_REPOSITORY={_LOCATION}  # and a password, and the app's credentials")
        before = drive.snapshot()
        first = self._back_up("first backup")
        self._story.say()
        self._story.say("Now the drive changes:")
        for line in demo_drive.change(drive):
            self._story.say(f"  {line}")
        after = drive.snapshot()
        self._back_up("second backup")
        for line in self._shell.run("snapshots", unseen=self._flags).lines:
            self._story.say(line)
        self._restore("latest", "restored-latest", after)
        self._restore(first[:8], "restored-first", before)

    def _back_up(self, name: str) -> str:
        """The new snapshot's id."""
        asked = self._graph_requests()
        ran = self._shell.run("backup", "--account", self._user.upn, unseen=("--json", *self._flags))
        summary = json.loads(ran.lines[-1])
        self.rows.append(
            Row(
                name,
                summary["files_total"],
                summary["bytes_total"],
                summary["bytes_added"],
                self._graph_requests() - asked,
                summary["store_requests"],
                ran.seconds,
            )
        )
        for line in _backed_up(summary):
            self._story.say(line)
        return str(summary["snapshot_id"])

    def _restore(self, snapshot: str, target: str, expected: "Mapping[str, Entry]") -> None:
        from backup_core.testing.restored_folder import compare

        asked = self._graph_requests()
        ran = self._shell.run("restore", snapshot, "--target", target, unseen=self._flags)
        for line in ran.lines:
            self._story.say(line)
        found = compare(self._scratch / target, expected)
        requests = self._graph_requests() - asked
        self.rows.append(Row(f"restore {snapshot}", found.files, found.bytes, None, requests, None, ran.seconds))
        self.differences += [f"{target}/{difference}" for difference in found.differences]
        if found.differences:
            self._story.say(f"{len(found.differences)} differences from the drive at that moment", style="bold red")
        else:
            counts = f"{found.files} files and {found.folders} folders"
            self._story.say(f"Compared with the drive at that moment: {counts} are equal, bytes and times", "green")

    def _graph_requests(self) -> int:
        return len(self._m365.log.of("graph"))


def _checked(given: str | None) -> Path | None:
    """The folder to show as the drive. Usage for one that cannot be."""
    if given is None:
        return None
    folder = Path(given).resolve()
    if not folder.is_dir():
        raise Usage(f"{given} is not a folder.", remedy="Give --drive a folder that is there.")
    if Path(tempfile.gettempdir()).resolve().is_relative_to(folder):
        raise Usage(
            f"{given} holds the folder for temporary files, in which the demo works.",
            why="What it shows as a drive must not change while it runs.",
            remedy="Give --drive another folder, or let TMPDIR name a place outside of it.",
        )
    for above, folders, files in os.walk(folder):
        for path in (Path(above, name) for name in (*folders, *files)):
            if not path.is_symlink() and not os.access(path, os.R_OK):
                raise Usage(f"{path} cannot be read by you.", remedy="Give --drive a folder that is yours.")
    return folder


@contextlib.contextmanager
def _scratch_folder(keep: bool) -> Iterator[Path]:
    """Everything that the demo writes lies in it."""
    if keep:
        yield Path(tempfile.mkdtemp(prefix="drivekeep-demo-"))
        return
    with tempfile.TemporaryDirectory(prefix="drivekeep-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _settings(azurite: "Azurite", m365: "Simulation") -> dict[str, str]:
    return {
        **m365.environment(user=None),
        "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
        "DRIVEKEEP_REPOSITORY": _LOCATION,
        "DRIVEKEEP_PASSWORD": secrets.token_urlsafe(12),
    }


def _backed_up(summary: dict[str, Any]) -> Iterator[str]:
    files = ", ".join(f"{summary[f'files_{kind}']} {kind}" for kind in ("new", "changed", "unmodified", "deleted"))
    yield f"Snapshot {summary['snapshot_id'][:8]}: files {files}"
    yield f"{size_text(summary['bytes_downloaded'])} downloaded, {size_text(summary['bytes_added'])} stored"


def _cells(row: Row) -> tuple[str, ...]:
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


def _conclude(story: _Story, differences: list[str], *, own_files: bool) -> None:
    story.say()
    if not differences:
        story.say("Everything came back as it was: every byte, every time, every empty folder.", style="bold green")
        story.say()
        for line in _NEXT.splitlines():
            story.say(line)
        return
    for line in differences[:_NAMED_MAX]:
        story.say(f"DIFFERENT: {line}", style="red")
    if len(differences) > _NAMED_MAX:
        story.say(f"and {len(differences) - _NAMED_MAX} more (--json lists them all)", style="red")
    story.say(
        "If these files changed while the demo ran, that is why; else please report it."
        if own_files
        else "This must not happen: please report it to the project.",
        style="bold red",
    )
