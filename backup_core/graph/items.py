"""A drive item as the backup needs it, and how Graph's JSON becomes one."""

import datetime
import re
from typing import Any, Literal

import msgspec

Kind = Literal["file", "folder", "package", "remote", "deleted", "unknown"]

# What a feed or a listing is asked for. `deleted` must be among it, or tombstones look like nameless live items.
# Download links are left out on purpose: they expire within the hour, and whoever downloads asks for a fresh one.
SELECT = (
    "id,name,size,eTag,file,folder,package,root,deleted,malware,remoteItem,bundle,"
    "parentReference,fileSystemInfo,createdDateTime,lastModifiedDateTime"
)

_NO_HASH = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="  # said of empty files and left over in tombstones
_NUMBER_MAX = (1 << 63) - 1  # what msgpack, restic and every file system can hold
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# Business ids are case-sensitive and never match: a drive's begins with "b!", an item's has 34 characters and no "!".
_PERSONAL_ID = re.compile(r"([0-9a-f]{8,16})(![0-9a-z.]+)?", re.IGNORECASE | re.ASCII)
_DRIVE_PART_CHARACTERS = 16


class DriveItem(msgspec.Struct, frozen=True, array_like=True):
    """What a feed, a listing or a single request says of one item. Ids are normalised (see `normal_id`).

    A `package` (a OneNote notebook, an album) is a folder for whoever builds a tree: its children are ordinary items.
    A `remote` item is a link into somebody else's drive. `unknown` has none of the facets that we know, or is a file
    without a usable size; an item without an id is `unknown` with id "".
    """

    id: str
    parent: str = ""  # id of the parent; "" where Graph names none (a root, some tombstones)
    name: str = ""  # as Graph has it; may be missing in a tombstone
    kind: Kind = "file"
    size: int = 0  # bytes, as reported
    quickxor: str = ""  # base64 as reported; "" where there is none, and for the all-zero one of an empty file
    etag: str = ""
    modified: int = 0  # fileSystemInfo.lastModifiedDateTime, nanoseconds since 1970 UTC
    created: int = 0  # fileSystemInfo.createdDateTime, nanoseconds since 1970 UTC
    malware: bool = False
    root: bool = False


def parse_item(json: Any) -> DriveItem:
    """Never fails: what makes no sense is left out, and an item that cannot be backed up for it is `unknown`."""
    facts = _object(json)
    kind = _kind(facts)
    size = _size(facts)
    if kind == "file" and size is None:
        kind = "unknown"  # taken for empty, its content would never be fetched
    return DriveItem(
        id=normal_id(_text(facts, "id")),
        parent=normal_id(_text(_object(facts.get("parentReference")), "id")),
        name=_text(facts, "name"),
        kind=kind,
        size=size or 0,
        quickxor=_quickxor(facts) if kind == "file" else "",
        etag=_text(facts, "eTag"),
        modified=_time(facts, "lastModifiedDateTime"),
        created=_time(facts, "createdDateTime"),
        malware=facts.get("malware") is not None,
        root=facts.get("root") is not None,
    )


def normal_id(graph_id: str) -> str:
    """One spelling of each id: Graph changes the case of a personal id and drops leading zeros of its drive's part."""
    match = _PERSONAL_ID.fullmatch(graph_id)
    if not match:
        return graph_id
    drive, item = match.groups()
    return drive.lower().zfill(_DRIVE_PART_CHARACTERS) + (item or "").lower()


def _kind(facts: dict[str, Any]) -> Kind:
    """The order matters: a tombstone may carry a leftover `file`, a notebook is `folder` and `package` at once."""
    named: tuple[tuple[str, Kind], ...] = (
        ("deleted", "deleted"),
        ("remoteItem", "remote"),
        ("package", "package"),
        ("bundle", "package"),
        ("root", "folder"),
        ("folder", "folder"),
        ("file", "file"),
    )
    if not _text(facts, "id"):
        return "unknown"
    return next((kind for facet, kind in named if facts.get(facet) is not None), "unknown")


def _size(facts: dict[str, Any]) -> int | None:
    size = facts.get("size")
    usable = isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= _NUMBER_MAX
    return size if usable else None


def _quickxor(facts: dict[str, Any]) -> str:
    reported = _text(_object(_object(facts.get("file")).get("hashes")), "quickXorHash")
    return "" if reported == _NO_HASH else reported


def _time(facts: dict[str, Any], name: str) -> int:
    """The time a client gave, else the service's own; 0 where there is none or it is outside 1678 to 2262."""
    text = _text(_object(facts.get("fileSystemInfo")), name) or _text(facts, name)
    whole, dot, fraction = text.removesuffix("Z").partition(".")
    try:
        moment = datetime.datetime.fromisoformat(whole)
        nanoseconds = int(fraction[:9].ljust(9, "0")) if dot else 0
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    since = moment - _EPOCH
    result = (since.days * 86_400 + since.seconds) * 1_000_000_000 + nanoseconds
    return result if abs(result) <= _NUMBER_MAX else 0


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name)
    return value if isinstance(value, str) else ""
