"""A real folder of this machine, shown in a simulated drive. Reads it, and never writes to it."""

import contextlib
import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backup_core.testing.m365.bodies import FileBody

if TYPE_CHECKING:
    from backup_core.testing.m365.drive import Drive


class _Found(NamedTuple):
    """What lies at a path, and what tells a changed file from an unchanged one."""

    folder: bool
    place: Path
    size: int
    modified_ns: int
    inode: int

    @property
    def modified(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.modified_ns / 1e9, datetime.UTC)


class Mount:
    """Regular files and folders below `source` appear below `at`; links and devices do not.

    A file's bytes are read when somebody downloads it or asks for its hash, not before.
    """

    def __init__(self, drive: "Drive", source: Path, at: str) -> None:
        self._drive = drive
        self._source = source
        self._at = at
        self._shown: dict[str, _Found] = {}
        self.refresh()

    def refresh(self) -> None:
        """Make the drive show what the folder holds now: new and changed files, and none that are gone.

        What was renamed or moved in the folder is a deletion and an addition: a folder knows no item ids.
        """
        now = dict(self._entries())
        gone = {path for path, known in self._shown.items() if path not in now or now[path].folder != known.folder}
        for path in gone:
            if not any(path.startswith(f"{other}/") for other in gone):
                with contextlib.suppress(FileNotFoundError):  # deleted in the drive, by its own means
                    self._drive.delete(path)
        for path, found in now.items():
            known = None if path in gone else self._shown.get(path)
            # A known folder stays as it is: its time moves with every file in it.
            if found.folder and known is None:
                self._drive.make_folder(path, found.modified)
            elif not found.folder and known != found:
                self._drive.put_file(path, FileBody(found.place, found.size), found.modified)
        self._shown = now

    def _entries(self) -> Iterator[tuple[str, _Found]]:
        """Paths in the drive: folders before what lies in them, names in order."""
        waiting = [(self._at, self._source)]
        while waiting:
            above, folder = waiting.pop()
            taken: set[str] = set()
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            for entry in entries:
                below, place = entry.is_dir(follow_symlinks=False), Path(entry.path)
                if not below and not entry.is_file(follow_symlinks=False):
                    continue
                path = f"{above}/{_free_name(entry.name, taken)}".lstrip("/")
                if below:
                    waiting.append((path, place))
                with contextlib.suppress(FileNotFoundError):  # gone since the folder was listed
                    status = entry.stat(follow_symlinks=False)
                    yield path, _Found(below, place, status.st_size, status.st_mtime_ns, status.st_ino)


def _free_name(name: str, taken: set[str]) -> str:
    """A name that JSON can carry, and that differs from its siblings by more than its case."""
    free = plain = os.fsencode(name).decode("utf-8", "replace")
    number = 1
    while free.lower() in taken:
        number += 1
        free = f"{plain} ({number})"
    taken.add(free.lower())
    return free
