"""A first backup with 8 threads into Azurite: the command's peak memory, with large files and small ones at once."""

import os
import sys

from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation
from benchmarks.drives import environment
from benchmarks.measure import run

LARGE, LARGE_BYTES = 12, 96 << 20
SMALL, SMALL_BYTES = 1_000, 20_000


def benchmark() -> None:
    with Simulation(log_entries=0) as m365, Azurite() as azurite:
        drive = m365.users[0].drive
        for number in range(LARGE):
            drive.put_synthetic(f"/large/{number}.bin", LARGE_BYTES, seed=number)
        for number in range(SMALL):
            drive.put_synthetic(f"/small/{number % 50}/{number}.bin", SMALL_BYTES, seed=LARGE + number)
        settings = {
            **os.environ,
            **environment(m365, "azure:bench:/first"),
            "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
            "DRIVEKEEP_MAX_CONCURRENT_THREADS": "8",
        }
        command = [sys.executable, "-m", "backup_core.cli.main", "backup", "--json", "--account", m365.users[0].upn]
        cost = run(command, settings)
        total = (LARGE * LARGE_BYTES + SMALL * SMALL_BYTES) >> 20
        print(
            f"  {total} MiB in {LARGE + SMALL} files: {cost.wall:.0f} s wall, {cost.processor:.0f} s of processor,"
            f" peak {cost.resident:.0f} MiB"
        )
