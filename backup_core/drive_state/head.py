"""The head: everything small of a drive's state, as one sealed object per run, numbered and created only if absent.

There is no mutable pointer. The newest head that describes an existing snapshot is the state; the one before it is the
way back. Reading and choosing; `state.py` makes the next one.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from backup_core.drive_state.paged_map import SavedMap
from backup_core.errors import AlreadyExists, Damaged, NotFound, Usage
from backup_core.repository import compression
from backup_core.repository.crypto import Keys
from backup_core.repository.layout import HEADS, head_name, last_part
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, load_snapshots

FORMAT = "drivekeep-state/1"
HEAD_BYTES_MAX = 256 << 20  # unpacked; the head of 10,000,000 items would have some 3 MiB
_LEVEL = 3


class Totals(msgspec.Struct, frozen=True, array_like=True):
    """What a snapshot holds."""

    files: int = 0
    folders: int = 0
    bytes: int = 0


class Retry(msgspec.Struct, frozen=True, array_like=True):
    """An item that could not be had."""

    reason: str
    tries: int = 1  # runs that tried in vain


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The drive at one snapshot. It holds ids and a link that opens the feed: never print its fields."""

    format: str = FORMAT
    generation: int = 0  # the number in the object's name
    repository: str = ""  # id in the repository's config
    snapshot: str = ""
    tree: str = ""  # the snapshot's root tree
    drive: str = ""  # id of the drive
    root: str = ""  # id of the item taken as the root
    root_path: str = ""  # "" for the whole drive
    root_key: bytes = b""  # key of that item
    source: str = ""  # of the run that made the snapshot: onedrive or onedrive-changes
    mode: str = ""  # of that run: full, delta, resync or rescan
    totals: Totals = Totals()
    delta_link: str = ""
    rules: str = ""  # hash of the exclusion rules
    indexes: list[bytes] = []  # ids of the index files that `trees` and `data` cover, 32 bytes each
    retry: dict[str, Retry] = {}  # by item id; empty where `retry_place` is set
    retry_place: tuple[int, int, int] | None = None  # of a long retry list, in a segment
    segments: list[bytes] = []  # ids of the segments that are used; leaves name them by position
    maps: dict[str, SavedMap] = {}

    def __repr__(self) -> str:
        return f"Head(generation={self.generation}, snapshot={self.snapshot[:8]!r})"


class Chosen(NamedTuple):
    head: Head | None  # None: the drive must be enumerated
    newest: int  # number of the newest head there is, of use or not; 0 for none. The next head has the number after it


class _Format(msgspec.Struct):
    format: str


def save_head(repository: Repository, head: Head) -> None:
    """Make it the newest. AlreadyExists where another run was first, naming that run's snapshot."""
    name = head_name(head.generation)
    packed = compression.compress(msgspec.msgpack.encode(head), _LEVEL)
    try:
        repository.store.put_new(name, repository.keys.seal(packed))
    except AlreadyExists as error:
        theirs = _open(repository.keys, repository.store.get(name))
        if theirs == head:
            return  # our own earlier try, whose reply was lost
        raise AlreadyExists(
            "Another run has committed its backup of this drive first.",
            why=f"It made snapshot {theirs.snapshot[:8]}, and this run started from the state before that.",
            remedy="Nothing is lost. Run the backup again to continue from the newer state.",
        ) from error


def choose_head(
    repository: Repository, snapshots: Iterable[Snapshot] | None = None, *, before: int | None = None
) -> Chosen:
    """The newest head that opens, belongs here, and whose tree is the tree of some existing snapshot.

    `snapshots`: those that are loaded already; without them all are read, but only where ids alone do not settle it.
    `before`: only heads with a lower number, where that one turned out to be damaged.
    A head whose snapshot has got another id (`restic tag` and `rewrite` do that) is given with the new id.
    Usage (`newer-format`) where a newer drivekeep has written: to ignore that would be to go back in time.
    """
    numbers = sorted(_numbers(repository), reverse=True)
    newest = numbers[0] if numbers else 0
    ids: set[str] | None = None
    by_tree: dict[str, str] | None = None
    for number in numbers:
        if before is not None and number >= before:
            continue
        head = _usable(repository, number)
        if head is None:
            continue
        ids = ids if ids is not None else set(repository.ids("snapshots"))
        if head.snapshot in ids:
            return Chosen(head, newest)
        by_tree = by_tree if by_tree is not None else _by_tree(repository, snapshots)
        if head.tree in by_tree:
            return Chosen(msgspec.structs.replace(head, snapshot=by_tree[head.tree]), newest)
    return Chosen(None, newest)


def named_segments(repository: Repository, numbers: Iterable[int]) -> set[str] | None:
    """Ids of the segments that heads of these numbers use; None where one of them cannot be read."""
    named: set[str] = set()
    for number in numbers:
        head = _usable(repository, number)
        if head is None:
            return None
        named.update(segment.hex() for segment in head.segments)
    return named


def _numbers(repository: Repository) -> list[int]:
    names = (last_part(stored.name) for stored in repository.store.list(HEADS))
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def _by_tree(repository: Repository, snapshots: Iterable[Snapshot] | None) -> dict[str, str]:
    """Tree -> id of the latest snapshot with that tree. A damaged snapshot can be the tree of none."""
    if snapshots is None:
        snapshots = load_snapshots(repository, on_damage=lambda _id, _error: None)
    return {each.tree: each.id for each in snapshots}


def _usable(repository: Repository, number: int) -> Head | None:
    """None for a head that is gone, damaged, or was written for another number or repository."""
    try:
        head = _open(repository.keys, repository.store.get(head_name(number)))
    except (Damaged, NotFound):
        return None
    return head if head.generation == number and head.repository == repository.id else None


def _open(keys: Keys, sealed: bytes) -> Head:
    """Damaged; Usage (`newer-format`)."""
    plain = compression.decompress(keys.open(sealed), HEAD_BYTES_MAX)
    try:
        written = msgspec.msgpack.decode(plain, type=_Format).format
        if written == FORMAT:
            return msgspec.msgpack.decode(plain, type=Head)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Damaged("A head of the drive state is not what was written.") from error
    raise Usage(
        "The state of this drive was written by another version of drivekeep.",
        why=f"Its format is {written!r}, and this version knows {FORMAT!r}.",
        remedy="Use the newer drivekeep.",
        reason="newer-format",
    )
