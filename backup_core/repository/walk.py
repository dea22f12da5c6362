"""The folders of a snapshot, one after another, each with what is in it under its true path. It restores nothing.

They come in the order in which a person reads: a folder, its files, then each subfolder with its whole branch. Trees
are read ahead in that order, cousins too, so that a drive of 50,000 folders costs some hundreds of requests. What is
held at a time grows with the depth of the drive, not with its size.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Literal, NamedTuple

import msgspec

from backup_core.errors import Damaged, NotFound
from backup_core.repository.blobs import BlobReader, LoadedIndex, Range
from backup_core.repository.node import Node, decode_node
from backup_core.repository.repository import Repository

# Read at once: at 20 items a folder some 2 MiB of JSON. A giant folder is read alone.
AHEAD_FOLDERS = 256
AHEAD_BYTES = 4 << 20
_READERS = 4  # ranges that are waited for at the same time

Part = Literal["way", "start", "below"]


class Item(NamedTuple):
    path: str  # true names from the drive's root, joined by "/"
    node: Node


Enter = Callable[[Item], bool]


class _Kind(msgspec.Struct, gc=False):
    """What tells a folder from everything else, without decoding the rest."""

    type: str


class _Rows(msgspec.Struct):
    nodes: list[msgspec.Raw] | None


_decode_rows = msgspec.json.Decoder(_Rows).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode


class Folder:
    """A folder that a walk has come to.

    `place`: the stored names that lead to it. `node`: None for the root of a snapshot that stock restic made. `part`:
    `way` for a folder above what was asked for, `start` for the one that was asked for, `below` for the rest.
    `problem`: why its list cannot be had; then nothing below it is known.
    """

    def __init__(self, path: str, place: tuple[str, ...], node: Node | None, tree: str | None, part: Part) -> None:
        self.path, self.place, self.node, self.tree, self.part = path, place, node, tree, part
        self.problem: Damaged | NotFound | None = None
        self.subfolders: list[Folder] = []
        self.is_read = False
        self._rows: list[msgspec.Raw] = []

    def files(self) -> Iterator[Item]:
        """Everything in it but folders, in the order of the stored names. Damaged where a node says nothing sensible.

        Of a folder on the way only the one that was asked for.
        """
        for raw in self._rows:
            yield _item(self.path, raw)

    def names(self) -> set[str]:
        """The stored names of all that is in it. Damaged, as `files`."""
        return {item.node.name for item in self.files()} | {folder.place[-1] for folder in self.subfolders}

    def fill(self, data: bytes) -> None:
        """Learn from its tree what is in it."""
        self.is_read = True
        try:
            for raw in _decode_rows(data).nodes or ():
                if _decode_kind(raw).type != "dir":
                    self._rows.append(raw)
                    continue
                path, node = _item(self.path, raw)
                self.subfolders.append(Folder(path, (*self.place, node.name), node, node.subtree, "below"))
        except msgspec.MsgspecError as error:
            self.fail(_not_a_tree(error))
        except Damaged as error:
            self.fail(error)

    def fail(self, problem: Damaged | NotFound) -> None:
        self.is_read, self.problem = True, problem
        self._rows, self.subfolders = [], []

    def keep(self, is_wanted: Callable[[str], bool]) -> bool:
        """Forget all files but those whose paths are wanted; whether any is left."""
        self._rows = [raw for raw in self._rows if is_wanted(_item(self.path, raw).path)]
        return bool(self._rows)


class Walk:
    """`for folder in Walk(...)`; once only.

    `path`: only that folder or file and what is below it, in any case, as OneDrive compares names; "" is everything.
    NotFound, at the end, where there is no such thing. `enter` says of each subfolder whether it is of interest; it is
    asked a while before the folder comes. Where the root tree holds one folder that drivekeep made for a drive, paths
    start in that folder.
    """

    def __init__(
        self, repository: Repository, index: LoadedIndex, tree: str, path: str = "", enter: Enter | None = None
    ) -> None:
        self._index, self._tree = index, tree
        self._reader = BlobReader(repository, index.locate, index.copies)
        self._path, self._asked = path, path.casefold()
        self._enter = enter
        self._found = not path

    def __iter__(self) -> Iterator[Folder]:
        with ThreadPoolExecutor(_READERS, thread_name_prefix="walk") as pool:
            stack = [self._root(pool)]
            while stack:
                if not stack[-1].is_read:
                    self._load(self._coming(stack), pool)
                folder = stack.pop()
                # One that cannot be read may hold what was asked for, and says so itself.
                self._found = self._found or folder.problem is not None
                stack.extend(reversed(folder.subfolders))
                yield folder
        if not self._found:
            raise NotFound(f"There is no {self._path} in this snapshot.", remedy="`drivekeep ls` lists what there is.")

    def _root(self, pool: Executor) -> Folder:
        stored = Folder("", (), None, self._tree, "start")
        self._read([stored], pool)
        top = stored.subfolders[0] if len(stored.subfolders) == 1 and not any(stored.files()) else None
        part: Part = "way" if self._asked else "start"
        if top is not None and top.node is not None and top.node.origin is not None:
            return Folder("", (), top.node, top.tree, part)
        return Folder("", (), None, self._tree, part)

    def _coming(self, stack: list[Folder]) -> list[Folder]:
        """The folders to read next: those that are needed first, as many as are worth one go."""
        chosen: list[Folder] = []
        size = 0
        for folder in _unread(stack):
            size += self._size(folder)
            if chosen and (size > AHEAD_BYTES or len(chosen) == AHEAD_FOLDERS):
                break
            chosen.append(folder)
        return chosen

    def _size(self, folder: Folder) -> int:
        place = self._index.locate(_tree_id(folder), True)
        return (place.raw_length or place.length) if place else 0

    def _load(self, folders: list[Folder], pool: Executor) -> None:
        self._read(folders, pool)
        for folder in folders:
            if folder.part == "way":
                self._narrow(folder)
            if self._enter is not None:
                folder.subfolders = [each for each in folder.subfolders if self._enter(_entered(each))]

    def _read(self, folders: list[Folder], pool: Executor) -> None:
        waiting: dict[bytes, list[Folder]] = defaultdict(list)
        for folder in folders:
            waiting[_tree_id(folder)].append(folder)
        known = [tree for tree in waiting if self._index.locate(tree, True)]
        for part in pool.map(self._read_range, self._reader.ranges(known, tree=True)):
            for tree, data in part:
                for folder in waiting.pop(tree):
                    folder.fill(data)
        for tree, rest in waiting.items():
            problem = self._problem(tree)
            for folder in rest:
                folder.fail(problem)

    def _read_range(self, span: Range) -> list[tuple[bytes, bytes]]:
        """What can be read of a range; `_problem` says what is wrong with the others."""
        found: list[tuple[bytes, bytes]] = []
        try:
            for each in self._reader.read_range(span):
                found.append(each)
        except (Damaged, NotFound):
            pass
        return found

    def _problem(self, tree: bytes) -> Damaged | NotFound:
        try:
            self._reader.read(tree, tree=True)
        except (Damaged, NotFound) as error:
            return error
        return Damaged("The list of a folder could be read only now.", remedy="Run the same command again.")

    def _narrow(self, folder: Folder) -> None:
        """Of a folder on the way, keep what leads to the path that was asked for."""
        asked, here = self._asked, []
        for each in folder.subfolders:
            path = each.path.casefold()
            if path == asked:
                each.part = "start"
                self._found = True
            elif asked.startswith(path + "/"):
                each.part = "way"
            else:
                continue
            here.append(each)
        folder.subfolders = here
        if folder.keep(lambda path: path.casefold() == asked):
            self._found = True


def _unread(stack: list[Folder]) -> Iterator[Folder]:
    """In the order in which the walk will come to them; below folders that are read, too."""
    for folder in reversed(stack):
        inner = [folder]
        while inner:
            each = inner.pop()
            if each.is_read:
                inner.extend(reversed(each.subfolders))
            else:
                yield each


def _entered(folder: Folder) -> Item:
    assert folder.node is not None, "only a root has none"
    return Item(folder.path, folder.node)


def _item(parent: str, raw: msgspec.Raw) -> Item:
    try:
        node = decode_node(raw)
        name = node.true_name
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise _not_a_tree(error) from error
    return Item(f"{parent}/{name}" if parent else name, node)


def _tree_id(folder: Folder) -> bytes:
    """Of a folder without a proper one, an id that is in no index."""
    try:
        return bytes.fromhex(folder.tree or "")
    except ValueError:
        return b""


def _not_a_tree(error: Exception) -> Damaged:
    return Damaged(
        "The list of a folder cannot be read.",
        why=f"It is not what restic or drivekeep write: {type(error).__name__}.",
        remedy="Run `drivekeep check` to see what is damaged.",
    )
