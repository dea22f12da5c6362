"""One entry of a folder: what restic knows of a file or folder, and beside it what OneDrive knows.

Nodes are encoded byte for byte as Go encodes them: `restic rewrite` decodes and encodes every tree and refuses the
snapshot where an id changes. This file does not know the other nodes of a folder (`tree.py`).

What OneDrive knows lies in extended attributes, as few as will do, for a folder of 50,000 files is one object:

    user.drivekeep.id           id of the drive item
    user.drivekeep.quickxor     quickXorHash as Microsoft reports it
    user.drivekeep.size         size as Microsoft reports it, only where it differs from what is stored
    user.drivekeep.etag         eTag, only of a file with content and without a hash
    user.drivekeep.verdict      `unverifiable` or `mismatch`; a file without it was verified
    user.drivekeep.name         true name, only where the stored one differs

and on the one top folder, since a tree outlives what restic drops from snapshots: `source`, `account`, `drive`, `root`
(of a folder taken as the root), `suspicious` and `incomplete` (how many items failed), the last three only where set.
"""

import binascii
from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

from backup_core.errors import DrivekeepError
from backup_core.repository import go_json
from backup_core.repository.names import stored_name, true_name

Verdict = Literal["verified", "unverifiable", "mismatch"]

FILE_MODE = 0o644
FOLDER_MODE = 0o755 | 1 << 31  # Go's bit for a folder
VALUES_MAX = 3 << 10  # bytes of all values of a node: file systems refuse little more, newer restic then exits 1

_PREFIX = "user.drivekeep."
ID = _PREFIX + "id"
_QUICKXOR, _SIZE, _ETAG, _VERDICT, NAME = (_PREFIX + each for each in ("quickxor", "size", "etag", "verdict", "name"))
_SOURCE, _ACCOUNT, _DRIVE, _ROOT = (_PREFIX + each for each in ("source", "account", "drive", "root"))
_SUSPICIOUS, _INCOMPLETE = _PREFIX + "suspicious", _PREFIX + "incomplete"

_NO_TIME = "0001-01-01T00:00:00Z"  # Go's zero
_NOTHING = msgspec.Raw()


