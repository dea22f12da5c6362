"""The feed of a drive's changes, page by page. What the items mean is for `backup/plan.py`."""

import hashlib
from typing import Any, NamedTuple

from backup_core.errors import DrivekeepError, Inconsistent
from backup_core.graph.client import GraphClient, Json
from backup_core.graph.drives import drive_errors, drive_path, item_path
from backup_core.graph.items import SELECT, DriveItem, parse_item
from backup_core.graph.refusals import Refused

PAGE_ITEMS = 999  # the most that Graph's listings take; a feed treats it as a hint, and fewer come too


class PositionLost(Inconsistent):
    """Microsoft no longer honours this place in the feed: enumerate the drive from its first link."""

    reason = "position-lost"


class DeltaPage(NamedTuple):
    """Exactly one of the links is not "". A page without items may still have a next link."""

    items: list[DriveItem]
    next_link: str = ""
    delta_link: str = ""


class DeltaFeed:
    """The changes of a drive, or of one folder of it with everything below. For one thread.

    Links hold the position and are opaque. They belong into sealed storage, and neither into a log nor an error text.
    """

    def __init__(self, client: GraphClient, drive_id: str, folder_id: str | None = None) -> None:
        self._client = client
        folder = item_path(drive_id, folder_id) if folder_id else f"{drive_path(drive_id)}/root"
        self._first = f"{client.base_url}{folder}/delta?$select={SELECT}&$top={PAGE_ITEMS}"
        self._latest = f"{self._first}&token=latest"
        self._seen: set[bytes] = set()

    def first_link(self) -> str:
        """Where an enumeration of everything begins."""
        return self._first

    def latest_link(self) -> str:
        """A delta link for what changes from now on, without an enumeration."""
        page = self.page(self._latest)
        while not page.delta_link:
            page = self.page(page.next_link)
        return page.delta_link

    def page(self, link: str) -> DeltaPage:
        """One page. PositionLost where Microsoft refuses the link; Inconsistent where the feed goes round in a circle.

        Also raises what `GraphClient.get_json` does, and an error with reason `no-drive` or `drive-blocked`.
        """
        first = link in (self._first, self._latest)
        if first:
            self._seen.clear()
        elif not self._client.rule.leads_to_graph(link):
            raise PositionLost(
                "The stored position of the feed belongs to another Graph address.",
                why="A token goes only to the Graph that is configured now.",
            )
        self._seen.add(_digest(link))
        with drive_errors("this drive or folder"):
            json = self._get(link, first)
        next_link, delta_link = (_link(json, name) for name in ("@odata.nextLink", "@odata.deltaLink"))
        self._client.rule.check_graph(next_link or delta_link)
        if next_link and _digest(next_link) in self._seen:
            raise Inconsistent(
                "Microsoft's list of changes goes round in a circle.",
                why="A page leads back to one that was read already.",
                remedy="Run the same command again later; `-source onedrive` lists every folder instead.",
            )
        return DeltaPage([parse_item(item) for item in json["value"]], next_link, "" if next_link else delta_link)

    def _get(self, link: str, first: bool) -> Json:
        try:
            return self._client.get_json(link, valid=_is_page)
        except Refused as refused:
            refusal = refused.refusal
            # Microsoft spells a lost position in many ways; at the first link the same answers mean what they say.
            if refusal.status == 410 or (refusal.status in (400, 404) and not first and not refusal.no_drive):
                raise PositionLost(
                    "Microsoft no longer knows the position in the list of changes.",
                    why=f"It answered {refusal.words}.",
                    remedy="The drive is enumerated again.",
                ) from None
            if refusal.status == 501:
                raise DrivekeepError(
                    "This drive has no list of changes.",
                    why=refusal.message,
                    remedy="Use `-source onedrive`, which lists every folder.",
                ) from None
            raise


def _is_page(json: Json) -> bool:
    """A page with neither link would end the feed without a position: it is asked for again."""
    return isinstance(json.get("value"), list) and bool(
        _link(json, "@odata.nextLink") or _link(json, "@odata.deltaLink")
    )


def _link(json: Json, name: str) -> str:
    link: Any = json.get(name)
    return link if isinstance(link, str) else ""


def _digest(link: str) -> bytes:
    return hashlib.blake2b(link.encode(), digest_size=16).digest()
