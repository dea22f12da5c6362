"""What a restore would do, folder by folder, found by looking at the snapshot and at the target. It writes nothing.

A plan is a stream: it is made while it is carried out (`run.py`) or shown, and holds one folder at a time.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from backup_core.errors import AlreadyExists, Damaged
from backup_core.repository.blobs import LoadedIndex
from backup_core.repository.node import Node
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot
from backup_core.repository.walk import Folder, Item, Walk
from backup_core.restore.conflicts import Action, Conflict, decide, time_of
from backup_core.restore.patterns import Filter
from backup_core.restore.summary import Failure, RestoreSummary
from backup_core.restore.target import Names, Target, is_unfinished, is_usable

_NAMED_MAX = 3  # files that a refusal names


@dataclass(frozen=True)
class RestoreRequest:
    """`path`: only this folder or file. `include`, `exclude`: as `patterns.py` says. `verify`: read back what is
    restored, and what counts as there already, and compare it.
    """

    target: Path
    path: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    conflict: Conflict = "skip"
    verify: bool = False


class FileStep(NamedTuple):
    """One file: written to a free name, put in the place of another, kept as it is there, or refused (`failure`)."""

    path: str
    name: str
    node: Node
    action: Action
    failure: Failure | None = None


class FolderStep(NamedTuple):
    """One folder. Its files are told while they are taken from `files`.

    `is_wanted`: it is made even if nothing goes into it. `modified`: its time, None where it has none. `unfinished`:
    what a run that was killed has left in it. `failure`: nothing can be restored into it; a folder whose place is
    taken brings no folders below it either.
    """

    path: str
    place: Names
    modified: int | None
    is_wanted: bool
    files: Iterator[FileStep]
    unfinished: tuple[str, ...] = ()
    failure: Failure | None = None


def plan_restore(
    repository: Repository, index: LoadedIndex, snapshot: Snapshot, request: RestoreRequest
) -> "RestorePlan":
    """The plan of restoring a snapshot. Usage where a pattern means nothing."""
    return RestorePlan(repository, index, snapshot, request)


class RestorePlan:
    def __init__(self, repository: Repository, index: LoadedIndex, snapshot: Snapshot, request: RestoreRequest) -> None:
        self.request, self.target = request, Target(request.target)
        self._repository, self._index, self._snapshot = repository, index, snapshot
        self._filter = Filter(request.include, request.exclude)

    def folders(self) -> Iterator[FolderStep]:
        """A folder before those in it. May be asked for again. NotFound, at the end, where `path` is nowhere."""
        blocked: Names | None = None
        for folder in self._walk():
            if blocked is not None and folder.place[: len(blocked)] == blocked:
                continue
            step = self._folder(folder)
            if step.failure and not folder.problem:
                blocked = folder.place
            yield step

    def summary(self, tell: Callable[[FileStep], None] = lambda step: None) -> RestoreSummary:
        """What would be done, without doing it; `tell` is given each step on the way."""
        summary = RestoreSummary()
        for folder in self.folders():
            if folder.failure:
                summary.files_failed.append(folder.failure)
            for file in folder.files:
                tell(file)
                count(summary, file)
        return summary

    def refuse_existing(self) -> None:
        """AlreadyExists where anything that would be restored is there already: for `--conflict fail`."""
        taken = [failure for failure in self.summary().files_failed if failure.reason == "exists"]
        if taken:
            named = ", ".join(failure.path for failure in taken[:_NAMED_MAX])
            raise AlreadyExists(
                f"Nothing was restored: {len(taken)} of the files are there already.",
                why=f"{named}{' ...' if len(taken) > _NAMED_MAX else ''} in {self.request.target}",
                remedy="Name an empty folder, or choose --conflict skip, rename or overwrite.",
            )

    def _walk(self) -> Walk:
        def enter(item: Item) -> bool:
            return self._filter.may_hold(item.path)

        return Walk(self._repository, self._index, self._snapshot.tree, self.request.path.strip("/"), enter)

    def _folder(self, folder: Folder) -> FolderStep:
        there: set[str] | None = None
        failure: Failure | None = None
        if folder.problem is not None:
            failure = Failure(folder.path, "damaged", folder.problem.what)
        elif folder.place and not is_usable(folder.place[-1]):
            failure = Failure(folder.path, "invalid-item", "No folder can have this name.")
        else:
            try:
                there = self.target.names(folder.place)
            except NotADirectoryError:
                failure = Failure(
                    folder.path, "exists", "A file or a link is in its place; nothing in it was restored."
                )
            except OSError as error:
                failure = Failure(folder.path, "write-failed", f"Its place cannot be looked at: {error.strerror}.")
        return FolderStep(
            path=folder.path,
            place=folder.place,
            modified=time_of(folder.node) if folder.node else None,
            is_wanted=folder.part != "way" and (not folder.path or self._filter.wants_folder(folder.path)),
            files=iter(()) if failure else self._files(folder, there or set()),
            unfinished=_unfinished(folder, there or set()),
            failure=failure,
        )

    def _files(self, folder: Folder, there: set[str]) -> Iterator[FileStep]:
        seen: set[str] = set()
        try:
            for path, node in folder.files():
                if not self._filter.wants_file(path):
                    continue
                unfit = _unfit(node, seen)
                seen.add(node.name)
                if unfit:
                    yield FileStep(path, node.name, node, "refuse", Failure(path, "invalid-item", unfit))
                else:
                    yield self._file(folder, path, node, there)
        except Damaged as error:  # a node that says nothing sensible; what came before it is restored
            nothing = Node(quoted="", type="")
            yield FileStep(folder.path, "", nothing, "refuse", Failure(folder.path, "damaged", error.what))

    def _file(self, folder: Folder, path: str, node: Node, there: set[str]) -> FileStep:
        names: list[set[str]] = []  # of the snapshot's own items: found out only where a name is taken

        def is_taken(name: str) -> bool:
            if not names:
                names.append(folder.names())
            return name in names[0]

        def find(name: str) -> os.stat_result | None:
            return self.target.look(folder.place, name) if name in there else None

        try:
            action, name = decide(self.request.conflict, node, find, is_taken)
        except OSError as error:
            failure = Failure(path, "write-failed", f"Its place cannot be looked at: {error.strerror}.")
            return FileStep(path, node.name, node, "refuse", failure)
        if action != "refuse":
            return FileStep(path, name, node, action)
        return FileStep(path, name, node, action, Failure(path, "exists", "Another file is in its place; it was left."))


def count(summary: RestoreSummary, file: FileStep) -> None:
    """Add a step as if it had gone well."""
    if file.failure is not None:
        summary.files_failed.append(file.failure)
    elif file.action == "keep":
        summary.files_skipped += 1
    else:
        summary.files_restored += 1
        summary.bytes_restored += file.node.size


def _unfinished(folder: Folder, there: set[str]) -> tuple[str, ...]:
    """What a killed run has left, and not a file of the drive that only looks like it."""
    found = [name for name in there if is_unfinished(name)]
    return tuple(set(found) - folder.names()) if found else ()


def _unfit(node: Node, seen: set[str]) -> str:
    """Why a node cannot be restored as a file; "" where it can."""
    if node.type != "file":
        return f"It is a {node.type}; drivekeep restores files and folders, `restic restore` everything."
    if not is_usable(node.name):
        return "No file can have this name."
    return "Another file of its folder has the same name." if node.name in seen else ""
