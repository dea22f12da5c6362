"""One folder as restic stores it, edited by the ids of its items and written the same whatever the way there.

It knows nothing of packs or of other folders. What an entry says is the matter of `node.py`.

**Who gets a name.** Every item claims the stored form of its true name. Of several that claim one name, the item with
the lowest key gets it, the others become `name (item id)`, and keep their true name beside it. Nothing of this depends
on the order of edits: names are settled when the tree is looked at as a whole, from the claims alone. Nodes that stock
restic made carry no item id; they keep the name they have, and can neither be edited nor lost here.
"""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec
import xxhash

from backup_core.errors import Damaged
from backup_core.repository import go_json
from backup_core.repository.names import contested_name, stored_name
from backup_core.repository.node import (
    ID,
    NAME,
    Attribute,
    ItemFacts,
    Node,
    Origin,
    Verdict,
    decode_node,
    encode_node,
    file_node,
    folder_node,
    is_storable,
    renamed,
    top_node,
)

__all__ = [
    "ItemFacts",
    "Node",
    "Origin",
    "Tree",
    "Verdict",
    "decode_node",
    "encode_node",
    "file_node",
    "folder_node",
    "is_storable",
    "item_key",
    "top_node",
    "tree_id",
]

_PART_NODES = 256  # nodes in one part: some 100 KiB of JSON
_STRANGER = b""  # stands for the owner of a name that no item may take; lower than any key


def item_key(item_id: str) -> bytes:
    """16 bytes that stand for a drive item. A fast hash will do: nobody gains from two ids that collide."""
    return xxhash.xxh3_128_digest(item_id.encode("utf-8", "surrogatepass"))