class ItemFacts(Protocol):
    """What a node needs of a drive item. Ids are normalised, times are nanoseconds since 1970."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def quickxor(self) -> str: ...
    @property
    def etag(self) -> str: ...
    @property
    def modified(self) -> int: ...
    @property
    def created(self) -> int: ...


class Origin(msgspec.Struct, frozen=True):
    """Whose drive a snapshot holds, and how the run that made it went: the attributes of the top folder."""

    source: str  # onedrive or onedrive-changes
    account: str
    drive: str
    root: str = ""  # path of the folder taken as the root; "" for the whole drive
    suspicious: bool = False
    incomplete: int = 0  # items that failed


class Attribute(msgspec.Struct, frozen=True, gc=False):
    name: str
    value: bytes | None  # base64 in JSON


class Node(msgspec.Struct, kw_only=True, rename={"quoted": "name"}):
    """All of restic's fields in restic's order, so that nodes which restic made survive as well.

    `inode`, `device_id` and `links` are never set by us: restic would take files of equal numbers for hard links of
    each other and leave all but one out of a restore.
    """

    quoted: str  # in the spelling of Go's strconv.Quote
    type: str
    mode: int = 0
    mtime: str = _NO_TIME
    atime: str = _NO_TIME
    ctime: str = _NO_TIME
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    inode: int = 0
    device_id: int = 0
    size: int = 0  # bytes of the content as stored
    links: int = 0
    linktarget: str = ""
    linktarget_raw: bytes | None = None
    extended_attributes: list[Attribute] = []
    generic_attributes: msgspec.Raw = _NOTHING
    device: int = 0
    content: list[str] | None = None  # ids of the chunks, in hex
    subtree: str | None = None  # id of a folder's tree, in hex
    error: str = ""

    @property
    def name(self) -> str:
        """As restic restores it."""
        return go_json.unquote(self.quoted)

    @property
    def true_name(self) -> str:
        """As OneDrive has it. May hold lone surrogates, which cannot be printed as they are."""
        value = self._value(NAME)
        return self.name if value is None else value.decode("utf-8", "surrogatepass")

    @property
    def item_id(self) -> str:
        """ "" for a node that stock restic made."""
        return self._text(ID)

    @property
    def quickxor(self) -> str:
        return self._text(_QUICKXOR)

    @property
    def etag(self) -> str:
        return self._text(_ETAG)

    @property
    def reported_size(self) -> int:
        """What Microsoft said; `size` is what came."""
        return _number(self._text(_SIZE), self.size)

    @property
    def verdict(self) -> Verdict | None:
        """None for a folder, and for a node that stock restic made."""
        if self.type != "file" or not self.item_id:
            return None
        text = self._text(_VERDICT)
        if text == "mismatch":
            return "mismatch"
        return "unverifiable" if text else "verified"

    @property
    def modified(self) -> int:
        """Nanoseconds since 1970. ValueError where a foreign node has no RFC 3339 time."""
        return go_json.time_nanoseconds(self.mtime)

    @property
    def created(self) -> int:
        """Nanoseconds since 1970; of a node that stock restic made, the time of its last change of any kind."""
        return go_json.time_nanoseconds(self.ctime)

    @property
    def origin(self) -> Origin | None:
        """None for all but a top folder."""
        if self._value(_DRIVE) is None:
            return None
        return Origin(
            source=self._text(_SOURCE),
            account=self._text(_ACCOUNT),
            drive=self._text(_DRIVE),
            root=self._text(_ROOT),
            suspicious=bool(self._text(_SUSPICIOUS)),
            incomplete=_number(self._text(_INCOMPLETE), 0),
        )

    def _text(self, name: str) -> str:
        return (self._value(name) or b"").decode("utf-8", "surrogatepass")

    def _value(self, name: str) -> bytes | None:
        for each in self.extended_attributes:
            if each.name == name:
                return each.value or b""
        return None


def file_node(
    item: ItemFacts, content: Iterable[bytes | str], stored_size: int, verdict: Verdict = "verified"
) -> bytes:
    """A file, encoded. `content`: ids of its chunks; `stored_size`: the bytes in them.

    DrivekeepError (`invalid-item`) where `is_storable` says no.
    """
    facts = [(_QUICKXOR, item.quickxor)] if item.quickxor else []
    if item.size != stored_size:
        facts.append((_SIZE, str(item.size)))
    if item.etag and item.size and not item.quickxor:
        facts.append((_ETAG, item.etag))
    if verdict != "verified":
        facts.append((_VERDICT, verdict))
    node = _node(item, item.name, facts)
    node.type, node.mode, node.size = "file", FILE_MODE, stored_size
    node.content = [each if isinstance(each, str) else each.hex() for each in content]
    return encode_node(node)


def folder_node(item: ItemFacts, subtree: str) -> bytes:
    """A folder, encoded. `subtree`: id of its tree, in hex. DrivekeepError (`invalid-item`)."""
    return _folder(item, item.name, [], subtree)


def top_node(item: ItemFacts, drive_name: str, subtree: str, origin: Origin) -> bytes:
    """The one folder of a snapshot's root tree, encoded. `item`: the drive's root, or the folder taken as the root."""
    facts = [(_SOURCE, origin.source), (_ACCOUNT, origin.account), (_DRIVE, origin.drive)]
    if origin.root:
        facts.append((_ROOT, origin.root))
    if origin.suspicious:
        facts.append((_SUSPICIOUS, "true"))
    if origin.incomplete:
        facts.append((_INCOMPLETE, str(origin.incomplete)))
    return _folder(item, drive_name, facts, subtree)


def is_storable(item: ItemFacts) -> bool:
    """Whether a node can say what is to be said of an item; no item of OneDrive's own is refused."""
    longest = (
        len(_bytes(item.id)) + len(_bytes(item.etag)) + len(_bytes(item.quickxor)) + len(_bytes(true_name(item.name)))
    )
    return bool(item.id) and longest <= VALUES_MAX - 64  # room for a size and a verdict


def renamed(node: bytes, stored: str) -> bytes:
    """The encoded node under another stored name; its true name stays what it was."""
    changed = decode_node(node)
    true = changed.true_name
    changed.quoted = go_json.quote(stored)
    changed.extended_attributes = [each for each in changed.extended_attributes if each.name != NAME]
    if stored != true:
        changed.extended_attributes.append(Attribute(NAME, _bytes(true)))
    return encode_node(changed)


