"""How an item becomes Graph's JSON: live, outdated or deleted; in a feed or elsewhere; all properties or some."""

import datetime
import mimetypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from backup_core.testing.m365.download_urls import DownloadUrls
from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.ids import with_defects
from backup_core.testing.m365.items import SimulatedItem
from backup_core.testing.m365.select import DOWNLOAD_URL, Selection
from backup_core.testing.m365.switches import Switches

Json = dict[str, Any]
ODATA_TYPE = "#microsoft.graph.driveItem"
ZERO_HASH = "A" * 27 + "="
ZERO_DATE = "0001-01-01T00:00:00Z"


class ItemRenderer:
    """Renders items of one drive for one request; whoever calls holds the drive's lock.

    `turn` counts requests: with `personal_id_defects` it decides how ids are spelt this time.
    """

    def __init__(
        self,
        drive: Drive,
        switches: Switches,
        downloads: DownloadUrls,
        selection: Selection,
        turn: int,
        *,
        in_feed: bool = False,
    ) -> None:
        self._drive = drive
        self._switches = switches
        self._downloads = downloads
        self._selection = selection
        self._turn = turn
        self._in_feed = in_feed
        self._with_path = switches.parent_path or not in_feed
        self._defects = switches.personal_id_defects and drive.type == "personal"
        self._properties = [(name, make) for name, make in _PROPERTIES if name in selection]
        self._people = person(drive)
        self._paths: dict[SimulatedItem, str] = {}

    def live(self, item: SimulatedItem) -> Json:
        """The item as it is. Properties that it does not have are left out."""
        shown: Json = {"@odata.type": ODATA_TYPE} if self._in_feed else {}
        for name, make in self._properties:
            value = make(self, item)
            if value is not None:
                shown[name] = value
        return shown

    def outdated(self, item: SimulatedItem) -> Json:
        """The item as it might have been a moment ago: another name, date, size and hash."""
        shown = self.live(item)
        for name, value in (
            ("name", f"outdated {item.name}"),
            ("eTag", f'"{{{item.guid.upper()}}},0"'),
            ("fileSystemInfo", {"createdDateTime": ZERO_DATE, "lastModifiedDateTime": ZERO_DATE}),
        ):
            if name in shown:
                shown[name] = value
        if item.body:
            shown |= {"size": item.size + 1} if "size" in shown else {}
            shown |= (
                {"file": {"mimeType": "text/plain", "hashes": {"quickXorHash": "B" * 27 + "="}}}
                if "file" in shown
                else {}
            )
        return shown

    def tombstone(self, item: SimulatedItem) -> Json:
        """The deleted item: business says no name, personal no size, neither a cTag."""
        drive = self._drive
        shown: Json = {"id": self.shown_id(item.id), "parentReference": self._reference_of(item)}
        if drive.type == "personal":
            shown["name"] = item.name
        elif self._switches.tombstone_leftovers:
            zero_dates = {"createdDateTime": ZERO_DATE, "lastModifiedDateTime": ZERO_DATE}
            shown |= {"size": 0, **zero_dates, "fileSystemInfo": zero_dates}
            if item.body:
                shown["file"] = {"mimeType": mime_type(item.name), "hashes": {"quickXorHash": ZERO_HASH}}
        shown["deleted"] = {"state": self._switches.delete_state}
        return {"@odata.type": ODATA_TYPE} | {name: value for name, value in shown.items() if name in self._selection}

    def shown_id(self, any_id: str) -> str:
        return with_defects(any_id, self._turn) if self._defects else any_id

    def reference(self, item: SimulatedItem) -> Json:
        reference = self._reference_of(item)
        if self._with_path and item.parent is not None:
            reference["path"] = self.path_of(item.parent)
        return reference

    def _reference_of(self, item: SimulatedItem) -> Json:
        reference = {"driveType": self._drive.type, "driveId": self.shown_id(self._drive.id)}
        if item.parent is not None:
            reference["id"] = self.shown_id(item.parent.id)
        return reference

    def path_of(self, folder: SimulatedItem) -> str:
        """As Graph writes it: from the drive, percent-encoded."""
        if folder not in self._paths:
            below = "".join("/" + quote(name) for name in folder.path.split("/") if name)
            self._paths[folder] = f"/drives/{self._drive.id}/root:{below}"
        return self._paths[folder]

    def file(self, item: SimulatedItem) -> Json | None:
        if item.body is None:
            return None
        facet: Json = {"mimeType": mime_type(item.name)}
        quickxor = self._reported_hash(item)
        if quickxor:
            facet["hashes"] = {"quickXorHash": quickxor}
        return facet

    def _reported_hash(self, item: SimulatedItem) -> str:
        if item.reported_quickxor is not None:
            return item.reported_quickxor
        if self._switches.hash_missing or (item.size == 0 and not self._switches.empty_hash):
            return ""
        return item.quickxor

    def folder(self, item: SimulatedItem) -> Json | None:
        if item.children is None or (item.package and not self._switches.package_folder):
            return None
        return {"childCount": len(item.children)}

    def ctag(self, item: SimulatedItem) -> str | None:
        business = self._drive.type == "business"
        return None if business and (self._in_feed or item.is_folder) else item.ctag

    def remote(self, item: SimulatedItem) -> Json | None:
        if item.remote is None:
            return None
        kind: Json = {"folder": {"childCount": 1}} if item.remote.folder else {"file": {}}
        target = item.remote
        return {"id": target.item_id, "name": item.name, "parentReference": {"driveId": target.drive_id}} | kind

    def web_url(self, item: SimulatedItem) -> str:
        return self._drive.web_url + "".join("/" + quote(name) for name in item.path.split("/") if name)

    def download_url(self, item: SimulatedItem) -> str | None:
        return self._downloads.url(self._drive, item) if item.body else None

    def people(self, _: SimulatedItem) -> Json:
        return self._people


