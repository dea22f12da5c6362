"""`drivekeep backup`: backs up one drive into its repository, which the first backup makes."""

import argparse
import math
from typing import TYPE_CHECKING

from backup_core.cli.options import settings_from
from backup_core.cli.output import Output, duration_text, size_text
from backup_core.cli.password import password_for
from backup_core.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backup_core.backup.job import BackupJob, Reported, Summary
    from backup_core.graph.client import GraphClient
    from backup_core.repository.repository import Repository
    from backup_core.settings import Settings
    from backup_core.wiring import Place

HELP = "back up one drive"

_LISTED_MAX = 50  # items of each kind that are named to a person; --json has all of them
_SLOW_SHARE = 0.2  # of a run's time: from here on the wait for Microsoft is what a person notices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", metavar="ID", help="tenant of an app-only backup")
    parser.add_argument("--account", metavar="UPN-OR-ID", help="whose drive, app-only; without it the signed-in user's")
    parser.add_argument("--drive", metavar="NAME-OR-ID", help="another drive of theirs than the first")
    parser.add_argument("--path", metavar="FOLDER", help="a folder of the drive, taken as its root")
    parser.add_argument(
        "--source",
        "-source",
        help="onedrive-changes reads only what has changed (the default, recommended); onedrive scans the whole drive",
    )
    parser.add_argument("--tag", "-tag", action="append", default=[], help="label of the snapshot; may be repeated")
    parser.add_argument("--dry-run", "-dry-run", action="store_true", help="tell what would be done, and write nothing")
    parser.add_argument("--limit-download", type=_rate, metavar="KIB/S", help="download no faster than this")
    for flag in ("exclude", "exclude-file"):
        parser.add_argument(f"--{flag}", f"-{flag}", action="append", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    from backup_core import wiring
    from backup_core.backup.run import chosen_folder
    from backup_core.backup.runner import back_up
    from backup_core.cli.progress import shown_progress

    settings, clock = settings_from(arguments), arguments.clock
    _refuse(arguments, settings)
    place = wiring.place_for(settings, clock, read_only=arguments.dry_run)
    there = wiring.is_there(place)
    if arguments.dry_run and not there:
        place = wiring.place_in_memory(place, clock)
    get_repository = _prepared(arguments, settings, place, there)
    with shown_progress(arguments.output, clock) as progress:
        graph = wiring.graph_for(
            settings,
            clock,
            app_only=bool(arguments.account),
            on_wait=progress.waiting,
            download_bytes_per_second=arguments.limit_download,
        )
        job = _job(arguments, settings, graph.client)
        if job.root_path and not there:
            chosen_folder(graph.client, job)  # a mistyped folder makes no repository
        summary = back_up(job, wiring.components_for(place, get_repository(), graph, clock), progress)
    _show(arguments.output, summary)
    return summary.exit_code


def _refuse(arguments: argparse.Namespace, settings: "Settings") -> None:
    """What cannot be done is said before anything is opened."""
    if arguments.exclude or arguments.exclude_file:
        raise Usage("-exclude and -exclude-file are not supported by this version.", remedy="Leave them out.")
    settings.text("DRIVEKEEP_SOURCE")
    if arguments.tenant and not arguments.account:
        raise Usage(
            "--tenant is given without --account.",
            why="An app-only backup must be told whose drive it is for.",
            remedy="Add --account with a user principal name or an id, or leave --tenant out.",
        )
    if arguments.account and not settings.text("DRIVEKEEP_TENANT"):
        raise Usage(
            "--account is given without a tenant.",
            why="An app-only backup must be told which tenant the account is in.",
            remedy="Add --tenant with the tenant's id, or set DRIVEKEEP_TENANT.",
        )


def _prepared(
    arguments: argparse.Namespace, settings: "Settings", place: "Place", there: bool
) -> "Callable[[], Repository]":
    """Gets the repository: one that is there is open now. Another is made when it is asked for, which is not before the
    drive has answered; its password is had now.
    """
    from backup_core import wiring

    if there:
        repository = wiring.open_repository(place, password_for(arguments, settings))
        return lambda: repository
    password = "dry run" if arguments.dry_run else password_for(arguments, settings, new=True)()
    return lambda: wiring.open_or_make_repository(place, arguments.clock, password)


def _job(arguments: argparse.Namespace, settings: "Settings", client: "GraphClient") -> "BackupJob":
    from backup_core.backup.job import BackupJob
    from backup_core.graph.drives import my_drive, user_drive

    if arguments.account:
        drive = user_drive(client, arguments.account, arguments.drive)
    else:
        drive = my_drive(client, arguments.drive)
    return BackupJob(
        drive=drive,
        root_path=(arguments.path or "").strip("/"),
        source="onedrive" if settings.text("DRIVEKEEP_SOURCE") == "onedrive" else "onedrive-changes",
        tags=tuple(arguments.tag),
        dry_run=arguments.dry_run,
        threads=settings.number("DRIVEKEEP_MAX_CONCURRENT_THREADS"),
    )


def _rate(text: str) -> float:
    """Bytes a second from KiB a second."""
    kib = float(text)
    if not 0 < kib < math.inf:
        raise ValueError
    return kib * 1024


def _show(output: Output, summary: "Summary") -> None:
    if output.as_json:
        output.document(summary.to_json())
        return
    output.data(_headline(summary))
    output.data(
        f"  files: {summary.files_new} new, {summary.files_changed} changed, {summary.files_unmodified} unmodified,"
        f" {summary.files_deleted} deleted; folders: {summary.folders_new} new"
    )
    output.data(f"  {_bytes_line(summary)}, in {duration_text(summary.duration_seconds)} ({summary.mode})")
    _show_items(output, "left out", summary.items_skipped)
    _show_items(output, "FAILED, will be tried again", summary.items_failed)
    if summary.suspicious:
        output.warning(
            "More than half of the files have other content or are gone since the last snapshot. If that was not you,"
            " find out why, and restore from an earlier snapshot."
        )
    if summary.throttled_seconds > _SLOW_SHARE * summary.duration_seconds:
        output.message(
            f"Microsoft asked us to wait for {duration_text(summary.throttled_seconds)} of that time: run it when"
            " little else is going on, and prefer -source onedrive-changes."
        )


def _headline(summary: "Summary") -> str:
    whose = f"of {summary.account}"
    if summary.snapshot_id is None:
        return f"Dry run {whose}: nothing was written. A backup would find:"
    state = "complete" if summary.complete else f"INCOMPLETE, {len(summary.items_failed)} items failed"
    return f"Snapshot {summary.snapshot_id[:8]} {whose}: {state}"


def _bytes_line(summary: "Summary") -> str:
    if summary.snapshot_id is None:
        return f"{size_text(summary.bytes_downloaded)} to download"
    return f"{size_text(summary.bytes_downloaded)} downloaded, {size_text(summary.bytes_added)} added to the repository"


def _show_items(output: Output, heading: str, items: "Sequence[Reported]") -> None:
    for item in items[:_LISTED_MAX]:
        output.data(f"  {heading}: {item.path or item.id} ({item.reason})")
    if len(items) > _LISTED_MAX:
        output.data(f"  {heading}: and {len(items) - _LISTED_MAX} more (--json lists them all)")
