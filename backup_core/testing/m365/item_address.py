"""How a URL names an item of a drive: by id, as the root, by path, or by a path from an item."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.graph_errors import item_not_found, not_simulated
from backup_core.testing.m365.items import SimulatedItem

_ANCHOR = re.compile(r"/(?:root|items/(?P<id>[^/:]+))")
# A colon cannot be part of a name, so one that is not percent-encoded always ends or begins a path.
_REST = re.compile(r"(?::/?(?P<path>[^:]*):?)?(?:/(?P<action>[^/:]+))?/?")


@dataclass(frozen=True)
class Address:
    """`item_id` None: the root. `path`: from there, decoded. `action`: `children`, `delta` ... or ""."""

    item_id: str | None
    path: tuple[str, ...]
    action: str

    @classmethod
    def parse(cls, text: str) -> "Address":
        """What follows the drive in a URL, still percent-encoded. Raises GraphError 501 for forms not simulated."""
        anchor = _ANCHOR.match(text)
        rest = _REST.fullmatch(text, anchor.end()) if anchor else None
        if anchor is None or rest is None:
            raise not_simulated(f"the address {unquote(text)}")
        names = tuple(unquote(part) for part in (rest["path"] or "").split("/") if part)
        item_id = unquote(anchor["id"]) if anchor["id"] else None
        return cls(item_id, names, unquote(rest["action"] or ""))

    def find(self, drive: Drive) -> SimulatedItem:
        """The live item. Raises GraphError 404."""
        item = drive.root if self.item_id is None else drive.by_id(self.item_id)
        for name in self.path:
            item = (item.children or {}).get(name.lower()) if item else None
        if item is None:
            raise item_not_found()
        return item
