"""The save path against stock restic: the same 1 GiB, the same format, the same disk, both with fsync."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from backup_core.clock import SystemClock
from backup_core.repository.repository import Repository
from backup_core.storage.local_folder import LocalFolderStore
from benchmarks.measure import Cost, in_turn, median, run, shown

PASSWORD = "a password of the benchmark"
FILES, FILE_BYTES = 8, 128 << 20
WORDS = 4_096


def make_tree(folder: Path, files: int = FILES, file_bytes: int = FILE_BYTES) -> None:
    """Half of each file is text of made-up words, which shrinks to about half, half is noise, which does not."""
    for number in range(files):
        made = random.Random(number)
        words = [made.randbytes(made.randint(2, 9)).hex()[: made.randint(3, 12)].encode() for _ in range(WORDS)]
        with (folder / f"file{number}.bin").open("wb") as file:
            for _ in range(file_bytes >> 20):
                text = b" ".join(made.choices(words, k=100_000))[: 1 << 19]
                file.write(text + made.randbytes((1 << 20) - len(text)))


def benchmark(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="drivekeep-bench-") as scratch:
        base = Path(scratch)
        tree = base / "tree"
        tree.mkdir()
        make_tree(tree)
        # One repository for both, made by us: restic would spend half a second of every command on its own key.
        Repository.create(LocalFolderStore(base / "empty"), PASSWORD, SystemClock())
        environment = {
            **os.environ,
            "RESTIC_PASSWORD": PASSWORD,
            "DRIVEKEEP_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": str(base / "cache"),
        }

        def into_fresh(name: str, command: list[str]) -> Cost:
            shutil.rmtree(base / name, ignore_errors=True)
            shutil.copytree(base / "empty", base / name)
            return run([*command, str(base / name)], environment)

        ours = [sys.executable, "-m", "benchmarks.save_tree"]
        commands = {
            "ours": [*ours, str(tree)],
            "ours+": [*ours, "--checksum", str(tree)],
            "theirs": ["restic", "--quiet", "backup", str(tree), "--repo"],
        }
        costs = in_turn(rounds, {name: partial(into_fresh, name, command) for name, command in commands.items()})
        for name, each in costs.items():
            stored = sum(path.stat().st_size for path in (base / name).rglob("*") if path.is_file())
            print(f"  {name:6} wall s/processor s/peak MiB: {shown(each)}; stored {stored >> 20} MiB")
        for name, words in (("ours", "save path"), ("ours+", "with Microsoft's checksum of every byte besides")):
            wall, processor = (median(costs[name], one) / median(costs["theirs"], one) for one in ("wall", "processor"))
            print(f"  ratio of medians to restic, {words}: wall {wall:.2f}, processor {processor:.2f}")
        checked = subprocess.run(
            ["restic", "--quiet", "--repo", str(base / "ours"), "check", "--read-data"], env=environment, check=False
        )
        print(f"  restic check --read-data on ours: {'clean' if checked.returncode == 0 else 'FAILED'}")
