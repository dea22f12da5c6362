"""`python -m benchmarks [save-path] [incremental] [first-backup]`: all of them without a name."""

import sys

from benchmarks import first_backup, incremental, save_path

ROUNDS = 5
RUNS = 3


def main(names: list[str]) -> None:
    wanted = names or ["save-path", "incremental", "first-backup"]
    if "save-path" in wanted:
        print(f"Save path, 1 GiB of large files, {ROUNDS} rounds against stock restic:", flush=True)
        save_path.benchmark(ROUNDS)
    if "incremental" in wanted:
        print(f"Incremental run, 10 changes among {incremental.ITEMS} items, {RUNS} runs:", flush=True)
        incremental.benchmark(RUNS)
    if "first-backup" in wanted:
        print("First backup with 8 threads into Azurite:", flush=True)
        first_backup.benchmark()


if __name__ == "__main__":
    main(sys.argv[1:])
