"""What a run leaves behind while it works: plan parts, batches, and what each batch saved.

Everything a step needs to go on lies here, so that any process can take over from one that died. An object is created
only if absent: of two that write the same one, the loser reads and uses the winner's.
"""

from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import msgspec

from backup_core.drive_state.segments import StateDamaged
from backup_core.errors import AlreadyExists, Damaged, Inconsistent, Usage
from backup_core.graph.download import Verdict
from backup_core.graph.items import DriveItem
from backup_core.repository import compression, layout
from backup_core.repository.crypto import Keys
from backup_core.storage.store import Store

FORMAT = "drivekeep-run/1"
OBJECT_BYTES_MAX = 256 << 20  # no object of a run comes near this; a hostile frame would
LEVEL = 1  # these objects are short-lived

Mode = Literal["full", "delta", "resync", "rescan"]
Version = tuple[int, str, str]
Part = TypeVar("Part", "PlanPart", "Batch", "SavedBatch")


class Unplanned(Inconsistent):
    """What a step goes by is not there: somebody has ended this run, or begun it anew. Plan first."""

    reason = "unplanned"

    def __init__(self) -> None:
        super().__init__("The list of changes was not read to its end.")


def version(item: DriveItem) -> Version:
    """Tells two contents of an item apart. The eTag counts only where there is no hash: a rename changes it too."""
    return item.size, item.quickxor, "" if item.quickxor else item.etag


class Basis(msgspec.Struct, frozen=True, array_like=True):
    """What a plan was made for. A run can be taken over only by a run that would start from the very same."""

    source: str
    tree: str  # root tree of the snapshot that the run starts from; "" for none
    generation: int  # of the head that it starts from; 0 for none
    rules: str  # hash of the exclusion rules
    drive: str  # before the first snapshot nothing else tells whose plan it is
    folder: str  # id of the folder taken as the root; "" for the drive's own


class PlanPart(msgspec.Struct, frozen=True, array_like=True):
    """Some pages of the feed, or of a full scan, whose links tell from where the changes since its begin are read."""

    format: str
    basis: Basis
    mode: Mode
    items: list[DriveItem]
    next_link: str = ""  # where the enumeration goes on
    delta_link: str = ""  # the position after the feed's end: the plan is whole
    gone: list[str] = []  # ids of the retry list that are not there any more
    pending: list[str] = []  # ids of the folders that a full scan has still to list


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a planned item stands: part and position in it, both counted from 1 and 0."""

    part: int
    position: int


class Range(msgspec.Struct, frozen=True, array_like=True):
    """Bytes `start` to `stop`, which is not included; without one, to the content's end. Attempts count from 1."""

    attempt: int
    start: int
    stop: int | None


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Files to fetch in one go, by their place in the plan; or one file, of which `range` is fetched."""

    format: str
    places: list[Place]
    range: Range | None = None


class SavedFile(msgspec.Struct, frozen=True, array_like=True):
    """How it went with one file that was planned.

    `item` is what Microsoft said of it when its bytes were fetched, which may be newer than the plan. Where nothing was
    kept, `reason` says why and there is no verdict; a `mismatch` has both.
    """

    planned: DriveItem
    item: DriveItem
    content: list[bytes] = []  # chunk ids
    stored_size: int = 0  # bytes
    verdict: Verdict | None = None
    reason: str = ""

    def settles(self, planned: DriveItem) -> bool:
        """Whether this answers the plan, or the plan asks for another version by now.

        What is newer than its plan answers that very plan only: a later one may ask for the former content again.
        """
        return planned == self.planned or version(planned) == version(self.item)


class SavedPart(msgspec.Struct, frozen=True, array_like=True):
    """How it went with a part of a file. `item` as in SavedFile; `row`: the part's own quickXorHash before its end."""

    planned: DriveItem
    item: DriveItem
    attempt: int
    start: int
    length: int = 0
    at_end: bool = False  # it ends where the content ends
    content: list[bytes] = []
    row: bytes = b""
    reason: str = ""


