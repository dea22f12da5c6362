"""Carrying out a plan: content is fetched by ranges of packs, for many files at once, and written by several threads.

One thread goes through the plan, makes folders and gathers the pieces of files into batches. A batch asks for each blob
once, whichever files it goes into, and near blobs with one request; so a thousand small files cost a few requests, and
a huge file is written from many ranges at the same time. At most `_AHEAD` ranges wait for each thread, and a thread
holds one range, so memory is bounded whatever is restored.

A run that is killed leaves whole files and unfinished ones. The same command run again keeps the former, since they
have the right size and time, and removes the latter. A file that fails is listed, and the others go on; what ends the
run is a store that cannot be reached, and a disk that is full.
"""

import errno
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from backup_core.errors import Damaged, NotFound, Temporary
from backup_core.repository.blobs import BlobReader, LoadedIndex, Range
from backup_core.repository.crypto import OVERHEAD
from backup_core.repository.node import Node
from backup_core.repository.repository import Repository
from backup_core.restore.part_file import Differs, PartFile, Piece, compare
from backup_core.restore.plan import FileStep, FolderStep, RestorePlan, count
from backup_core.restore.summary import Failure, RestoreSummary
from backup_core.restore.target import Names

_log = logging.getLogger(__name__)

THREADS = 8
_AHEAD = 2  # ranges that wait for each thread
_BATCH_BYTES = 32 << 20  # plain; some eight ranges, and at most 64 files of more than one chunk, each of which is open
_BATCH_FILES = 1000  # tiny files: enough for their blobs to lie in a few ranges
_FULL = {errno.ENOSPC, errno.EDQUOT}

Advance = Callable[[int, int], None]


def restore(
    plan: RestorePlan,
    repository: Repository,
    index: LoadedIndex,
    advance: Advance = lambda files, size: None,
    *,
    threads: int = THREADS,
    sync: bool = True,
) -> RestoreSummary:
    """Carry out the plan. `advance` is told of files and bytes as they are done, from any thread.

    AlreadyExists, with nothing written, where the plan says `fail` and a file is there; Usage where the target is no
    folder; Temporary (`storage-full`) where the disk is full. `sync`: at the end, see that all is on the disk.
    """
    if plan.request.conflict == "fail":
        plan.refuse_existing()
    run = _Run(plan, repository, index, advance, threads)
    try:
        for folder in plan.folders():
            run.add_folder(folder)
        run.wait()
    except BaseException:
        run.abandon()
        raise
    run.set_folder_times()
    if sync:
        os.sync()  # once for all: an fsync for each of a million files would take longer than the restore
    return run.summary


class _Batch:
    """Blobs to be fetched, and where each goes."""

    def __init__(self) -> None:
        self.uses: dict[bytes, list[tuple[PartFile, int]]] = defaultdict(list)
        self.bytes = self.files = 0

    @property
    def is_full(self) -> bool:
        return self.bytes >= _BATCH_BYTES or self.files >= _BATCH_FILES


class _Way:
    """A folder from the target down to the one that is being filled."""

    def __init__(self, step: FolderStep) -> None:
        self.place, self.modified, self.is_made = step.place, step.modified, False


