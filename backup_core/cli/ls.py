"""`drivekeep ls SNAPSHOT [PATH]`: every item of a snapshot, or of a folder in it, at any depth."""

import argparse
from typing import TYPE_CHECKING, Any

from backup_core.cli.options import settings_from
from backup_core.cli.password import password_for

if TYPE_CHECKING:
    from backup_core.browse.listing import Listed

HELP = "list the files of a snapshot"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshot", metavar="SNAPSHOT", help="latest, an id, or the beginning of one")
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="only this folder or file of the drive")


def run(arguments: argparse.Namespace) -> int:
    from backup_core import wiring
    from backup_core.browse.listing import list_items
    from backup_core.repository.snapshot import find_snapshot, load_snapshots

    output, settings = arguments.output, settings_from(arguments)
    place = wiring.place_for(settings, arguments.clock)
    repository = wiring.open_repository(place, password_for(arguments, settings))
    snapshots = load_snapshots(repository, lambda _id, error: output.warning(str(error)))
    snapshot = find_snapshot(snapshots, arguments.snapshot)
    for item in list_items(repository, snapshot, arguments.path):
        if arguments.json:
            output.document(_described(item))
        else:
            time = item.mtime[:19].replace("T", " ")  # UTC
            output.data(f"{time:<19}  {item.size:>13}  {item.path}{'/' if item.type == 'dir' else ''}")
    return 0


def _described(item: "Listed") -> dict[str, Any]:
    return {"message_type": "node", **item._asdict()}
