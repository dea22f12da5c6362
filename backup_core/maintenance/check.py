"""Verifying a repository: first that everything that is named exists, then, where asked, that every byte is right.

It changes nothing but for its own lock. A run that writes at the same time does no harm: snapshots are read first, then
the index, then the packs are listed, and a run writes them in the opposite order.
"""

import hashlib
from typing import Protocol

from backup_core.clock import Clock
from backup_core.errors import Damaged, NotFound
from backup_core.maintenance.packs import Sample, check_packs
from backup_core.maintenance.report import CheckReport, Finding
from backup_core.maintenance.state import state_notes
from backup_core.maintenance.trees import TreeCheck
from backup_core.repository import layout
from backup_core.repository.blobs import LoadedIndex
from backup_core.repository.lock import RepositoryLock
from backup_core.repository.readable_index import load_readable_index
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, load_snapshots

_COPY = "Bring it back from a copy of the repository."


class Progress(Protocol):
    """What a check tells while it works; may be called from several threads."""

    def stage(self, name: str, files: int = 0, bytes: int = 0) -> None: ...

    def advance(self, files: int = 0, bytes: int = 0) -> None: ...


def check(
    repository: Repository, clock: Clock, run_id: str, progress: Progress, *, read_share: float = 0.0
) -> CheckReport:
    """Look for damage; what is found is in the report, and is not raised. Locked; Temporary.

    `read_share`: how much of the packs is read whole, 1 for all; other ones with each new `run_id`.
    """
    with RepositoryLock(repository, clock, run_id) as lock:
        report = CheckReport()
        _check_keys(repository, report)
        snapshots = _load_snapshots(repository, report)
        progress.stage("Reading the index")
        index = _load_index(repository, report)
        progress.stage("Reading packs" if read_share else "Comparing packs with the index")
        sample = Sample(read_share, run_id)
        losses = check_packs(repository, index, report, sample, lambda size: progress.advance(0, size))
        progress.stage("Checking snapshots")
        trees = TreeCheck(repository, index, losses, report, progress.advance)
        for snapshot in reversed(snapshots):  # a finding names the newest snapshot that it hits
            trees.check(snapshot)
        report.notes += state_notes(repository, snapshots)
        lock.ensure()  # without it a prune might have deleted what is now reported as missing
        return report


def _check_keys(repository: Repository, report: CheckReport) -> None:
    """The name of a key file is the hash of its bytes: other passwords' files can be checked too."""
    for stored in repository.store.list(layout.KEYS):
        try:
            data = repository.store.get(stored.name)
        except NotFound:
            continue  # removed since the listing
        if hashlib.sha256(data).hexdigest() != layout.last_part(stored.name):
            what = f"{stored.name}: Its bytes do not fit its name; its password may no longer open the repository."
            remedy = "Add that password again with `restic key add` and remove this key, or bring it back from a copy."
            report.findings.append(Finding(what, remedy, name=stored.name))


def _load_snapshots(repository: Repository, report: CheckReport) -> list[Snapshot]:
    def on_damage(snapshot_id: str, error: Damaged) -> None:
        remedy = f"{_COPY} Without one, `restic forget` removes it; other snapshots are not affected."
        name = layout.snapshot_name(snapshot_id)
        report.findings.append(Finding(f"{error.what} {error.why}", remedy, name=name, snapshot=snapshot_id))

    snapshots = load_snapshots(repository, on_damage)
    report.snapshots = len(snapshots)
    return snapshots


def _load_index(repository: Repository, report: CheckReport) -> LoadedIndex:
    remedy = f"{_COPY} Without one, `restic rebuild-index` makes the index anew from the packs; nothing is lost."

    def on_damage(index_id: str, error: Damaged | NotFound) -> None:
        name = layout.index_name(index_id)
        report.findings.append(Finding(f"{error.what} {error.why}".strip(), remedy, name=name))

    return load_readable_index(repository, on_damage)
