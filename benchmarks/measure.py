"""A command as a whole process: wall seconds, processor seconds, peak memory."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Cost(NamedTuple):
    wall: float  # seconds
    processor: float  # seconds, of all threads
    resident: float  # MiB at the peak


def run(command: Sequence[str], environment: dict[str, str]) -> Cost:
    """Run to the end; its output goes to stderr where it fails, and the benchmark ends."""
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - started
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{said.decode(errors='replace')}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def in_turn(pairs: int, ours: Callable[[], Cost], theirs: Callable[[], Cost]) -> list[tuple[Cost, Cost]]:
    """A B A B ...: what the machine does meanwhile befalls both."""
    return [(ours(), theirs()) for _ in range(pairs)]


def ratios(pairs: list[tuple[Cost, Cost]]) -> tuple[float, float]:
    """Ours to theirs, of medians: wall, processor."""

    def median(side: int, field: str) -> float:
        return statistics.median(getattr(pair[side], field) for pair in pairs)

    return median(0, "wall") / median(1, "wall"), median(0, "processor") / median(1, "processor")
