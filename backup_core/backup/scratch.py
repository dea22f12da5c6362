"""A run's working memory: planned items, their old nodes and what was saved, in an SQLite database of its own.

Small runs stay in SQLite's page cache; a whole drive of a million items spills into a temporary file by itself. Nothing
here is ever stored: it is filled again from the run's log wherever a step starts anew.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from backup_core.backup.plan import Action, Decision, decide
from backup_core.backup.run_log import Place, PlanPart, SavedFile
from backup_core.graph.items import DriveItem
from backup_core.repository.node import Node
from backup_core.repository.tree import item_key

CACHE_KIB = 16 << 10  # pages that SQLite keeps in memory before it writes to the temporary file

_SCHEMA = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{cache};
CREATE TABLE item (key BLOB PRIMARY KEY, parent BLOB, part INT, position INT, body BLOB, action INT, reason TEXT)
    WITHOUT ROWID;
CREATE TABLE old (key BLOB PRIMARY KEY, parent BLOB, folder INT, size INT, node BLOB) WITHOUT ROWID;
CREATE TABLE saved (key BLOB PRIMARY KEY, body BLOB) WITHOUT ROWID;
BEGIN;
"""

_PLANNED = (
    "SELECT item.key, item.body, action, reason, node, saved.body "
    "FROM item LEFT JOIN old USING (key) LEFT JOIN saved USING (key) WHERE "
)

_SUMS = "SELECT sum(NOT folder), sum(folder), sum(size) FROM old "

_ITEM = msgspec.msgpack.Decoder(DriveItem)
_SAVED = msgspec.msgpack.Decoder(SavedFile)
_NODE = msgspec.json.Decoder(Node)
_encode = msgspec.msgpack.encode


class OldNode(NamedTuple):
    """A node of the last snapshot: where it was and what it was."""

    key: bytes
    parent: bytes
    node: Node
    raw: bytes


class Planned(NamedTuple):
    key: bytes
    item: DriveItem
    action: Action
    reason: str
    old: Node | None
    saved: SavedFile | None


