"""`drivekeep config show`: every setting, its value and where that came from. Secrets are masked."""

import argparse

from backup_core.cli.options import settings_from

HELP = "show every setting and where its value comes from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["show"], help="show: print all settings, secrets masked")


def run(arguments: argparse.Namespace) -> int:
    settings = settings_from(arguments)
    output, rows = arguments.output, list(settings.rows())
    if arguments.json:
        output.document(
            {"config_file": str(settings.folder / "config.toml"), "settings": [row._asdict() for row in rows]}
        )
        return 0
    origins = [f"{row.origin} ({row.given_as})" if row.given_as else row.origin for row in rows]
    output.table(
        ("SETTING", "VALUE", "FROM"),
        ((row.name, row.value or "-", origin) for row, origin in zip(rows, origins, strict=True)),
    )
    for row in rows:
        if row.problem:
            output.warning(f"{row.name} cannot be used as it is. {row.problem}")
    return 0