def decode_node(encoded: bytes | msgspec.Raw) -> Node:
    """msgspec.MsgspecError where it is none."""
    return _decode(encoded)


def encode_node(node: Node) -> bytes:
    """Byte for byte as Go would: restic's order, empty fields left out but `content`, the times and the owner's ids."""
    mode = f',"mode":{node.mode}' if node.mode else ""
    size = f',"size":{node.size}' if node.size else ""
    content = "null" if node.content is None else f"[{_listed(node.content)}]"
    subtree = f',"subtree":"{node.subtree}"' if node.subtree else ""
    attributes = _attributes(node.extended_attributes) if node.extended_attributes else ""
    owner, links, device = _rare_fields(node) if _has_rare_fields(node) else ("", "", "")
    error = f',"error":{go_json.json_string(node.error)}' if node.error else ""
    return (
        f'{{"name":{go_json.json_string(node.quoted)},"type":{go_json.json_string(node.type)}{mode}'
        f',"mtime":"{node.mtime}","atime":"{node.atime}","ctime":"{node.ctime}","uid":{node.uid},"gid":{node.gid}'
        f'{owner}{size}{links}{attributes}{device},"content":{content}{subtree}{error}}}'
    ).encode()


def _folder(item: ItemFacts, name: str, facts: list[tuple[str, str]], subtree: str) -> bytes:
    node = _node(item, name, facts)
    node.type, node.mode, node.subtree = "dir", FOLDER_MODE, subtree
    return encode_node(node)


def _node(item: ItemFacts, name: str, facts: list[tuple[str, str]]) -> Node:
    stored, true = stored_name(name), true_name(name)
    attributes = [Attribute(ID, _bytes(item.id)), *(Attribute(each, _bytes(value)) for each, value in facts)]
    if stored != true:
        attributes.append(Attribute(NAME, _bytes(true)))
    if not item.id or sum([len(each.value or b"") for each in attributes]) > VALUES_MAX:
        raise DrivekeepError(
            "An item of the drive cannot be described in a snapshot.",
            why="It has no id, or longer names and marks than OneDrive gives to anything.",
            reason="invalid-item",
        )
    modified = go_json.time_text(item.modified)
    return Node(
        quoted=go_json.quote(stored),
        type="",
        mtime=modified,
        atime=modified,
        ctime=modified if item.created == item.modified else go_json.time_text(item.created),
        extended_attributes=attributes,
    )


def _has_rare_fields(node: Node) -> bool:
    return bool(
        node.user
        or node.group
        or node.inode
        or node.device_id
        or node.links
        or node.linktarget
        or node.linktarget_raw
        or node.device
        or node.generic_attributes
    )


def _rare_fields(node: Node) -> tuple[str, str, str]:
    """Fields that only restic's own nodes have: those before the size, after it, and after the attributes."""
    text = go_json.json_string
    owner = "".join(f',"{name}":{text(value)}' for name, value in (("user", node.user), ("group", node.group)) if value)
    owner += "".join(
        f',"{name}":{value}' for name, value in (("inode", node.inode), ("device_id", node.device_id)) if value
    )
    links = f',"links":{node.links}' if node.links else ""
    links += f',"linktarget":{text(node.linktarget)}' if node.linktarget else ""
    links += f',"linktarget_raw":"{_base64(node.linktarget_raw)}"' if node.linktarget_raw else ""
    generic = bytes(node.generic_attributes).decode()
    device = f',"generic_attributes":{generic}' if generic else ""
    return owner, links, device + (f',"device":{node.device}' if node.device else "")


def _attributes(attributes: list[Attribute]) -> str:
    rows = [
        f'{{"name":{go_json.json_string(each.name)},"value":null}}'
        if each.value is None
        else f'{{"name":{go_json.json_string(each.name)},"value":"{_base64(each.value)}"}}'
        for each in attributes
    ]
    return f',"extended_attributes":[{",".join(rows)}]'


def _listed(ids: list[str]) -> str:
    return '"' + '","'.join(ids) + '"' if ids else ""


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() else otherwise


_decode = msgspec.json.Decoder(Node).decode
