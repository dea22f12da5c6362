"""A local folder under several processes: writers that are killed, and writers that race."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backup_core.errors import NotFound
from backup_core.storage.local_folder import LocalFolderStore

PROJECT = Path(__file__).parents[2]


def files_left_in(folder: Path) -> list[Path]:
    """Every file there is, temporary ones too."""
    return [path for path in folder.rglob("*") if path.is_file()]


WRITE_AND_WAIT = """
import os, sys, time
from pathlib import Path
from backup_core.storage.local_folder import LocalFolderStore

flush = os.fsync

def wait(*arguments, **options):
    if sys.argv[2] == "fsync" and "-tmp-" not in os.readlink(f"/proc/self/fd/{arguments[0]}"):
        return flush(*arguments)
    print("now", flush=True)
    time.sleep(60)

setattr(os, sys.argv[2], wait)
LocalFolderStore(Path(sys.argv[1])).put_new("data/ab/abcd", bytes(8 << 20))
"""


@pytest.mark.parametrize("moment", ["link", "fsync"])
def test_a_killed_writer_leaves_nothing_that_a_reader_sees(tmp_path: Path, moment: str) -> None:
    """After kill -9 at the flush of the content or right before its name, the store is empty and the name is free."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    arguments = [sys.executable, "-c", WRITE_AND_WAIT, str(tmp_path), moment]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"now\n"
        writer.send_signal(signal.SIGKILL)
    store = LocalFolderStore(tmp_path)
    assert list(store.list()) == []
    with pytest.raises(NotFound):
        store.get("data/ab/abcd")
    assert len(files_left_in(tmp_path)) == 1
    store.put_new("data/ab/abcd", b"whole")
    assert [(found.name, found.size) for found in store.list()] == [("data/ab/abcd", 5)]


WRITE_MANY = """
import os, sys
from pathlib import Path
from backup_core.errors import AlreadyExists
from backup_core.storage.local_folder import LocalFolderStore

def no_link(*arguments, **options):
    raise PermissionError(1, "Operation not permitted")

if sys.argv[3] == "without links":
    os.link = no_link
store = LocalFolderStore(Path(sys.argv[1]))
sys.stdin.read(1)
for number in range(60):
    try:
        store.put_new(f"state/heads/{number:03d}", sys.argv[2].encode() * 1000)
        print(number)
    except AlreadyExists:
        pass
"""


@pytest.mark.parametrize("kind", ["with links", "without links"])
def test_of_four_writing_processes_one_wins_each_name(tmp_path: Path, kind: str) -> None:
    """Processes that race for 60 names share them out: each name has one winner, and its content, whole."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE_MANY, str(tmp_path), letter, kind],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for letter in "abcd"
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b".")
        writer.stdin.flush()
    won = {letter: writer.communicate()[0].split() for letter, writer in zip("abcd", writers, strict=True)}
    assert [writer.returncode for writer in writers] == [0] * 4
    assert sorted(int(number) for numbers in won.values() for number in numbers) == list(range(60))
    store = LocalFolderStore(tmp_path)
    for letter, numbers in won.items():
        for number in numbers:
            assert store.get(f"state/heads/{int(number):03d}") == letter.encode() * 1000
    assert len(files_left_in(tmp_path)) == 60
