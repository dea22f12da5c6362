"""Second step: what is to be fetched, cut into batches; and a batch, downloaded, chunked and packed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock

from backup_core.backup.content import save_content, window
from backup_core.backup.progress import Progress
from backup_core.backup.run import Run
from backup_core.backup.run_log import FORMAT, Batch, Place, PlanPart, SavedBatch, SavedFile
from backup_core.graph.download import Changed, ItemFailed
from backup_core.graph.items import DriveItem
from backup_core.repository.index import save_index
from backup_core.repository.packer import Packer

BATCH_BYTES = 128 << 20  # so much is lost at most with a process that is killed
BATCH_FILES = 256
OPENS_MAX = 4  # a file that changes under every reading of it, or differs from its report, is not read for ever


@dataclass(frozen=True)
class Cut:
    """Batches to save, by number, and what lies in them."""

    batches: list[int]
    files: int
    bytes: int


def cut_batches(run: Run, retry_failed: bool = False) -> Cut:
    """Everything that is to be fetched and that no batch has saved yet, as new batches in the run's log.

    `retry_failed`: also what an earlier process of this run tried in vain.
    """
    number = max(run.log.numbers()["batch"], default=0)
    cut: list[int] = []
    files = total = 0
    for places, size in _groups(run, retry_failed):
        number += 1
        files += len(places)
        total += size
        run.log.put_batch(number, Batch(FORMAT, places))
        cut.append(number)
    return Cut(cut, files, total)


def _groups(run: Run, retry_failed: bool) -> Iterator[tuple[list[Place], int]]:
    places: list[Place] = []
    size = 0
    for place, item, saved in run.prepared().scratch.wanted():
        if saved is not None and saved.settles(item) and not (retry_failed and not saved.verdict):
            continue
        places.append(place)
        size += item.size
        if len(places) >= BATCH_FILES or size >= BATCH_BYTES:
            yield places, size
            places, size = [], 0
    if places:
        yield places, size


def save_batch(run: Run, number: int, threads: int, progress: Progress) -> SavedBatch:
    """Fetch a batch's files and store what is new in them: packs, then their index, then the record of it.

    May be done twice, also by two processes at once: the record that is there first is the one that counts.
    """
    if number in run.log.numbers()["saved"]:
        return run.log.saved(number)
    saver = _Saver(run, progress)
    try:
        files = saver.save(_items(run, run.log.batch(number)), threads)
        packs = saver.packer.finish()
        run.check_stop()  # who stops a run does not wait for its batches: the lock may be given back by now
    except BaseException:
        saver.packer.abort()
        raise
    indexes = save_index(run.repository, packs)
    run.cover(indexes, packs)
    added = sum(pack.size for pack in packs)
    return run.log.put_saved(number, SavedBatch(FORMAT, files, indexes, saver.bytes_downloaded, added))


def _items(run: Run, batch: Batch) -> list[DriveItem]:
    parts: dict[int, PlanPart] = {}
    for place in batch.places:
        if place.part not in parts:
            parts[place.part] = run.log.plan(place.part)
    return [parts[place.part].items[place.position] for place in batch.places]


class _Saver:
    """Equal workers, each taking the next file; one open pack between them; store threads behind it."""

    def __init__(self, run: Run, progress: Progress) -> None:
        self._run, self._progress = run, progress
        parts = run.parts
        self.packer = Packer(run.repository, tree=False, pack_bytes=parts.pack_bytes, in_flight=parts.packs_in_flight)
        self.bytes_downloaded = 0
        self._lock = Lock()

    def save(self, items: list[DriveItem], threads: int) -> list[SavedFile]:
        saved: dict[int, SavedFile] = {}
        queue: SimpleQueue[tuple[int, DriveItem]] = SimpleQueue()
        for numbered in enumerate(items):
            queue.put(numbered)

        def work() -> None:
            buffer = window()
            while True:
                try:
                    position, item = queue.get_nowait()
                except Empty:
                    return
                saved[position] = self._fetch(item, buffer)

        with ThreadPoolExecutor(threads) as pool:
            jobs = [pool.submit(work) for _ in range(min(threads, len(items)))]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException:
                self._run.stop.set()  # the others end at their next read; the pool waits for them
                raise
        return [saved[position] for position in sorted(saved)]

    def _fetch(self, planned: DriveItem, buffer: memoryview) -> SavedFile:
        """Bytes that differ from their report are fetched once more by a new link, then kept with their verdict."""
        differed = False
        for _ in range(OPENS_MAX):
            self._run.check_stop()
            try:
                saved = self._read(planned, buffer)
            except Changed:
                continue
            except ItemFailed as failure:
                self._progress.advance(files=1)
                return SavedFile(planned, planned, reason=failure.reason)
            if saved.verdict == "mismatch" and not differed:
                differed = True
                continue
            self._progress.advance(files=1)
            return saved
        self._progress.advance(files=1)
        return SavedFile(planned, planned, reason="download-failed")

    def _read(self, planned: DriveItem, buffer: memoryview) -> SavedFile:
        with self._run.downloads.open(self._run.job.drive.id, planned.id) as body:

            def read(into: memoryview) -> int:
                self._run.check_stop()
                count = body.readinto(into)
                self._progress.advance(bytes=count)
                return count

            content, size = save_content(read, buffer, self._run.claims, self.packer)
            with self._lock:
                self.bytes_downloaded += size
            return SavedFile(planned, body.item, content, size, body.verdict, body.mismatch_reason or "")