def person(drive: Drive) -> Json:
    owner = drive.owner
    return {"user": {"id": owner.id, "email": owner.upn, "displayName": owner.display_name}}


@lru_cache(maxsize=10_000)  # many items share a moment, and a feed asks for four of each item
def moment(when: datetime.datetime) -> str:
    """ISO 8601 in UTC; milliseconds only where there are any, which business drives never have."""
    text = when.strftime("%Y-%m-%dT%H:%M:%S")
    thousandths = when.microsecond // 1000
    return f"{text}.{thousandths:03d}".rstrip("0") + "Z" if thousandths else text + "Z"


def mime_type(name: str) -> str:
    _, dot, suffix = name.rpartition(".")
    return _mime_type_of(suffix.lower()) if dot else "application/octet-stream"


@lru_cache(maxsize=1000)
def _mime_type_of(suffix: str) -> str:
    return mimetypes.guess_type("name." + suffix)[0] or "application/octet-stream"


def _file_system_info(_: ItemRenderer, item: SimulatedItem) -> Json:
    return {"createdDateTime": moment(item.created), "lastModifiedDateTime": moment(item.modified)}


_PROPERTIES: list[tuple[str, Callable[[ItemRenderer, SimulatedItem], Any]]] = [
    (DOWNLOAD_URL, ItemRenderer.download_url),
    ("createdDateTime", lambda _, item: moment(item.created)),
    ("eTag", lambda _, item: item.etag),
    ("cTag", ItemRenderer.ctag),
    ("id", lambda renderer, item: renderer.shown_id(item.id)),
    ("lastModifiedDateTime", lambda _, item: moment(item.served_modified)),
    ("name", lambda _, item: item.name),
    ("webUrl", ItemRenderer.web_url),
    ("size", lambda _, item: item.size if item.reported_size is None else item.reported_size),
    ("createdBy", ItemRenderer.people),
    ("lastModifiedBy", ItemRenderer.people),
    ("parentReference", ItemRenderer.reference),
    ("fileSystemInfo", _file_system_info),
    ("file", ItemRenderer.file),
    ("folder", ItemRenderer.folder),
    ("package", lambda _, item: {"type": item.package} if item.package else None),
    ("remoteItem", ItemRenderer.remote),
    ("malware", lambda _, item: {"description": item.malware} if item.malware else None),
    ("root", lambda _, item: {} if item.parent is None else None),
]
