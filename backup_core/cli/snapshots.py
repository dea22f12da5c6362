"""`drivekeep snapshots`: what the repository holds, oldest first."""

import argparse
from typing import TYPE_CHECKING, Any

from backup_core.cli.options import settings_from
from backup_core.cli.password import password_for
from backup_core.errors import Usage

if TYPE_CHECKING:
    from backup_core.repository.snapshot import Snapshot
    from backup_core.repository.tree import Origin

HELP = "list the snapshots of a repository"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tag", "-tag", action="append", default=[], help="only those with this tag; with several, any of them"
    )
    parser.add_argument("--account", metavar="UPN", help="only those of this account")
    parser.add_argument("--latest", type=int, metavar="N", help="only the last N")


def run(arguments: argparse.Namespace) -> int:
    from backup_core import wiring
    from backup_core.browse.origins import read_origins
    from backup_core.repository.snapshot import load_snapshots

    if arguments.latest is not None and arguments.latest < 1:
        raise Usage("--latest must be 1 or more.", remedy="Leave it out to list all snapshots.")
    output, settings = arguments.output, settings_from(arguments)
    repository = wiring.open_repository(wiring.place_for(settings, arguments.clock), password_for(arguments, settings))
    damaged = []
    snapshots = load_snapshots(repository, lambda snapshot_id, error: damaged.append(error))
    origins = read_origins(repository, snapshots)
    chosen = [(snapshot, origins[snapshot.tree]) for snapshot in snapshots]
    chosen = [pair for pair in chosen if _wanted(arguments, *pair)]
    if arguments.latest:
        chosen = chosen[-arguments.latest :]
    if arguments.json:
        output.document([_described(snapshot, origin) for snapshot, origin in chosen])
    else:
        output.table(("ID", "TIME (UTC)", "ACCOUNT", "SOURCE", "STATE", "TAGS"), [_row(*pair) for pair in chosen])
    for error in damaged:
        output.error(error)
    return damaged[0].exit_code if damaged else 0


def _wanted(arguments: argparse.Namespace, snapshot: "Snapshot", origin: "Origin | None") -> bool:
    account = origin.account if origin else snapshot.username
    if arguments.account and arguments.account.lower() != account.lower():
        return False
    return not arguments.tag or not set(arguments.tag).isdisjoint(snapshot.tags)


def _described(snapshot: "Snapshot", origin: "Origin | None") -> dict[str, Any]:
    """`source` and `complete` are null for a snapshot that stock restic made."""
    return {
        "id": snapshot.id,
        "short_id": snapshot.id[:8],
        "time": snapshot.time,
        "hostname": snapshot.hostname,
        "username": snapshot.username,
        "paths": snapshot.paths,
        "tags": snapshot.tags,
        "tree": snapshot.tree,
        "parent": snapshot.parent or None,
        "source": origin and {"type": origin.source, "account": origin.account, "path": f"onedrive://{origin.root}"},
        "complete": origin and not origin.incomplete,
        "suspicious": bool(origin and origin.suspicious),
    }


def _row(snapshot: "Snapshot", origin: "Origin | None") -> tuple[str, ...]:
    from backup_core.repository import times

    time = f"{times.from_text(snapshot.time):%Y-%m-%d %H:%M:%S}"
    tags = ", ".join(snapshot.tags)
    if origin is None:
        return snapshot.id[:8], time, snapshot.username, "restic", "", tags
    state = "complete" if not origin.incomplete else f"incomplete ({origin.incomplete} failed)"
    if origin.suspicious:
        state += ", suspicious"
    return snapshot.id[:8], time, origin.account, origin.source, state, tags
