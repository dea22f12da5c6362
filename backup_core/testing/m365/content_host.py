"""The host that download URLs lead to: whole bodies and ranges of them, without asking for a token."""

import re
from urllib.parse import quote

from backup_core.clock import Clock
from backup_core.testing.m365.download_urls import read_tempauth
from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.graph_errors import GraphError, file_locked, item_not_found, not_simulated, site_blocked
from backup_core.testing.m365.items import SimulatedItem
from backup_core.testing.m365.rendering import mime_type
from backup_core.testing.m365.switches import Switches
from backup_core.testing.m365.tenants import Tenants
from backup_core.testing.m365.wire import Request, Response

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\s*$")


class ContentHost:
    def __init__(self, tenants: Tenants, switches: Switches, clock: Clock) -> None:
        self._tenants = tenants
        self._switches = switches
        self._clock = clock

    def handle(self, request: Request) -> Response:
        """The content as it is now, whatever it was when the URL was made; a changed ETag tells."""
        try:
            if request.method not in ("GET", "HEAD"):
                raise not_simulated(f"{request.method} on the content host")
            drive, item = self._addressed(request)
            if "authorization" in request.headers and (self._switches.strict_content or drive.type == "personal"):
                raise GraphError(401, "unauthenticated", "A pre-authenticated URL takes no Authorization header.")
            with drive.lock:
                refuse_content(drive, item, self._switches)
                return self._content(request, item)
        except MalwareRefused as refused:
            return refused.page
        except GraphError as error:
            return error.response(self._clock.now(), {}, self._switches.inner_error_key)

    def _addressed(self, request: Request) -> tuple[Drive, SimulatedItem]:
        download = read_tempauth(request.query.get("tempauth", ""), self._tenants.first.url_key)
        if download is None or self._clock.now().timestamp() >= download.expires:
            raise GraphError(401, "unauthenticated", "The download URL is not valid, or no longer.")
        found = self._tenants.drive(download.drive_id)
        item = found[1].by_id(download.item_id) if found else None
        if found is None or item is None:
            raise item_not_found()
        return found[1], item

    def _content(self, request: Request, item: SimulatedItem) -> Response:
        body = item.body
        assert body is not None
        headers = {
            "content-type": mime_type(item.name),
            "content-disposition": f"attachment; filename*=UTF-8''{quote(item.name, safe='')}",
            "accept-ranges": "bytes",
            "etag": item.etag,
            "last-modified": item.modified.strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "cache-control": "private",
        }
        asked = None if self._switches.ignore_range else _asked_range(request, item, body.size)
        if asked is None:
            return Response(200, headers, source=body, first=0, count=body.size)
        first, end = asked
        if first >= end:
            raise GraphError(
                416,
                "invalidRange",
                "The requested range is not satisfiable.",
                headers={"content-range": f"bytes */{body.size}"},
            )
        headers["content-range"] = f"bytes {first}-{end - 1}/{body.size}"
        return Response(206, headers, source=body, first=first, count=end - first)


class MalwareRefused(Exception):
    def __init__(self, page: Response) -> None:
        super().__init__("malware")
        self.page = page


def refuse_content(drive: Drive, item: SimulatedItem, switches: Switches) -> None:
    """Raise what Graph's `/content` and the content host answer where there is no content to be had."""
    if drive.blocked:
        raise site_blocked()
    if item.body is None:
        raise item_not_found()
    if item.locked:
        raise file_locked()
    if item.malware:
        raise MalwareRefused(_malware(item.malware, switches))


def _malware(name: str, switches: Switches) -> Response:
    headers = {"x-virus-infected": name, "x-clienterrorcode": "VirusError"}
    if switches.malware_as_html:
        page = b"<html><body><h2>Sorry, this file is infected with a virus</h2></body></html>"
        return Response(403, {"content-type": "text/html; charset=utf-8", **headers}, page)
    return Response.of_json({"error": {"code": "malwareDetected", "message": "Malware detected"}}, 403, headers)


def _asked_range(request: Request, item: SimulatedItem, size: int) -> tuple[int, int] | None:
    """First byte and end of one range; None where the whole is to be sent. An empty range cannot be satisfied."""
    match = _RANGE.match(request.headers.get("range", ""))
    if match is None or request.headers.get("if-range", item.etag) != item.etag:
        return None
    first, last = match.groups()
    if not first:
        return (max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size
