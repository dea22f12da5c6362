"""Comparing a restored folder with a drive: what differs is found, whatever it is."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365.drive import Drive, Entry, Owner
from backup_core.testing.restored_folder import compare


def _drive() -> Drive:
    drive = Drive("seed", "personal", Owner("id", "alex@outlook.com", "Alex"), FakeClock())
    drive.put_file("Documents/a.txt", b"hello")
    drive.put_file("Documents/ä.bin", b"\0" * 3_000_000)
    drive.put_file("nothing", b"")
    drive.make_folder("Documents/empty")
    return drive


def _write(folder: Path, expected: dict[str, Entry], drive: Drive) -> None:
    """What a perfect restore would leave."""
    for path, entry in expected.items():
        place = folder / path
        if entry.kind == "folder":
            place.mkdir(parents=True, exist_ok=True)
        else:
            body = drive.item(path).body
            assert body is not None
            place.write_bytes(body.read(0, body.size))
    for path, entry in reversed(expected.items()):
        nanoseconds = round(entry.modified.timestamp() * 1000) * 1_000_000
        os.utime(folder / path, ns=(nanoseconds, nanoseconds))


def _retimed(path: Path) -> None:
    nanoseconds = path.stat().st_mtime_ns + 1
    os.utime(path, ns=(nanoseconds, nanoseconds))


def _same_length(path: Path) -> None:
    before = path.stat().st_mtime_ns
    path.write_bytes(b"\0" * 2_999_999 + b"\1")
    os.utime(path, ns=(before, before))


def test_a_perfect_restore_has_no_difference(tmp_path: Path) -> None:
    """Equal bytes, times and folders are counted, and nothing is complained about."""
    drive = _drive()
    _write(tmp_path, drive.snapshot(), drive)
    found = compare(tmp_path, drive.snapshot())
    assert found.differences == []
    assert (found.files, found.folders, found.bytes) == (3, 2, 3_000_005)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: _same_length(folder / "Documents/ä.bin"), "Documents/ä.bin: has other content"),
        (lambda folder: _retimed(folder / "nothing"), "nothing: its time is off"),
        (lambda folder: _retimed(folder / "Documents"), "Documents: its time is off"),
        (lambda folder: (folder / "Documents/empty").rmdir(), "Documents/empty: the folder is missing"),
        (lambda folder: (folder / "nothing").unlink(), "nothing: the file is missing"),
        (lambda folder: (folder / "Documents/more").mkdir(), "Documents/more: was not in the drive"),
        (lambda folder: (folder / "nothing").rename(folder / "something"), "something: was not in the drive"),
    ],
)
def test_every_kind_of_difference_is_named(tmp_path: Path, spoil: Callable[[Path], object], said: str) -> None:
    """One changed byte, one nanosecond, one folder too few or one name too many is told with its path."""
    drive = _drive()
    _write(tmp_path, drive.snapshot(), drive)
    spoil(tmp_path)
    found = [line for line in compare(tmp_path, drive.snapshot()).differences if line.startswith(said)]
    assert len(found) == 1


def test_a_link_or_a_folder_is_not_taken_for_the_file(tmp_path: Path) -> None:
    """A link to the right bytes is no file, nor is a folder of the right name."""
    drive = _drive()
    _write(tmp_path, drive.snapshot(), drive)
    (tmp_path / "kept").write_bytes(b"hello")
    (tmp_path / "Documents/a.txt").unlink()
    (tmp_path / "Documents/a.txt").symlink_to(tmp_path / "kept")
    (tmp_path / "nothing").unlink()
    (tmp_path / "nothing").mkdir()
    found = compare(tmp_path, drive.snapshot()).differences
    assert "Documents/a.txt: is neither a file nor a folder" in found
    assert "nothing: is no file" in found
