"""`drivekeep restore SNAPSHOT --target DIR`: brings files back into a folder of this machine."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from backup_core.cli.options import settings_from
from backup_core.cli.output import Output, size_text
from backup_core.cli.password import password_for
from backup_core.errors import AccessDenied, DrivekeepError, Usage

if TYPE_CHECKING:
    from backup_core.repository.repository import Repository
    from backup_core.restore.plan import FileStep
    from backup_core.restore.summary import RestoreSummary

HELP = "restore a snapshot into a folder"

_CONFLICTS = ("skip", "rename", "overwrite", "fail")
_WORDS = {"write": "restore", "replace": "replace", "keep": "there"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshot", metavar="SNAPSHOT", help="latest, an id, or the beginning of one")
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="folder that the files go into")
    parser.add_argument("--path", default="", metavar="PATH", help="only this folder or file of the drive")
    parser.add_argument("--include", action="append", default=[], metavar="PATTERN", help="only what matches")
    parser.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="not what matches")
    parser.add_argument(
        "--conflict",
        choices=_CONFLICTS,
        default="skip",
        help="where a file is there already; skip: one of equal size and time counts as restored, another one is left"
        " as it is and listed as failed (the default)",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell what would be restored, and write nothing")
    parser.add_argument("--verify", action="store_true", help="read every restored file again and compare")


def run(arguments: argparse.Namespace) -> int:
    from backup_core import wiring
    from backup_core.cli.progress import shown_progress
    from backup_core.repository.readable_index import load_readable_index
    from backup_core.repository.snapshot import find_snapshot, load_snapshots
    from backup_core.restore.plan import RestoreRequest, plan_restore
    from backup_core.restore.run import restore

    if arguments.target.suffix.lower() == ".zip" and not arguments.target.is_dir():
        raise Usage("Restoring into a zip file is not supported by this version.", remedy="Name a folder instead.")
    output, settings = arguments.output, settings_from(arguments)
    place = wiring.place_for(settings, arguments.clock)
    repository = wiring.open_repository(place, password_for(arguments, settings))

    def warn(_id: str, error: DrivekeepError) -> None:
        output.warning(f"{error} What else there is can still be restored.")

    snapshot = find_snapshot(load_snapshots(repository, warn), arguments.snapshot)
    request = RestoreRequest(
        target=arguments.target,
        path=arguments.path,
        include=tuple(arguments.include),
        exclude=tuple(arguments.exclude),
        conflict=arguments.conflict,
        verify=arguments.verify,
    )
    if arguments.dry_run:
        plan = plan_restore(repository, load_readable_index(repository, warn), snapshot, request)
        summary = plan.summary(lambda step: _tell(output, step))
    else:
        threads = settings.number("DRIVEKEEP_MAX_CONCURRENT_THREADS")
        with _locked(repository, arguments), shown_progress(output, arguments.clock) as progress:
            progress.stage("Restoring")
            index = load_readable_index(repository, warn)
            plan = plan_restore(repository, index, snapshot, request)
            summary = restore(plan, repository, index, progress.advance, threads=threads)
    _show(output, summary, arguments.dry_run)
    return summary.exit_code


@contextlib.contextmanager
def _locked(repository: "Repository", arguments: argparse.Namespace) -> Iterator[None]:
    """Nobody prunes meanwhile. A repository that can only be read is restored from without a lock."""
    from backup_core.repository.lock import RepositoryLock

    with contextlib.ExitStack() as held:
        try:
            held.enter_context(RepositoryLock(repository, arguments.clock, os.urandom(8).hex()))
        except AccessDenied as error:
            arguments.output.detail(f"The repository is not locked: {error}")
        yield


def _tell(output: Output, step: "FileStep") -> None:
    if output.as_json:
        document = {"message_type": "plan", "action": step.action, "path": step.path, "size": step.node.size}
        output.document({**document, "name": step.name})
    elif step.failure is None:
        other = f" as {step.name}" if step.name != step.node.name else ""
        output.data(f"{_WORDS[step.action]:<8} {step.node.size:>13}  {step.path}{other}")


def _show(output: Output, summary: "RestoreSummary", dry_run: bool) -> None:
    if output.as_json:
        output.document(summary.to_json())
        return
    done = "would be restored" if dry_run else "restored"
    output.data(
        f"{summary.files_restored} files ({size_text(summary.bytes_restored)}) {done}, {summary.files_skipped} were"
        f" there already, {len(summary.files_failed)} failed"
    )
    for item in summary.files_failed:
        output.data(f"  FAILED: {item.path or '/'} ({item.reason}) {item.message}".rstrip())
