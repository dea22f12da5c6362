"""What the tests of restoring share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.snapshots import Snapshots, restic

from backup_core.repository.snapshot import Snapshot
from backup_core.restore.plan import RestoreRequest, plan_restore
from backup_core.restore.run import restore
from backup_core.restore.summary import RestoreSummary

__all__ = ["restic"]

Restore = Callable[..., RestoreSummary]


@pytest.fixture
def snapshots() -> Snapshots:
    return Snapshots()


@pytest.fixture
def bring_back(snapshots: Snapshots, tmp_path: Path) -> Restore:
    """`bring_back(snapshot, **request)` restores into the folder `out`, which is not there at first."""

    def run(snapshot: Snapshot, *, threads: int = 4, **request: Any) -> RestoreSummary:
        index = snapshots.index()
        wanted = RestoreRequest(**{"target": tmp_path / "out", **request})
        plan = plan_restore(snapshots.repository, index, snapshot, wanted)
        return restore(plan, snapshots.repository, index, threads=threads, sync=False)

    return run
