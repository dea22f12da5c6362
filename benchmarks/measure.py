"""A command as a whole process: wall seconds, processor seconds, peak memory."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_LAUNCH = Path(__file__).with_name("launch.py")


class Cost(NamedTuple):
    wall: float  # seconds
    processor: float  # seconds, of all threads
    resident: float  # MiB at the peak


def run(command: Sequence[str], environment: dict[str, str]) -> Cost:
    """Run to the end. Where the command fails, what it said is shown and the benchmark ends."""
    launcher = [sys.executable, "-S", str(_LAUNCH), *command]
    done = subprocess.run(launcher, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return Cost(*json.loads(done.stdout))


def in_turn(rounds: int, runs: Mapping[str, Callable[[], Cost]]) -> dict[str, list[Cost]]:
    """A B C A B C ...: what the machine does meanwhile befalls all of them."""
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, once in runs.items():
            costs[name].append(once())
    return costs


def median(costs: Sequence[Cost], field: str) -> float:
    return statistics.median(getattr(cost, field) for cost in costs)


def shown(costs: Sequence[Cost]) -> str:
    return ", ".join(f"{cost.wall:.2f}/{cost.processor:.2f}/{cost.resident:.0f}" for cost in costs)
