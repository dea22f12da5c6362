"""A restore that is killed half way is finished by the next one."""

import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from support.snapshots import File, Snapshots, found_in

from backup_core.restore.plan import RestoreRequest, plan_restore
from backup_core.restore.run import restore
from backup_core.storage.local_folder import LocalFolderStore


def noise(count: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(count)


_KILLED = """
    import os, sys, threading
    from pathlib import Path
    from backup_core.repository.blobs import LoadedIndex
    from backup_core.repository.repository import Repository
    from backup_core.repository.snapshot import load_snapshots
    from backup_core.restore.plan import RestoreRequest, plan_restore
    from backup_core.restore.run import restore
    from backup_core.storage.local_folder import LocalFolderStore

    left, lock, real = [int(sys.argv[2])], threading.Lock(), os.pwrite
    def deadly(file, data, offset):
        with lock:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), 9)
        return real(file, data, offset)
    os.pwrite = deadly
    folder = Path(sys.argv[1])
    repository = Repository.open(LocalFolderStore(folder / "repository"), "pw")
    index, (snapshot,) = LoadedIndex.load(repository), load_snapshots(repository)
    restore(plan_restore(repository, index, snapshot, RestoreRequest(folder / "out")), repository, index, sync=False)
"""


def test_killed_half_way_and_run_again(tmp_path: Path) -> None:
    """X-07: SIGKILL at any write; the next run finishes, leaves nothing unfinished, and no file twice."""
    snapshots = Snapshots(LocalFolderStore(tmp_path / "repository", sync=False))
    tree = {f"d{d}": {f"f{f}": File(noise(40_000, f), chunk_bytes=9000) for f in range(10)} for d in range(3)}
    snapshot = snapshots.add(tree)
    for at in (20, 50, 40):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(_KILLED), str(tmp_path), str(at)], timeout=60, check=False
        )
        assert done.returncode == -signal.SIGKILL
    killed = set(found_in(tmp_path / "out"))
    assert any(".drivekeep-" in path for path in killed)
    index = snapshots.index()
    plan = plan_restore(snapshots.repository, index, snapshot, RestoreRequest(tmp_path / "out"))
    summary = restore(plan, snapshots.repository, index, sync=False)
    assert summary.files_failed == [] and summary.files_skipped > 0
    assert summary.files_restored + summary.files_skipped == 30
    found = found_in(tmp_path / "out")
    assert {path: data for path, (data, _) in found.items() if data} == {
        f"d{d}/f{f}": noise(40_000, f) for d in range(3) for f in range(10)
    }
    assert len(found) == 33
