"""`drivekeep unlock`: removes the locks of runs that are dead."""

import argparse

from backup_core.cli.options import settings_from
from backup_core.cli.password import password_for

HELP = "remove locks that dead runs have left"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--remove-all", action="store_true", help="also locks that may be in use")


def run(arguments: argparse.Namespace) -> int:
    from backup_core import wiring
    from backup_core.repository.lock import remove_stale

    settings = settings_from(arguments)
    place = wiring.place_for(settings, arguments.clock)
    repository = wiring.open_repository(place, password_for(arguments, settings))
    removed = remove_stale(repository, arguments.clock, all=arguments.remove_all)
    if arguments.json:
        arguments.output.document({"removed": removed})
        return 0
    for lock_id in removed:
        arguments.output.data(f"lock {lock_id[:8]} removed")
    if not removed:
        arguments.output.message("No lock was left by a dead run.")
    return 0