class Scratch:
    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._base.executescript(_SCHEMA.format(cache=CACHE_KIB))

    def close(self) -> None:
        self._base.close()

    def add_plan(self, number: int, part: PlanPart, root_key: bytes) -> None:
        """The last occurrence of an item counts. The drive's root is no item of the tree."""
        rows = (
            (item_key(item.id), item_key(item.parent) if item.parent else b"", number, position, _encode(item))
            for position, item in enumerate(part.items)
        )
        self._base.executemany(
            "INSERT OR REPLACE INTO item VALUES (?, ?, ?, ?, ?, NULL, '')", (row for row in rows if row[0] != root_key)
        )

    def index(self) -> None:
        """To be called once all items are in: indexes made afterwards are cheaper."""
        self._base.executescript(
            "CREATE INDEX item_parent ON item (parent); CREATE INDEX item_place ON item (part, position);"
        )

    def add_old(self, nodes: Iterable[OldNode]) -> None:
        self._base.executemany(
            "INSERT OR REPLACE INTO old VALUES (?, ?, ?, ?, ?)",
            ((each.key, each.parent, each.node.type == "dir", each.node.size, each.raw) for each in nodes),
        )

    def index_old(self) -> None:
        self._base.execute("CREATE INDEX old_parent ON old (parent)")

    def add_saved(self, files: Iterable[SavedFile]) -> None:
        self._base.executemany(
            "INSERT OR REPLACE INTO saved VALUES (?, ?)",
            ((item_key(each.planned.id), _encode(each)) for each in files),
        )

    def drop_saved(self, keys: Iterable[bytes]) -> None:
        self._base.executemany("DELETE FROM saved WHERE key = ?", ((key,) for key in keys))

    def decide(self, retry: dict[str, str]) -> None:
        """Write the decision beside every item. `retry`: item id -> reason."""
        rows = self._base.execute("SELECT item.key, body, node FROM item LEFT JOIN old USING (key)")

        def decisions() -> Iterator[tuple[int, str, bytes]]:
            for key, body, node in rows:
                item = _ITEM.decode(body)
                made = decide(item, _NODE.decode(node) if node is not None else None, retry.get(item.id, ""))
                yield int(made.action), made.reason, key

        self._update(decisions())

    def decide_again(self, keys: Iterable[bytes], decision: Decision) -> None:
        self._update((int(decision.action), decision.reason, key) for key in keys)

    def _update(self, decisions: Iterable[tuple[int, str, bytes]]) -> None:
        # Rows are changed only after they were read: a cursor over a table that changes under it may skip or repeat.
        self._base.execute("CREATE TEMP TABLE decided (action INT, reason TEXT, key BLOB PRIMARY KEY)")
        self._base.executemany("INSERT OR REPLACE INTO decided VALUES (?, ?, ?)", decisions)
        self._base.execute(
            "UPDATE item SET action = decided.action, reason = decided.reason FROM decided WHERE decided.key = item.key"
        )
        self._base.execute("DROP TABLE decided")

    # -- questions -----------------------------------------------------------------------------------------------

    def parents(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and new parent of everything planned; the parent is b"" where Graph names none."""
        yield from self._base.execute("SELECT key, parent FROM item")

    def living(self, action: Action) -> Iterator[tuple[bytes, bytes]]:
        """Key and parent of the items with one action."""
        yield from self._base.execute("SELECT key, parent FROM item WHERE action = ?", (int(action),))

    def knows(self, item_id: str) -> bool:
        """Whether an item is planned."""
        return self.is_planned(item_key(item_id))

    def is_planned(self, key: bytes) -> bool:
        """As `knows`, by the item's key."""
        return self._base.execute("SELECT 1 FROM item WHERE key = ?", (key,)).fetchone() is not None

    def wanted(self) -> Iterator[tuple[Place, DriveItem, SavedFile | None]]:
        """What is to be fetched, in the order of the plan, with what a batch said of it."""
        rows = self._base.execute(
            "SELECT part, position, item.body, saved.body FROM item LEFT JOIN saved USING (key) "
            "WHERE action = ? ORDER BY part, position",
            (int(Action.FETCH),),
        )
        for part, position, body, saved in rows:
            yield Place(part, position), _ITEM.decode(body), _SAVED.decode(saved) if saved is not None else None

    def placed_in(self, folder: bytes) -> list[Planned]:
        """What belongs into a folder now."""
        return list(self._planned("item.parent = ? AND action NOT IN (?, ?)", folder, Action.GONE, Action.STAY))

    def with_action(self, *actions: Action) -> Iterator[Planned]:
        return self._planned(f"action IN ({','.join('?' * len(actions))})", *actions)

    def with_reason(self) -> Iterator[Planned]:
        return self._planned("reason != ''")

    def get(self, key: bytes) -> Planned | None:
        return next(self._planned("item.key = ?", key), None)

    def old(self, key: bytes) -> OldNode | None:
        """What the last snapshot has of an item, as far as it was looked for."""
        row = self._base.execute("SELECT parent, node FROM old WHERE key = ?", (key,)).fetchone()
        return OldNode(key, row[0], _NODE.decode(row[1]), row[1]) if row else None

    def has_other_kind(self) -> bool:
        """Whether a folder of the last snapshot is planned as a file, or the other way round."""
        sql = "SELECT 1 FROM item JOIN old USING (key) WHERE (action = ?) != folder AND action NOT IN (?, ?) LIMIT 1"
        return self._base.execute(sql, (Action.FOLDER, Action.GONE, Action.STAY)).fetchone() is not None

    def new_folders(self) -> list[bytes]:
        """Folders that are planned and that the last snapshot does not have."""
        sql = "SELECT item.key FROM item LEFT JOIN old USING (key) WHERE action = ? AND old.key IS NULL"
        return [row[0] for row in self._base.execute(sql, (Action.FOLDER,))]

    def _planned(self, condition: str, *values: bytes | int) -> Iterator[Planned]:
        # `condition` is one of the few that stand above, never something from outside.
        rows = self._base.execute(_PLANNED + condition + " ORDER BY item.key", values)
        for key, body, action, reason, node, saved in rows:
            yield Planned(
                key,
                _ITEM.decode(body),
                Action(action),
                reason,
                _NODE.decode(node) if node is not None else None,
                _SAVED.decode(saved) if saved is not None else None,
            )

    def old_parent(self, key: bytes) -> bytes | None:
        row = self._base.execute("SELECT parent FROM old WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def planned_from(self, folder: bytes) -> list[bytes]:
        """Keys of planned items that the last snapshot has in a folder: they leave it, to come back or not."""
        rows = self._base.execute(
            "SELECT key FROM old JOIN item USING (key) WHERE old.parent = ? AND action != ?", (folder, int(Action.STAY))
        )
        return [row[0] for row in rows]

    def staying_in(self, folder: bytes) -> list[OldNode]:
        """Old nodes of items that make no sense now and stay where they were."""
        rows = self._base.execute(
            "SELECT key, old.parent, node FROM old JOIN item USING (key) WHERE old.parent = ? AND action = ?",
            (folder, int(Action.STAY)),
        )
        return [OldNode(key, parent, _NODE.decode(node), node) for key, parent, node in rows]

    def is_placed(self, key: bytes) -> bool:
        """Whether an item has a place in the new tree of its own."""
        row = self._base.execute("SELECT action FROM item WHERE key = ?", (key,)).fetchone()
        return row is not None and row[0] not in (Action.GONE, Action.STAY)

    def parent(self, key: bytes) -> bytes:
        """New parent of something planned. KeyError."""
        row = self._base.execute("SELECT parent FROM item WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        found: bytes = row[0]
        return found

    def old_not_placed(self) -> tuple[int, int, int]:
        """Files, folders and bytes that the last snapshot has and an enumeration has not."""
        return self._sums("LEFT JOIN item USING (key) WHERE action IS NULL OR action = ?", Action.GONE)

    def old_sums(self) -> tuple[int, int, int]:
        """Files, folders and bytes of the last snapshot, where all of it was read."""
        return self._sums("")

    def _sums(self, condition: str, *values: int) -> tuple[int, int, int]:
        row = self._base.execute(_SUMS + condition, values).fetchone()
        return row[0] or 0, row[1] or 0, row[2] or 0

    def old_places(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and parent of every node of the last snapshot that was read."""
        yield from self._base.execute("SELECT key, parent FROM old")
