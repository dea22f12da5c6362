"""A file in work, seen by itself: whoever comes late to one that was given up changes nothing."""

from pathlib import Path

from backup_core.repository.node import Node
from backup_core.restore.part_file import PartFile
from backup_core.restore.plan import FileStep
from backup_core.restore.target import Target


def test_a_discarded_file_is_not_made_again(tmp_path: Path) -> None:
    """A thread that had just written the last piece when the restore was stopped leaves no unfinished file behind."""
    step = FileStep("a.txt", "a.txt", Node(quoted="a.txt", type="file", size=1), "write")
    part = PartFile(Target(tmp_path), (), step, pieces=1)
    assert part.write(0, b"x") is True
    part.discard()
    assert part.finish() is False
    assert list(tmp_path.iterdir()) == []


def test_a_whole_file_gets_its_name(tmp_path: Path) -> None:
    """So it is the discarding that makes the difference."""
    step = FileStep("a.txt", "a.txt", Node(quoted="a.txt", type="file", size=1), "write")
    part = PartFile(Target(tmp_path), (), step, pieces=1)
    assert part.write(0, b"x") is True
    assert part.finish() is True
    part.discard()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.txt", b"x")]