class _Run:
    def __init__(
        self, plan: RestorePlan, repository: Repository, index: LoadedIndex, advance: Advance, threads: int
    ) -> None:
        self.summary = RestoreSummary()
        self._target, self._verify = plan.target, plan.request.verify
        self._index, self._advance = index, advance
        self._reader = BlobReader(repository, index.locate, index.copies)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="restore")
        self._room = threading.Semaphore(threads * (1 + _AHEAD))
        self._lock = threading.Lock()  # guards the summary and the files in work
        self._error: BaseException | None = None
        self._in_work: set[PartFile] = set()
        self._batch = _Batch()
        self._way: list[_Way] = []
        self._made: list[tuple[Names, int]] = []  # folders to be dated

    # -- the thread that goes through the plan -------------------------------------------------------------------

    def add_folder(self, folder: FolderStep) -> None:
        if folder.failure is not None:
            self._fail(folder.failure)
            return
        del self._way[len(folder.place) :]
        self._way.append(_Way(folder))
        try:
            for name in folder.unfinished:
                self._target.remove_file(folder.place, name)
            if folder.is_wanted:
                self._make_way()
        except OSError as error:
            self._fail(_failure(folder.path, error))
            return
        for step in folder.files:
            self._add_file(folder, step)

    def wait(self) -> None:
        """Until everything is written. Raises what a thread ran into."""
        self._flush()
        self._threads.shutdown(wait=True)
        self._raise_error()

    def abandon(self) -> None:
        """End the threads; leave whole files only."""
        self._error = self._error or Temporary("The restore was stopped.")
        self._threads.shutdown(wait=True, cancel_futures=True)
        # A signal that interrupts a thread's `join` makes Python 3.11 take that thread for dead, so some may be at
        # work still: they find their files discarded.
        with self._lock:
            left = list(self._in_work)
        for part in left:
            part.discard()

    def set_folder_times(self) -> None:
        """At the very end, for a folder's time changes with everything that is made in it."""
        for place, modified in self._made:
            try:
                self._target.set_folder_time(place, modified)
            except OSError as error:
                _log.warning("The time of the folder %s could not be set: %s", "/".join(place), error.strerror)

    def _make_way(self) -> None:
        """Make the folder that is being filled, and note those that must be dated."""
        if self._way[-1].is_made:
            return
        self._target.make_folder(self._way[-1].place)
        for each in self._way:
            if not each.is_made and each.place and each.modified is not None:  # the target is the user's own folder
                self._made.append((each.place, each.modified))
            each.is_made = True

    def _add_file(self, folder: FolderStep, step: FileStep) -> None:
        try:
            if step.failure is not None:
                self._fail(step.failure)
            elif step.action == "keep":
                self._keep(folder.place, step)
            else:
                self._begin(folder.place, step)
        except (Damaged, NotFound) as error:
            self._fail(Failure(step.path, "damaged", error.what))
        except Differs as error:
            self._fail(Failure(step.path, error.reason, str(error)))
        except OSError as error:
            self._fail(_failure(step.path, error))

    def _keep(self, place: Names, step: FileStep) -> None:
        if self._verify:
            self._check_pieces(step.node)
            self._submit(self._compare_kept, place, step)
        else:
            self._count(step)

    def _begin(self, place: Names, step: FileStep) -> None:
        """Take a file's pieces into the batch. Nothing is made of a file whose content is known to be gone."""
        count = self._check_pieces(step.node)
        self._make_way()
        part = PartFile(self._target, place, step, count)
        with self._lock:
            self._in_work.add(part)
        if count == 0:
            self._submit(self._finish, part)
        self._batch.files += 1
        for piece in self._pieces(step.node):
            if part.is_over:
                break  # it has failed; a huge file need not be fetched to its end
            self._batch.uses[piece.blob].append((part, piece.offset))
            self._batch.bytes += piece.length
            if self._batch.is_full:
                self._flush()

    def _check_pieces(self, node: Node) -> int:
        """How many pieces a file has. NotFound where one is in no index; Differs where they do not make up the file."""
        count = size = 0
        for piece in self._pieces(node):
            count, size = count + 1, size + piece.length
        if size != node.size:
            raise Differs(f"Its chunks have {size} bytes together, and it should have {node.size}.", "size-mismatch")
        return count

    def _pieces(self, node: Node) -> Iterator[Piece]:
        offset = 0
        for text in node.content or ():
            blob = _id(text)
            place = self._index.locate(blob, False)
            if place is None:
                raise NotFound(f"The chunk {text} is in no index.")
            length = place.raw_length or place.length - OVERHEAD
            yield Piece(blob, offset, length)
            offset += length

    def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        for span in self._reader.ranges(batch.uses, tree=False):
            self._submit(self._restore_range, span, batch)

    def _submit(self, work: Callable[..., None], *arguments: object) -> None:
        """Hand work to the threads; waits while too much is waiting."""
        self._room.acquire()
        self._raise_error()
        self._threads.submit(self._guarded, work, *arguments)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    # -- the threads ---------------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            if self._error is None:
                work(*arguments)
        except BaseException as error:  # of any kind: the thread that goes through the plan raises it
            self._error = self._error or error
        finally:
            self._room.release()

    def _restore_range(self, span: Range, batch: _Batch) -> None:
        missing = {blob for blob, _ in span.blobs}
        try:
            for blob, plain in self._reader.read_range(span):
                missing.discard(blob)
                for part, offset in batch.uses[blob]:
                    self._write(part, offset, plain)
        except (Damaged, NotFound) as error:
            for part in {part for blob in missing for part, _ in batch.uses[blob]}:
                self._give_up(part, Failure(part.step.path, "damaged", error.what))

    def _write(self, part: PartFile, offset: int, plain: bytes) -> None:
        try:
            is_last = part.write(offset, plain)
        except OSError as error:
            self._give_up(part, _failure(part.step.path, error))
        else:
            if is_last:
                self._finish(part)

    def _finish(self, part: PartFile) -> None:
        try:
            finished = part.finish(self._pieces(part.step.node) if self._verify else None)
        except OSError as error:
            self._give_up(part, _failure(part.step.path, error))
        except Differs as error:
            self._give_up(part, Failure(part.step.path, error.reason, str(error)))
        else:
            with self._lock:
                self._in_work.discard(part)
            if finished:
                self._count(part.step)

    def _compare_kept(self, place: Names, step: FileStep) -> None:
        try:
            file = self._target.open_file(place, step.name)
            try:
                compare(file, self._pieces(step.node))
            finally:
                os.close(file)
        except OSError as error:
            self._fail(_failure(step.path, error))
        except Differs as error:
            self._fail(Failure(step.path, error.reason, f"It was there already. {error}"))
        else:
            self._count(step)

    def _count(self, step: FileStep) -> None:
        with self._lock:
            count(self.summary, step)
        self._advance(1, step.node.size)

    def _give_up(self, part: PartFile, failure: Failure) -> None:
        part.discard()
        with self._lock:
            if part not in self._in_work:
                return  # another piece of it has failed before
            self._in_work.discard(part)
        self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        with self._lock:
            self.summary.files_failed.append(failure)


def _failure(path: str, error: OSError) -> Failure:
    """What a refusal by the file system means for one file. Temporary where it means the end for all."""
    if error.errno in _FULL:
        raise Temporary(
            "There is no room left where the files are restored to.",
            why=f"The system says: {os.strerror(error.errno)}.",
            remedy="Make room there, then run the same command again: it goes on with what is missing.",
            reason="storage-full",
        ) from error
    if isinstance(error, FileExistsError):
        return Failure(path, "exists", "Another file has come into its place; it was left.")
    return Failure(path, "write-failed", f"The system says: {error.strerror or type(error).__name__}.")


def _id(text: str) -> bytes:
    """Of something that is no id, one that is in no index."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
