"""Second step: what is to be fetched, cut into batches; and a batch, downloaded, chunked and packed."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Lock

from backup_core.backup.content import save_content, window
from backup_core.backup.parts import PART_BYTES
from backup_core.backup.prepared import Prepared
from backup_core.backup.progress import Progress
from backup_core.backup.run import Run
from backup_core.backup.run_log import (
    FORMAT,
    Batch,
    Place,
    PlanPart,
    Range,
    SavedBatch,
    SavedFile,
    SavedPart,
    Unplanned,
)
from backup_core.errors import NotFound
from backup_core.graph.download import Changed, Download, ItemFailed
from backup_core.graph.items import DriveItem
from backup_core.repository.index import save_index
from backup_core.repository.packer import Packer

BATCH_BYTES = 128 << 20  # so much is lost at most with a process that is killed
BATCH_FILES = 256
OPENS_MAX = 4  # a file that changes under every reading of it, or differs from its report, is not read for ever


@dataclass(frozen=True)
class Cut:
    """Batches to save, by number; files and bytes that are to be fetched in all."""

    batches: list[int]
    files: int
    bytes: int


@dataclass(frozen=True)
class Until:
    """When a batch hands back what it has not come to. `deadline`: monotonic seconds.

    `throttled`: also when Microsoft asks for a longer pause than one request has patience for.
    """

    deadline: float = math.inf
    throttled: bool = False


def cut_batches(run: Run, retry_failed: bool = False, most: int | None = None) -> Cut:
    """Everything that is to be fetched and that no batch has saved yet, as new batches in the run's log.

    `retry_failed`: also what an earlier process of this run tried in vain. `most`: no more than so many batches; the
    rest is only counted. Unplanned.
    """
    number = max(run.log.numbers()["batch"], default=0)
    prepared = run.prepared()
    prepared.drop_lost()
    cut: list[int] = []
    files = total = 0
    for batch, count, size in _batches(prepared, retry_failed):
        files += count
        total += size
        if most is None or len(cut) < most:
            number += 1
            run.log.put_batch(number, batch)
            cut.append(number)
    return Cut(cut, files, total)


def _batches(prepared: Prepared, retry_failed: bool) -> Iterator[tuple[Batch, int, int]]:
    """Each batch with the files and bytes that are in it. Of a file in parts, the last part counts as the file."""
    places: list[Place] = []
    size = 0
    for place, item, saved in prepared.scratch.wanted():
        if saved is not None and saved.settles(item) and not (retry_failed and not saved.verdict):
            continue
        if item.size > PART_BYTES or prepared.parts.knows(item):
            for part in prepared.parts.missing(item, retry_failed):
                stop = item.size if part.stop is None else part.stop
                yield Batch(FORMAT, [place], part), int(part.stop is None), max(0, stop - part.start)
            continue
        places.append(place)
        size += item.size
        if len(places) >= BATCH_FILES or size >= BATCH_BYTES:
            yield Batch(FORMAT, places), len(places), size
            places, size = [], 0
    if places:
        yield Batch(FORMAT, places), len(places), size


def save_batch(run: Run, number: int, threads: int, progress: Progress, until: Until | None = None) -> SavedBatch:
    """Fetch a batch's files and store what is new in them: packs, then their index, then the record of it.

    May be done twice, also by two processes at once: the record that is there first is the one that counts. Unplanned
    where there is no such batch.
    """
    if number in run.log.numbers()["saved"]:
        return run.log.saved(number)
    try:
        batch = run.log.batch(number)
    except NotFound:
        raise Unplanned from None
    saver = _Saver(run, progress, until or Until())
    try:
        saver.save(_items(run, batch), batch.range, threads)
        packs = saver.packer.finish()
        run.check_stop()  # who stops a run does not wait for its batches: the lock may be given back by now
    except BaseException:
        saver.packer.abort()
        raise
    indexes = save_index(run.repository, packs)
    run.cover(indexes, packs)
    added = sum(pack.size for pack in packs)
    saved = SavedBatch(FORMAT, saver.files, indexes, saver.bytes_downloaded, added, saver.parts)
    return run.log.put_saved(number, saved)


def is_whole(batch: Batch, saved: SavedBatch) -> bool:
    """Whether everything in the batch was come to."""
    if batch.range is None:
        return len(saved.files) == len(batch.places)
    if not saved.parts or saved.files:
        return bool(saved.files)
    part, wanted = saved.parts[0], batch.range
    reached = part.start + part.length
    return bool(part.reason) or part.at_end or (wanted.stop is not None and reached >= wanted.stop)


def _items(run: Run, batch: Batch) -> list[DriveItem]:
    parts: dict[int, PlanPart] = {}
    for place in batch.places:
        if place.part not in parts:
            parts[place.part] = run.log.plan(place.part)
    return [parts[place.part].items[place.position] for place in batch.places]


class _Stopped(Exception):
    """The deadline has come, or Microsoft wants a pause: the item is left for later."""


class _Saver:
    """Equal workers, each taking the next file; one open pack between them; store threads behind it."""

    def __init__(self, run: Run, progress: Progress, until: Until) -> None:
        self._run, self._progress, self._until = run, progress, until
        parts = run.parts
        self.packer = Packer(run.repository, tree=False, pack_bytes=parts.pack_bytes, in_flight=parts.packs_in_flight)
        self.files: list[SavedFile] = []
        self.parts: list[SavedPart] = []
        self.bytes_downloaded = 0
        self._lock = Lock()
        self._throttled = Event()

    def save(self, items: list[DriveItem], wanted: Range | None, threads: int) -> None:
        queue: SimpleQueue[DriveItem] = SimpleQueue()
        for item in items:
            queue.put(item)

        def work() -> None:
            buffer = window()
            while not self._is_over():
                try:
                    item = queue.get_nowait()
                except Empty:
                    return
                try:
                    self._fetch(item, wanted, buffer)
                except _Stopped:
                    return

        with ThreadPoolExecutor(threads) as pool:
            jobs = [pool.submit(work) for _ in range(min(threads, len(items)))]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException:
                self._run.stop.set()  # the others end at their next read; the pool waits for them
                raise

    def _is_over(self) -> bool:
        return self._throttled.is_set() or self._run.clock.monotonic() >= self._until.deadline

    def _fetch(self, planned: DriveItem, wanted: Range | None, buffer: memoryview) -> None:
        """Bytes that differ from their report are fetched once more by a new link, then kept with their verdict."""
        part, found = wanted or Range(1, 0, None), None
        for _ in range(OPENS_MAX):
            self._run.check_stop()
            if self._is_over():
                raise _Stopped
            try:
                found, differed = self._read(planned, part, wanted is None, buffer), found
            except Changed:
                continue
            except ItemFailed as failure:
                if failure.reason == "throttled" and self._until.throttled:
                    self._throttled.set()
                    raise _Stopped from None
                found = _failed(planned, wanted, failure.reason)
                break
            if isinstance(found, SavedPart) or found.verdict != "mismatch" or differed is not None:
                break
        self._keep(found if found is not None else _failed(planned, wanted, "download-failed"), wanted)

    def _keep(self, found: SavedFile | SavedPart, wanted: Range | None) -> None:
        with self._lock:
            if isinstance(found, SavedFile):
                self.files.append(found)
            else:
                self.parts.append(found)
        if wanted is None or wanted.stop is None:
            self._progress.advance(files=1)

    def _read(self, planned: DriveItem, part: Range, whole: bool, buffer: memoryview) -> SavedFile | SavedPart:
        """A file, or its wanted part; of what the deadline cuts in two, the part that has come."""
        with self._run.downloads.open(self._run.job.drive.id, planned.id, part.start, part.stop) as body:
            cut = False

            def read(into: memoryview) -> int:
                nonlocal cut
                self._run.check_stop()
                if self._run.clock.monotonic() >= self._until.deadline:
                    cut = True
                    return 0
                count = body.readinto(into)
                self._progress.advance(bytes=count)
                return count

            content, size = save_content(read, buffer, self._run.claims, self.packer)
            with self._lock:
                self.bytes_downloaded += size
            if cut and not size:
                raise _Stopped
            if whole and not cut:
                return SavedFile(planned, body.item, content, size, body.verdict, body.mismatch_reason or "")
            return _saved_part(planned, part, body, content, size)


def _saved_part(planned: DriveItem, part: Range, body: Download, content: list[bytes], size: int) -> SavedPart:
    return SavedPart(planned, body.item, part.attempt, part.start, size, body.at_end, content, body.row)


def _failed(planned: DriveItem, wanted: Range | None, reason: str) -> SavedFile | SavedPart:
    if wanted is None:
        return SavedFile(planned, planned, reason=reason)
    return SavedPart(planned, planned, wanted.attempt, wanted.start, reason=reason)
