"""The verb `demo`: sets the stage, plays both parts, and tells whether everything agreed. It leaves nothing behind."""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from backup_core.errors import Usage

if TYPE_CHECKING:
    from backup_core.cli.demo.one_drive import OneDrive
    from backup_core.cli.demo.organisation import WholeOrganisation
    from backup_core.cli.demo.story import Story
    from backup_core.cli.output import Output

HELP = "show the whole thing with a simulated Microsoft 365 on this machine"

_USERS = 20
_NAMED_MAX = 20  # differences that are named to a person; --json has all of them

_NEXT = """\
Next, with a real account (the README has the steps to register an app):

  export DRIVEKEEP_TENANT=... DRIVEKEEP_CLIENT_ID=... DRIVEKEEP_CLIENT_SECRET=...
  export DRIVEKEEP_REPOSITORY=/backup/alex DRIVEKEEP_PASSWORD=...
  drivekeep backup --account alex@your-organisation.com
  drivekeep restore latest --target /tmp/alex

or as a person whose refresh token is in a file, {"refresh_token": "..."}:

  export DRIVEKEEP_CLIENT_ID=... ONEDRIVE_TOKEN_FILE=onedrive_token.json
  drivekeep backup

or for every drive of an organisation (docs/service.md has the rest):

  export DRIVEKEEP_CLIENT_ID=... DRIVEKEEP_CLIENT_SECRET=...
  export DRIVEKEEP_STORAGE=... DRIVEKEEP_MASTER_KEY="$(openssl rand -base64 32)"
  drivekeep serve    # then open /onboard as an administrator"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--drive", metavar="FOLDER", help="show this folder as the drive; nothing in it is changed")
    parser.add_argument(
        "--users", metavar="N", type=int, default=_USERS, help=f"how many the organisation has (default: {_USERS})"
    )
    parser.add_argument("--keep", action="store_true", help="leave what was stored and restored, and say where")


def run(arguments: argparse.Namespace) -> int:
    """0 only if everything came back as it was, and the app said nothing that is not so."""
    from backup_core.cli.demo import one_drive, organisation
    from backup_core.cli.demo.stage import Stage
    from backup_core.cli.demo.story import Story
    from backup_core.testing.azurite import Azurite
    from backup_core.testing.m365 import Simulation

    output, folder = arguments.output, _checked(arguments)
    story = Story(output, colour=not arguments.no_color)
    with _scratch_folder(arguments.keep) as scratch:
        story.say("A simulated Microsoft 365 and Azurite start on this machine; nothing leaves it.")
        story.say("Commands are run as they are shown; some get --json besides, for the figures of the table.")
        with Azurite(folder=scratch / "azurite", clock=arguments.clock) as azurite, Simulation() as m365:
            stage = Stage(story, m365, azurite.connection_string, scratch, arguments.clock)
            story.title("1. One drive")
            drive = one_drive.OneDrive(stage)
            drive.fill(folder)
            drive.play()
            story.title("2. Every drive of an organisation")
            whole = organisation.WholeOrganisation(stage, arguments.users)
            whole.play()
        if arguments.keep:
            story.say(f"What was stored and restored is kept in {scratch}")
    differences = [*drive.differences, *whole.differences]
    _tell(output, story, drive, whole)
    _conclude(story, differences, own_files=folder is not None)
    return 1 if differences else 0


def _checked(arguments: argparse.Namespace) -> Path | None:
    """The folder to show as the drive. Usage for one that cannot be, and for too few users."""
    from backup_core.testing.demo_organisation import USERS_MIN

    if arguments.users < USERS_MIN:
        raise Usage(
            f"The organisation of the demo has at least {USERS_MIN} users.",
            why="It has one of each kind: disabled, without a licence, without a drive, a guest.",
            remedy=f"Give --users {USERS_MIN} or more.",
        )
    given = arguments.drive
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


def _tell(output: "Output", story: "Story", drive: "OneDrive", whole: "WholeOrganisation") -> None:
    """The figures of both parts, as a table or in one document."""
    if not output.as_json:
        story.figures([*drive.figures, *whole.figures])
        return
    differences = [*drive.differences, *whole.differences]
    output.document(
        {
            "message_type": "summary",
            "complete": not differences,
            "runs": [row._asdict() for row in drive.figures],
            "service": {
                "outcome": whole.outcome,
                "accounts": whole.states,
                "results": whole.results,
                "runs": [row._asdict() for row in whole.figures],
            },
            "differences": differences,
        }
    )


def _conclude(story: "Story", differences: Sequence[str], *, own_files: bool) -> None:
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
