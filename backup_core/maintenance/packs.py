"""Whether the packs are there, as long as the index says, and, where asked, whether every byte is right.

It knows nothing of files; it tells which blobs are lost, and `trees.py` whom that hits.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from backup_core.errors import Damaged, NotFound
from backup_core.maintenance.report import CheckReport, Finding
from backup_core.repository import layout
from backup_core.repository.blobs import LoadedIndex, Place
from backup_core.repository.crypto import OVERHEAD
from backup_core.repository.pack import Pack, PackedBlob, open_blob, read_header
from backup_core.repository.repository import Repository

_READERS = 2  # each holds a whole pack, 32 MiB on Azure, and more for the tree of a giant folder
_AT_ONCE = 16  # packs that are handed out together
_LENGTH_BYTES, _PLAIN_ENTRY, _COMPRESSED_ENTRY = 4, 37, 41  # of a pack's header
_REMEDY = (
    "Bring the pack back from a copy of the repository. Without one, run `restic rebuild-index` and then a backup:"
    " what is still in OneDrive is stored again, and older snapshots stay without the content that is lost."
)

AdvanceBytes = Callable[[int], None]


class Sample(NamedTuple):
    """How much is read whole; with every new seed other packs, so that repeated checks come round to all of them."""

    share: float  # 0 for nothing, 1 for all
    seed: str

    def of(self, pack_ids: Iterable[str]) -> set[str]:
        """At least one, unless nothing is to be read."""
        drawn = sorted(pack_ids, key=lambda pack_id: hashlib.sha256(f"{self.seed}{pack_id}".encode()).digest())
        return set(drawn[: math.ceil(self.share * len(drawn))])


class Losses:
    """Which blobs can no longer be had, wherever they are stored."""

    def __init__(self, index: LoadedIndex) -> None:
        self._index = index
        self._bad: set[tuple[bytes, int]] = set()  # pack and offset

    def add(self, pack: Pack, blobs: Iterable[PackedBlob]) -> None:
        self._bad.update((pack.id, blob.offset) for blob in blobs)

    def why_lost(self, blob_id: bytes, tree: bool) -> str:
        """In words; "" where a whole copy is left."""
        if not self._bad:
            return "" if (blob_id, tree) in self._index else "It is in no index."
        places = self._index.copies(blob_id, tree)
        if not places:
            return "It is in no index."
        if all((place.pack, place.offset) in self._bad for place in places):
            return f"It is lost with {_name(places[0])}."
        return ""


def check_packs(
    repository: Repository, index: LoadedIndex, report: CheckReport, sample: Sample, advance: AdvanceBytes
) -> Losses:
    """Compare the index with the listing, and read a sample of the packs."""
    losses = Losses(index)
    sizes = {layout.last_part(stored.name): stored.size for stored in repository.store.list(layout.DATA)}
    to_read = sample.of(sizes)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="check") as threads:
        packs = _present(index, sizes, report, losses)
        while some := list(islice(packs, _AT_ONCE)):
            chosen = [pack for pack in some if pack.id.hex() in to_read]
            for pack, (problems, bad) in zip(
                chosen, threads.map(lambda pack: _read_pack(repository, pack), chosen), strict=True
            ):
                report.packs_read += 1
                report.bytes_read += sizes[pack.id.hex()]
                advance(sizes[pack.id.hex()])
                _report(report, losses, pack, problems, bad)
    unknown = len(sizes) - report.packs
    if unknown > 0:
        report.notes.append(
            f"{unknown} packs are in no index: what a run that was killed has stored. `restic prune` frees the space."
        )
    return losses


def _present(index: LoadedIndex, sizes: dict[str, int], report: CheckReport, losses: Losses) -> Iterator[Pack]:
    """The packs that are there. Where the listing and the index disagree, that is reported on the way."""
    for pack in index.packs():
        size = sizes.get(pack.id.hex())
        if size is None:
            _report(report, losses, pack, ["The pack is missing."], pack.blobs)
            continue
        report.packs += 1
        expected = _expected_size(pack)
        if expected is None:
            _report(report, losses, pack, ["The index lists blobs that overlap or leave gaps."], ())
        elif size != expected:
            # Those that still lie within the pack may be whole: reading them decides.
            cut = [blob for blob in pack.blobs if blob.offset + blob.length > size]
            _report(report, losses, pack, [f"The pack has {size} bytes, and by the index {expected}."], cut)
        yield pack


def _expected_size(pack: Pack) -> int | None:
    """Of a pack with exactly these blobs; None where they cannot be all there is."""
    end = 0
    for blob in pack.blobs:
        if blob.offset != end:
            return None
        end += blob.length
    entries = sum(_COMPRESSED_ENTRY if blob.raw_length else _PLAIN_ENTRY for blob in pack.blobs)
    return end + entries + OVERHEAD + _LENGTH_BYTES


def _read_pack(repository: Repository, pack: Pack) -> tuple[list[str], list[PackedBlob]]:
    """What is wrong with a pack, and which of its blobs are."""
    try:
        data = memoryview(repository.store.get(layout.pack_name(pack.id.hex())))
    except NotFound:
        return ["The pack is gone since it was listed."], pack.blobs
    problems = []
    if hashlib.sha256(data).digest() != pack.id:
        problems.append("Its bytes do not fit its name.")
    try:
        if set(read_header(repository.keys, data, len(data))) != set(pack.blobs):
            problems.append("Its header differs from the index.")
    except Damaged as error:
        problems.append(error.what)
    bad = [blob for blob in pack.blobs if not _is_whole(repository, data, blob)]
    if bad:
        problems.append(f"{len(bad)} of its {len(pack.blobs)} blobs are damaged.")
    return problems, bad


def _is_whole(repository: Repository, data: memoryview, blob: PackedBlob) -> bool:
    try:
        plain = open_blob(repository.keys, data[blob.offset : blob.offset + blob.length], blob.raw_length)
    except Damaged:
        return False
    return hashlib.sha256(plain).digest() == blob.id


def _report(report: CheckReport, losses: Losses, pack: Pack, problems: list[str], bad: Iterable[PackedBlob]) -> None:
    losses.add(pack, bad)
    if problems:
        name = layout.pack_name(pack.id.hex())
        report.findings.append(Finding(f"{name}: {' '.join(problems)}", _REMEDY, name=name))


def _name(place: Place) -> str:
    return layout.pack_name(place.pack.hex())