def tree_id(parts: Iterable[bytes]) -> str:
    """The id, in hex, of the tree that is the parts together."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


class _Mark(msgspec.Struct, gc=False):
    """The part of a node that tells which item it is."""

    quoted: str = msgspec.field(name="name")
    extended_attributes: list[Attribute] = []


class _Nodes(msgspec.Struct):
    nodes: list[msgspec.Raw] | None


_decode_nodes = msgspec.json.Decoder(_Nodes).decode
_decode_mark = msgspec.json.Decoder(_Mark).decode


class Tree:
    """A folder. Nodes stay encoded; only those that are touched are decoded. Not for several threads at once."""

    def __init__(self) -> None:
        self._nodes: dict[bytes, bytes | msgspec.Raw] = {}  # item key -> encoded node
        self._claims: dict[bytes, str] = {}  # item key -> the name that the item would have
        self._misnamed: set[bytes] = set()  # keys whose encoded node bears another name than the claimed one
        self._strangers: list[tuple[str, bytes | msgspec.Raw]] = []
        self._before: dict[bytes, bytes | None] = {}  # the nodes that were touched, as they came
        self._settled: dict[str, bytes] | None = {}  # name -> key; None: must be found anew

    @classmethod
    def parse(cls, data: bytes) -> "Tree":
        """A tree as stored. Damaged where it is none."""
        tree = cls()
        tree._settled = None
        try:
            for raw in _decode_nodes(data).nodes or ():
                tree._take(raw)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise _not_a_tree(error) from error
        return tree

    def __len__(self) -> int:
        return len(self._nodes) + len(self._strangers)

    def __contains__(self, key: bytes) -> bool:
        return key in self._nodes

    def find(self, key: bytes) -> Node | None:
        """The node of an item. Its stored name may still change with further edits, its true name does not."""
        raw = self._nodes.get(key)
        return None if raw is None else _decoded(raw)

    def encoded(self, key: bytes) -> bytes | None:
        """As `find`, not decoded."""
        raw = self._nodes.get(key)
        return None if raw is None else bytes(raw)

    def remove(self, key: bytes) -> None:
        """Take an item out; one that is not there is no error."""
        if key in self._nodes:
            self._touch(key)
            del self._nodes[key], self._claims[key]
            self._misnamed.discard(key)

    def insert(self, key: bytes, node: bytes, name: str) -> None:
        """Put an item in, in place of its former node if it has one. `name`: the true one, as `node` has it."""
        self._touch(key)
        self._nodes[key] = node
        self._claims[key] = claim = stored_name(name)
        if node.startswith(f'{{"name":{go_json.json_string(go_json.quote(claim))},'.encode()):
            self._misnamed.discard(key)
        else:
            self._misnamed.add(key)  # taken from a tree in which another item had the name

    def set_subtree(self, key: bytes, subtree: str) -> None:
        """Let a folder that is here name another tree (an id in hex). KeyError."""
        node = _decoded(self._nodes[key])
        node.subtree = subtree
        self._touch(key)
        self._nodes[key] = encode_node(node)

    def changed(self) -> bool:
        """Whether any byte would be written differently from what was parsed."""
        self._settle()
        return any(self.encoded(key) != before for key, before in self._before.items())

    def nodes(self) -> Iterator[tuple[bytes | None, Node]]:
        """All entries, by stored name: item key (None for a node that stock restic made) and node."""
        for key, raw in self._in_order():
            yield key or None, _decoded(raw)

    def parts(self) -> Iterator[bytes]:
        """The tree as it is stored, in pieces, so that a giant folder need not be joined into one string."""
        rows: list[bytes | msgspec.Raw] = []
        opening = b'{"nodes":['
        for _, raw in self._in_order():
            rows.append(raw)
            if len(rows) == _PART_NODES:
                yield opening + b",".join(rows)
                rows, opening = [], b","
        yield (opening if rows or opening != b"," else b"") + b",".join(rows) + b"]}\n"

    def _take(self, raw: msgspec.Raw) -> None:
        mark = _decode_mark(raw)
        name, key, true_name = go_json.unquote(mark.quoted), None, None
        for each in mark.extended_attributes:
            if each.name == ID and each.value:
                key = xxhash.xxh3_128_digest(each.value)
            elif each.name == NAME and each.value is not None:
                true_name = each.value.decode("utf-8", "surrogatepass")
        if key is None or key in self._nodes:  # a second node of one item is nobody's work of ours: kept as it is
            self._strangers.append((name, raw))
            return
        self._nodes[key] = raw
        self._claims[key] = claim = name if true_name is None else stored_name(true_name)
        if claim != name:
            self._misnamed.add(key)

    def _touch(self, key: bytes) -> None:
        self._before.setdefault(key, self.encoded(key))
        self._settled = None

    def _settle(self) -> dict[str, bytes]:
        """Give every item its name, as the claims have it now, and encode the nodes so. Name -> key."""
        if self._settled is not None:
            return self._settled
        owners = dict.fromkeys((name for name, _ in self._strangers), _STRANGER)
        losers: list[bytes] = []
        for key, claim in self._claims.items():
            rival = owners.setdefault(claim, key)
            if rival is not key:
                owners[claim] = min(key, rival)
                losers.append(max(key, rival))
        for key in self._misnamed.difference(losers):
            self._nodes[key] = renamed(bytes(self._nodes[key]), self._claims[key])
        for key in sorted(losers):
            name = self._free_name(key, owners)
            owners[name] = key
            self._nodes[key] = renamed(bytes(self._nodes[key]), name)
        self._misnamed = set(losers)
        self._settled = owners
        return owners

    def _free_name(self, key: bytes, owners: dict[str, bytes]) -> str:
        claim, item_id, attempt = self._claims[key], _decoded(self._nodes[key]).item_id, 0
        while (name := contested_name(claim, item_id, attempt)) in owners:
            attempt += 1
        return name

    def _in_order(self) -> Iterator[tuple[bytes, bytes | msgspec.Raw]]:
        """Key and encoded node, by the bytes of the name."""
        entries = [(name.encode("utf-8", "surrogateescape"), key) for name, key in self._settle().items() if key]
        entries += [(name.encode("utf-8", "surrogateescape"), _STRANGER) for name, _ in self._strangers]
        strangers = iter(sorted(self._strangers, key=lambda each: each[0].encode("utf-8", "surrogateescape")))
        for _, key in sorted(entries, key=lambda each: each[0]):
            yield (key, self._nodes[key]) if key else (_STRANGER, next(strangers)[1])


def _decoded(raw: bytes | msgspec.Raw) -> Node:
    try:
        return decode_node(raw)
    except msgspec.MsgspecError as error:
        raise _not_a_tree(error) from error


def _not_a_tree(error: Exception) -> Damaged:
    return Damaged(
        "The list of a folder cannot be read.",
        why=f"It is not what restic or drivekeep write: {type(error).__name__}.",
        remedy="Run `drivekeep check` to see what is damaged.",
    )
