"""What a snapshot holds, item by item, as `ls` shows it. It reads no content."""

from collections.abc import Iterator
from typing import NamedTuple

from backup_core.errors import Damaged, NotFound
from backup_core.repository import go_json
from backup_core.repository.node import Node, Verdict
from backup_core.repository.readable_index import load_readable_index
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot
from backup_core.repository.walk import Folder, Item, Walk


class Listed(NamedTuple):
    path: str  # true names from the drive's root; may hold characters that no terminal should be given
    type: str  # file or dir; what stock restic stored may be a symlink, a fifo, a device
    size: int  # bytes as stored; 0 for a folder
    mtime: str  # RFC 3339, UTC
    item_id: str | None  # None where stock restic made the snapshot
    quickxorhash: str | None  # as Microsoft reported it
    verdict: Verdict | None


def list_items(repository: Repository, snapshot: Snapshot, path: str = "") -> Iterator[Listed]:
    """Every item, or those below the folder `path`, or the file `path` alone: folder by folder, a folder before what
    is in it.

    NotFound where there is no such path. A folder whose list is damaged or gone does not hide the others: what is wrong
    with it is raised at the end. (An index file that is damaged may be the reason, and is raised in its place.)
    """
    problems: list[Damaged | NotFound] = []
    index = load_readable_index(repository, lambda _id, error: problems.append(error), trees_only=True)
    for folder in Walk(repository, index, snapshot.tree, path.strip("/")):
        if folder.part == "below" and folder.node is not None:
            yield _listed(folder.path, folder.node)
        for item in folder.files():
            yield _listed(*item)
        if folder.problem is not None:
            problems.append(folder.problem)
    if problems:
        raise problems[0]


def list_folder(repository: Repository, snapshot: Snapshot, path: str = "") -> list[Listed]:
    """What lies in the folder `path` and not below it, folders first, by name; or the file `path` alone.

    NotFound where there is no such path. Damaged where its list, or that of a folder on the way to it, cannot be read.
    """
    problems: list[Damaged | NotFound] = []
    index = load_readable_index(repository, lambda _id, error: problems.append(error), trees_only=True)
    alone: list[Item] = []
    for folder in Walk(repository, index, snapshot.tree, path.strip("/")):
        if folder.problem is not None:
            raise _unreadable((problems or [folder.problem])[0])
        if folder.part == "start":
            return [_listed(*item) for item in _children(folder)]
        alone.extend(folder.files())
    return [_listed(*item) for item in alone]


def _unreadable(problem: Damaged | NotFound) -> Damaged:
    """A list that is gone is no path that never was."""
    return problem if isinstance(problem, Damaged) else Damaged(problem.what, why=problem.why, remedy=problem.remedy)


def _children(folder: Folder) -> list[Item]:
    folders = [Item(each.path, each.node) for each in folder.subfolders if each.node is not None]
    return [*sorted(folders, key=_path), *sorted(folder.files(), key=_path)]


def _path(item: Item) -> str:
    return item.path


def _listed(path: str, node: Node) -> Listed:
    return Listed(
        path=path,
        type=node.type,
        size=node.size,
        mtime=_utc(node),
        item_id=node.item_id or None,
        quickxorhash=node.quickxor or None,
        verdict=node.verdict,
    )


def _utc(node: Node) -> str:
    """restic writes times in the zone of the machine that it ran on."""
    try:
        return node.mtime if node.mtime.endswith("Z") else go_json.time_text(node.modified)
    except ValueError:
        return node.mtime
