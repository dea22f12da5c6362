"""`drivekeep init`: makes an empty repository. (The first `backup` does so by itself.)"""

import argparse

from backup_core.cli.options import settings_from
from backup_core.cli.password import password_for

HELP = "make an empty repository"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(arguments: argparse.Namespace) -> int:
    from backup_core import wiring

    settings = settings_from(arguments)
    place = wiring.place_for(settings, arguments.clock)
    repository = wiring.make_repository(place, arguments.clock, password_for(arguments, settings, new=True))
    if arguments.json:
        arguments.output.document(
            {"message_type": "initialized", "id": repository.id, "repository": str(place.location)}
        )
    else:
        arguments.output.data(f"Repository {repository.id[:8]} is made at {place.location}.")
        arguments.output.message("Keep its password safe: without it, nobody can read what will be stored there.")
    return 0
