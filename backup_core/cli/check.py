"""`drivekeep check`: verifies what is stored."""

import argparse
import re
import secrets

from backup_core.cli.options import settings_from
from backup_core.cli.password import password_for

HELP = "verify that what is stored is whole"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--read-data", action="store_true", help="read and verify every byte")
    how_much.add_argument("--read-data-subset", type=_share, metavar="N%", help="read and verify a part, as in 5%%")


def _share(text: str) -> float:
    """The part of the whole: 0.05 from `5%`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    if match is None or not 0 < float(match[1]) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a share like 5%, above 0% and up to 100%")
    return float(match[1]) / 100


def run(arguments: argparse.Namespace) -> int:
    from backup_core import wiring
    from backup_core.cli.progress import shown_progress
    from backup_core.maintenance.check import check

    output, settings, clock = arguments.output, settings_from(arguments), arguments.clock
    place = wiring.place_for(settings, clock)
    repository = wiring.open_repository(place, password_for(arguments, settings))
    share = 1.0 if arguments.read_data else arguments.read_data_subset or 0.0
    with shown_progress(output, clock) as progress:
        report = check(repository, clock, secrets.token_hex(8), progress, read_share=share)
    if arguments.json:
        output.document(report.to_json())
    else:
        for line in report.lines():
            output.data(line)
    return report.exit_code
