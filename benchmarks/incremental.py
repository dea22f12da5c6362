"""A run that finds 10 changes among 100,000 items: the whole command as a process, and what it reads and writes."""

import dataclasses
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from backup_core.testing.m365 import Simulation
from benchmarks.drives import ShortCut, components, environment, run_here
from benchmarks.measure import median, run, shown

ITEMS = 100_000
FOLDERS = 5_000


def benchmark(runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="drivekeep-bench-") as scratch, Simulation(log_entries=0) as m365:
        repository = Path(scratch) / "repository"
        drive = m365.users[0].drive
        drive.fill(ITEMS - FOLDERS, folders=FOLDERS)
        parts = components(m365, repository)
        prepared = dataclasses.replace(parts, downloads=ShortCut(drive))  # type: ignore[arg-type]
        run_here(m365, prepared)
        command = [sys.executable, "-m", "backup_core.cli.main", "backup", "--json", "--account", m365.users[0].upn]
        settings = {**os.environ, **environment(m365, str(repository))}
        costs = []
        for number in range(runs):
            _change(drive, number)
            costs.append(run(command, settings))
        _change(drive, runs)
        parts = components(m365, repository)
        summary = run_here(m365, parts)
        read, written = parts.meter.bytes_read, parts.meter.bytes_written - summary.bytes_downloaded
        print(f"  wall s/processor s/peak MiB: {shown(costs)}")
        print(f"  medians: processor {median(costs, 'processor'):.2f} s, peak {median(costs, 'resident'):.0f} MiB")
        print(f"  read {read / (1 << 20):.2f} MiB, written {written / (1 << 20):.2f} MiB besides the content,")
        print(f"  {parts.meter.requests} requests to the store, {summary.graph_requests} to Graph")


def _change(drive: Any, number: int) -> None:
    """Ten changes, spread over the drive."""
    files = drive.files()
    step = len(files) // 6
    for path, _ in files[number % step :: step][:6]:
        drive.put_file(path, b"content %d of %s" % (number, path.encode()))
    for path, _ in files[number % step + 1 :: step][:2]:
        drive.rename(path, f"renamed-{number}-{path.rpartition('/')[2]}"[:100])
    drive.delete(files[number % step + 2][0])
    drive.put_file(f"/added {number}/note.txt", b"a new file in a new folder")
