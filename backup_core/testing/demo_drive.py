"""What lies in the drive of a demo, and what its owner then does to it. It backs up nothing and compares nothing."""

import datetime
import importlib.util
import sysconfig
from pathlib import Path

import backup_core
from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.items import SimulatedItem

# Of the standard library, those packages that every build of Python has: 350 files, some empty, 5 MiB together.
_PACKAGES = (
    *("asyncio", "collections", "concurrent", "email", "encodings", "html", "http", "importlib", "json", "logging"),
    *("multiprocessing", "pydoc_data", "sqlite3", "tomllib", "unittest", "urllib", "wsgiref", "xml", "xmlrpc"),
)
_PROGRAM = "cryptography.hazmat.bindings._rust"  # a file of many MiB that is wherever drivekeep is
_EDITED_MAX = 64 << 20  # bytes: an edited file is held in memory
_EDIT = b"\n-- this line was put in by the demo --\n"


def fill(drive: Drive) -> None:
    """Real files of this machine, read now, so that nothing changes under the demo; and a few things worth seeing."""
    library = Path(sysconfig.get_path("stdlib"))
    for package in _PACKAGES:
        _put_folder(drive, library / package, f"Projects/Python/{package}")
    _put_folder(drive, Path(backup_core.__file__).parent, "Projects/drivekeep")
    program = importlib.util.find_spec(_PROGRAM)
    if program and program.origin:
        source = Path(program.origin)
        _put(drive, source, f"Programs/{source.name}")
        _put(drive, source, f"Programs/Copies/{source.name}")
    drive.put_file("Notes/Grüße aus Köln 👋.txt", b"Wish you were here.\n")
    drive.make_folder("Notes/Ideas")


def change(drive: Drive) -> list[str]:
    """A day's work: edit a file, delete one, add one and an empty folder, rename a folder. What was done, in words."""
    done = []
    edited = _largest(drive)
    if edited and edited.body:
        content, middle = edited.body.read(0, edited.size), edited.size // 2
        drive.put_file(edited.path, content[:middle] + _EDIT + content[middle:])
        done.append(f"edited   {edited.path}: a line put into its middle")
    unwanted = [item for _, item in sorted(drive.files()) if item is not edited]
    if unwanted:
        done.append(f"deleted  {unwanted[-1].path}")
        drive.delete(unwanted[-1].path)
    added = _free_name(drive, "Added by the demo")
    drive.put_file(f"{added}/hello.txt", b"Hello.\n")
    drive.make_folder(f"{added}/an empty folder")
    done.append(f"added    {added}/hello.txt and an empty folder")
    fullest = _fullest(drive)
    if fullest:
        folder, files = fullest
        above = folder.path.rpartition("/")[0]
        name = _free_name(drive, f"{folder.name} (renamed)", above)
        done.append(f"renamed  the folder {folder.path}, with {files} files in it, to {name}")
        drive.rename(folder.path, name)
    return done


def _put_folder(drive: Drive, source: Path, place: str) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
            _put(drive, path, f"{place}/{path.relative_to(source).as_posix()}")


def _put(drive: Drive, source: Path, place: str) -> None:
    modified = datetime.datetime.fromtimestamp(source.stat().st_mtime, datetime.UTC)
    drive.put_file(place, source.read_bytes(), modified)


def _largest(drive: Drive) -> SimulatedItem | None:
    """Where only a few chunks of many change, it shows."""
    files = [item for _, item in sorted(drive.files()) if 0 < item.size <= _EDITED_MAX]
    return max(files, key=lambda item: item.size, default=None)


def _fullest(drive: Drive) -> tuple[SimulatedItem, int] | None:
    """The folder with most files below it, and how many: to rename it must not cost a download of them."""
    counts = {
        folder.path: (folder, sum(item.kind == "file" for item in drive.walk(folder))) for _, folder in drive.folders()
    }
    return max(counts.values(), key=lambda each: each[1], default=None)


def _free_name(drive: Drive, wanted: str, above: str = "") -> str:
    taken = drive.item(above).children or {}
    name, number = wanted, 1
    while name.lower() in taken:
        number += 1
        name = f"{wanted} {number}"
    return name
