"""`drivekeep version`."""

import argparse

from backup_core import __version__

HELP = "print the version"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(arguments: argparse.Namespace) -> int:
    if arguments.json:
        arguments.output.document({"version": __version__})
    else:
        arguments.output.data(f"drivekeep {__version__}")
    return 0
