"""A folder of this machine that should be what a simulated drive was, compared with it item by item."""

import datetime
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backup_core.testing.m365.drive import Entry

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass
class Comparison:
    """What was found in the folder, and what is not as it should be: one line for each difference."""

    files: int = 0
    folders: int = 0
    bytes: int = 0
    differences: list[str] = field(default_factory=list)


def compare(folder: Path, expected: Mapping[str, Entry]) -> Comparison:
    """Every file's bytes, every time to the nanosecond, every folder, the empty ones too, and nothing besides.

    `expected`: the drive's `snapshot()` of the moment. The folder's own time is nobody's: the drive's root has none.
    """
    found = Comparison()
    missing = dict(expected)
    for path, place in _walk(folder):
        entry = missing.pop(path, None)
        if place.is_symlink() or not (place.is_file() or place.is_dir()):
            found.differences.append(f"{path}: is neither a file nor a folder")
        elif entry is None:
            found.differences.append(f"{path}: was not in the drive")
        elif place.is_dir() != (entry.kind == "folder"):
            found.differences.append(f"{path}: is no {entry.kind}")
        else:
            _compare_item(found, path, place, entry)
    found.differences += [f"{path}: the {entry.kind} is missing" for path, entry in missing.items()]
    return found


def _compare_item(found: Comparison, path: str, place: Path, entry: Entry) -> None:
    status = place.lstat()
    if entry.kind == "folder":
        found.folders += 1
    else:
        found.files += 1
        found.bytes += status.st_size
        if (status.st_size, _sha256(place)) != (entry.size, entry.digest):
            found.differences.append(f"{path}: has other content ({status.st_size} bytes, not {entry.size})")
    should_be = (entry.modified - _EPOCH) // datetime.timedelta(microseconds=1) * 1000
    if status.st_mtime_ns != should_be:
        seconds = (status.st_mtime_ns - should_be) / 1e9
        found.differences.append(f"{path}: its time is off by {seconds:+.3f} seconds")


def _walk(folder: Path, above: str = "") -> Iterator[tuple[str, Path]]:
    """Everything below the folder, with its path in the drive."""
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        path = f"{above}{entry.name}"
        yield path, Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{path}/")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
