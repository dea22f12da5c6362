"""Parts of files that were fetched apart: a file too large for one batch, or one that a deadline cut in two.

quickXorHash is linear: the rows of the parts give the hash of the whole. A part may end anywhere, so those of one file
are a chain, each beginning where another one ends.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from backup_core.backup.run_log import Range, SavedFile, SavedPart, version
from backup_core.graph.items import DriveItem
from backup_core.graph.quickxorhash import QuickXorHash

PART_BYTES = 256 << 20  # a larger file is fetched in such parts: minutes of one activity at a poor connection's speed
ATTEMPTS_MAX = 4  # readings of a file whose parts belong to several versions, or differ from what Microsoft reports
_MISMATCHES_MAX = 2  # bytes that differ from their report twice are what there is: they are kept

Stored = Callable[[list[bytes]], bool]  # whether all of these chunks are stored


class Parts:
    """What has been saved of each file in parts. `stored` tells whether a part's chunks are still there."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._saved: dict[str, list[SavedPart]] = defaultdict(list)  # by item id

    def add(self, parts: Iterable[SavedPart]) -> None:
        for part in parts:
            self._saved[part.planned.id].append(part)

    def knows(self, planned: DriveItem) -> bool:
        """Whether any part of this version of the file has been saved, or has failed."""
        return bool(self._of(planned))

    def file(self, planned: DriveItem) -> SavedFile | None:
        """The file put together; a failure where it cannot be had; None while parts are missing."""
        return self._judge(planned)[1]

    def missing(self, planned: DriveItem, retry_failed: bool = False) -> list[Range]:
        """The parts to fetch next. `retry_failed`: a file that could not be had is begun anew."""
        attempt, file = self._judge(planned)
        if file is not None and file.verdict is None and retry_failed and attempt < ATTEMPTS_MAX:
            return list(_cut(attempt + 1, 0, None, planned.size))
        if file is not None:
            return []
        return [each for gap in self._chain(planned, attempt)[1] for each in _cut(attempt, *gap, planned.size)]

    def _judge(self, planned: DriveItem) -> tuple[int, SavedFile | None]:
        mismatches = 0
        for attempt in range(1, ATTEMPTS_MAX + 1):
            failed = next((part for part in self._of(planned) if part.attempt == attempt and part.reason), None)
            if failed is not None:
                if any(part.attempt > attempt for part in self._of(planned)):
                    continue  # somebody has begun anew
                return attempt, SavedFile(planned, planned, reason=failed.reason)
            chain, gaps = self._chain(planned, attempt)
            if gaps:
                return attempt, None
            if any(version(part.item) != version(chain[0].item) for part in chain):
                continue
            found = _joined(planned, chain)
            mismatches += found.verdict == "mismatch"
            if found.verdict != "mismatch" or mismatches >= _MISMATCHES_MAX:
                return attempt, found
        return ATTEMPTS_MAX, SavedFile(planned, planned, reason="download-failed")

    def _of(self, planned: DriveItem) -> list[SavedPart]:
        wanted = version(planned)
        return [part for part in self._saved.get(planned.id, ()) if version(part.planned) == wanted]

    def _chain(self, planned: DriveItem, attempt: int) -> tuple[list[SavedPart], list[tuple[int, int | None]]]:
        """Parts that follow each other, and the gaps between them; a gap without an end goes to the content's own."""
        by_start: dict[int, list[SavedPart]] = defaultdict(list)
        for part in self._of(planned):
            if part.attempt == attempt and not part.reason and self._stored(part.content):
                by_start[part.start].append(part)
        chain: list[SavedPart] = []
        gaps: list[tuple[int, int | None]] = []
        position = 0
        for start in sorted(by_start):
            if start < position:
                continue  # an overlap: a part that somebody else has fetched, too, and cut elsewhere
            if start > position:
                gaps.append((position, start))
            # Of several the one that leads furthest; of equal ones any: their bytes are the same.
            chain.append(max(by_start[start], key=lambda part: (part.at_end, part.length)))
            position = start + chain[-1].length
            if chain[-1].at_end:
                return chain, gaps
        return chain, [*gaps, (position, None)]


def _cut(attempt: int, start: int, stop: int | None, size: int) -> Iterator[Range]:
    """The last part has no end: what Microsoft reports as the size is sometimes wrong, and what is delivered counts."""
    limit = size if stop is None else stop
    while start + PART_BYTES < limit:
        yield Range(attempt, start, start + PART_BYTES)
        start += PART_BYTES
    yield Range(attempt, start, stop)


def _joined(planned: DriveItem, chain: list[SavedPart]) -> SavedFile:
    item, whole = chain[0].item, QuickXorHash()
    for part in chain:
        whole.append(part.row, part.length)
    size = sum(part.length for part in chain)
    content = [chunk for part in chain for chunk in part.content]
    if size != item.size:
        return SavedFile(planned, item, content, size, "mismatch", "size-mismatch")
    if not item.quickxor:
        return SavedFile(planned, item, content, size, "unverifiable")
    if whole.base64() != item.quickxor:
        return SavedFile(planned, item, content, size, "mismatch", "hash-mismatch")
    return SavedFile(planned, item, content, size, "verified")