class SavedBatch(msgspec.Struct, frozen=True, array_like=True):
    """What became of a batch. Files in neither list were not come to: they are cut into batches again."""

    format: str
    files: list[SavedFile]
    indexes: list[str]  # index files that name the batch's packs
    bytes_downloaded: int = 0
    bytes_added: int = 0
    parts: list[SavedPart] = []


class RunLog:
    """The objects of one run, sealed with the repository's keys. On a dry run `store` is not the repository's."""

    def __init__(self, store: Store, keys: Keys, run: str) -> None:
        self.run = run
        self._store, self._keys = store, keys

    @staticmethod
    def attempts(store: Store, base: int) -> list[str]:
        """Names of the runs that started when head `base` was the newest, oldest first."""
        found = {entry.name.split("/")[2] for entry in store.list(layout.RUNS)}
        return sorted(name for name in found if name.startswith(f"{base:012d}-"))

    @staticmethod
    def name(base: int, attempt: int) -> str:
        return f"{base:012d}-{attempt:04d}"

    def numbers(self) -> dict[str, list[int]]:
        """Numbers of the objects that are there, ascending, by kind: `plan`, `batch`, `saved`."""
        found: dict[str, list[int]] = {"plan": [], "batch": [], "saved": []}
        for entry in self._store.list(layout.run_folder(self.run)):
            kind, _, number = entry.name.rsplit("/", 1)[-1].partition("-")
            if kind in found and number.isdigit():
                found[kind].append(int(number))
        return {kind: sorted(numbers) for kind, numbers in found.items()}

    def put_plan(self, number: int, part: PlanPart) -> PlanPart:
        """Gives what is stored under the number: this part, or that of another who was first."""
        return self._put(layout.plan_name(self.run, number), part, PlanPart)

    def put_batch(self, number: int, batch: Batch) -> Batch:
        return self._put(layout.batch_name(self.run, number), batch, Batch)

    def put_saved(self, number: int, saved: SavedBatch) -> SavedBatch:
        return self._put(layout.saved_name(self.run, number), saved, SavedBatch)

    def plan(self, number: int) -> PlanPart:
        return self._get(layout.plan_name(self.run, number), PlanPart)

    def batch(self, number: int) -> Batch:
        return self._get(layout.batch_name(self.run, number), Batch)

    def saved(self, number: int) -> SavedBatch:
        return self._get(layout.saved_name(self.run, number), SavedBatch)

    def plan_parts(self) -> Iterator[tuple[int, PlanPart]]:
        """Every part in order. StateDamaged where one is missing: items would be lost in silence."""
        for expected, number in enumerate(self.numbers()["plan"], 1):
            if number != expected:
                raise StateDamaged(f"{layout.plan_name(self.run, expected)} is missing.")
            yield number, self.plan(number)

    def _put(self, name: str, value: Part, kind: type[Part]) -> Part:
        sealed = self._keys.seal(compression.compress(msgspec.msgpack.encode(value), LEVEL))
        try:
            self._store.put_new(name, sealed)
        except AlreadyExists:
            return self._get(name, kind)
        return value

    def _get(self, name: str, kind: type[Part]) -> Part:
        try:
            packed = self._keys.open(self._store.get(name))
            value: Any = msgspec.msgpack.decode(compression.decompress(packed, OBJECT_BYTES_MAX), type=kind)
        except (Damaged, msgspec.MsgspecError) as error:
            raise StateDamaged(f"{name} does not hold what a run wrote there.") from error
        if value.format != FORMAT:
            raise Usage(
                "An unfinished backup of this drive was begun by another version of drivekeep.",
                why=f"Its records have the format {value.format!r}, and this version knows {FORMAT!r}.",
                remedy="Use the newer drivekeep.",
                reason="newer-format",
            )
        result: Part = value
        return result
