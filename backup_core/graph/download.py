"""The one way in which a file's content is fetched: checked for host, status, length and hash, and resumed when cut.

What is done with the bytes is the caller's; so is fetching a file again whose bytes differ from their report.
"""

import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urljoin

import requests

from backup_core.clock import Clock
from backup_core.errors import DrivekeepError, NotFound, Temporary
from backup_core.graph.attempts import Attempts, Cut, NoAnswer
from backup_core.graph.body import Body
from backup_core.graph.client import GraphClient
from backup_core.graph.drives import drive_errors, get_item, item_path
from backup_core.graph.gate import Gate
from backup_core.graph.items import DriveItem
from backup_core.graph.links import ForeignLink, LinkRule
from backup_core.graph.quickxorhash import QuickXorHash
from backup_core.graph.rate_limit import RateLimit
from backup_core.graph.refusals import RETRIED, Forbidden, Refusal, Refused, read_refusal
from backup_core.graph.transport import read_body, send

Verdict = Literal["verified", "unverifiable", "mismatch"]

READ_SECONDS = 60.0  # silence in the middle of a body
PROGRESS_BYTES = 8 << 20  # so much since the last failure, and the count of retries starts anew
REDIRECTS_MAX = 3
_ERROR_MAX_BYTES = 64 << 10
_ERROR_TYPES = frozenset({"text/html", "application/json", "application/problem+json"})
_UNREADABLE = {"package": "package", "remote": "remote-item", "deleted": "gone"}


class ItemFailed(DrivekeepError):
    """This file cannot be had now. `reason` is of the contract's list."""

    def __init__(self, reason: str, why: str = "") -> None:
        super().__init__(f"A file could not be downloaded ({reason}).", why=why, reason=reason)


class Changed(DrivekeepError):
    """The file became another one while it was read: open it again, and use nothing of what has come."""

    reason = "changed"

    def __init__(self) -> None:
        super().__init__("The file was changed while it was downloaded.", remedy="It is read again from its start.")


class _Beyond(Exception):
    """The content ends before the part that was asked for begins."""


class Downloads:
    """Opens files for reading; shared by all threads. `limit`: the speed for all of them together."""

    def __init__(
        self,
        client: GraphClient,
        session: requests.Session,
        rule: LinkRule,
        gate: Gate,
        clock: Clock,
        retries: int = 3,
        patience: float = 900.0,
        limit: RateLimit | None = None,
    ) -> None:
        self.rule, self.clock, self.limit = rule, clock, limit
        self._client, self._session, self._gate = client, session, gate
        self._retries, self._patience = retries, patience

    def open(self, drive_id: str, item_id: str, start: int = 0, end: int | None = None) -> "Download":
        """Ask Graph what the file is now; its content is asked for with the first read.

        `start`, `end`: a part of it, the byte at `end` not included; without an end, to the content's own. A part has
        no verdict: `Download.row` and the rows of the other parts give one for the whole.
        Raises ItemFailed for what is this file's trouble alone; AccessDenied, Temporary and others for more than that.
        """
        return Download(self, drive_id, item_id, start, end)

    def attempts(self) -> Attempts:
        return Attempts(self._gate, self._retries, self._patience)

    def look_up(self, drive_id: str, item_id: str) -> tuple[DriveItem, str]:
        """The item as it is now, and a link to its content that may be followed. ItemFailed."""
        with item_errors():
            item, link = get_item(self._client, drive_id, item_id)
            if item.malware:
                raise ItemFailed("malware")
            if item.kind != "file":
                raise ItemFailed(_UNREADABLE.get(item.kind, "invalid-item"))
            if link is None:
                link = self._redirect(f"{item_path(drive_id, item_id)}/content")
            return item, self.rule.check_content(link)

    def ask(self, link: str, headers: dict[str, str]) -> requests.Response:
        """One try at a content host. No token goes there: the link is the credential. Cut."""
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", **headers}
        return send(self._session, "GET", link, headers=headers, read_seconds=READ_SECONDS)

    def _redirect(self, path: str) -> str:
        try:
            with drive_errors("the content"):
                return self._client.get_redirect(path)
        except NotFound:  # the item was there a moment ago: this is no proof that it is gone
            raise ItemFailed("download-failed", "Microsoft gives no link to its content.") from None


class Download:
    """One file, or a part of one, being read. `item` is what Graph said of it when the content was asked for.

    After `readinto` has returned 0: `at_end` where that is the content's own end; of a whole file, `verdict`, and for
    a mismatch `mismatch_reason`. For one thread.
    """

    def __init__(self, downloads: Downloads, drive_id: str, item_id: str, start: int, end: int | None) -> None:
        self._downloads, self._drive_id, self._item_id = downloads, drive_id, item_id
        self.item, self._link = downloads.look_up(drive_id, item_id)
        self.verdict: Verdict | None = None
        self.mismatch_reason: Literal["hash-mismatch", "size-mismatch"] | None = None
        self._attempts = downloads.attempts()
        self.at_end = False
        self._hash = QuickXorHash()
        self._start, self._end = start, end
        self._position = start  # of the content: up to here the caller has what was asked for
        self._concluded = False
        self._progress = 0  # of these, since the last failure
        self._total: int | None = None
        self._etag = ""  # of the content host, to tell two versions apart
        self._bodies = 0
        self._link_renewed = self._without_range = self._perhaps_page = False
        self._body: Body | None = None

    def readinto(self, view: memoryview) -> int:
        """Fill the front of `view` (at least one byte): bytes filled; 0 at the end of a whole body.

        Raises ItemFailed, Changed, and what `Downloads.open` raises. Nothing can be read after any of them.
        """
        if not len(view):
            raise ValueError("no room to read into: 0 would look like the end")
        if self._end is not None:
            view = view[: self._end - self._position]
        while not self._concluded:
            if self._position == self._end:
                self._conclude()
                break
            try:
                if self._body is None:
                    self._body = self._connect()
                count = self._body.readinto(view)
                if count == 0:
                    self._check_whole()
            except _Beyond:
                count = 0
            except Cut as cut:
                self.close()
                self._spend(cut)
                continue
            if count:
                self._take(view[:count])
                return count
            self.at_end = True
            self._conclude()
        return 0

    @property
    def row(self) -> bytes:
        """What has been read so far, for `QuickXorHash.append`."""
        return self._hash.row

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, piece: memoryview) -> None:
        self._hash.update(piece)
        self._position += len(piece)
        self._progress += len(piece)
        if self._progress >= PROGRESS_BYTES:
            self._progress = 0
            self._link_renewed = False
            self._attempts.progressed()

    def _spend(self, cut: Cut) -> None:
        self._progress = 0
        try:
            self._attempts.failed(cut, "The download")
        except Temporary:
            raise ItemFailed("download-failed", f"Its content broke off again and again: {cut.why}.") from None

    def _connect(self) -> Body:
        """A body that begins, or has been read forward to, where the caller stands. Cut, ItemFailed, Changed."""
        redirects = 0
        while True:
            with item_errors():
                self._attempts.begin()
            response = self._downloads.ask(self._link, self._range())
            if response.status_code in (200, 206):
                return self._accepted(response)
            with response:
                if 300 <= response.status_code < 400 and redirects < REDIRECTS_MAX:
                    redirects += 1
                    self._follow(response.headers.get("Location", ""))
                    continue
                body = (
                    b""
                    if response.status_code in RETRIED
                    else read_body(response, self._downloads.clock, _ERROR_MAX_BYTES)
                )
                self._refused(read_refusal(response.status_code, response.headers, body, self._downloads.clock))

    @property
    def _asks_for_part(self) -> bool:
        return (self._position > 0 or self._end is not None) and not self._without_range

    @property
    def _taken(self) -> int:
        return self._position - self._start

    def _range(self) -> dict[str, str]:
        if not self._asks_for_part:
            return {}
        # A weak tag cannot be used for a range; the tags are compared when the answer comes.
        unchanged = {"If-Range": self._etag} if self._etag.startswith('"') and self._taken else {}
        last = "" if self._end is None else self._end - 1
        return {"Range": f"bytes={self._position}-{last}", **unchanged}

    def _accepted(self, response: requests.Response) -> Body:
        try:
            if response.status_code == 206 and not self._asks_for_part:
                raise Cut("the host sent a part where the whole was asked for")
            body = Body(response, self._position, self._downloads.clock, self._downloads.limit)
            self._check_same(body)
            self._check_content(response, body)
            body.skip(self._position - body.first)
        except BaseException:
            response.close()
            raise
        self._bodies += 1
        return body

    def _check_same(self, body: Body) -> None:
        """Bytes of two versions are never put together."""
        other_tag = self._etag and body.etag and body.etag != self._etag
        other_total = self._total is not None and body.total is not None and body.total != self._total
        if self._taken and (other_tag or other_total):
            raise Changed
        if not self._taken:
            self._etag, self._total = body.etag, body.total
        elif self._total is None:
            self._total = body.total

    def _check_content(self, response: requests.Response, body: Body) -> None:
        """An error page with status 200 is no content, though it would come whole and be kept as a mismatch."""
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        self._perhaps_page = kind in _ERROR_TYPES and mimetypes.guess_type(self.item.name)[0] != kind
        if body.total is None or body.total == self.item.size:
            return
        if self._perhaps_page:
            raise Cut("the host sent a page in place of the content")
        if body.total == 0:
            raise Cut("the host sent nothing in place of the content")

    def _refused(self, refusal: Refusal) -> None:
        """Returns where the same call can go on; raises Cut where that costs a retry."""
        if refusal.malware:
            raise ItemFailed("malware")
        if refusal.status == 423:
            raise ItemFailed("locked", refusal.message)
        if refusal.throttling:
            with item_errors():
                self._attempts.throttled(refusal.retry_after or 0.0)
        elif refusal.status in RETRIED:
            raise Cut(f"the host answered {refusal.words}")
        elif refusal.status == 416 and self._start and not self._taken:
            raise _Beyond
        elif refusal.status == 416 and self._position:
            self._without_range = True
            raise Cut("the host has no such part of the content")
        elif self._link_renewed:
            raise ItemFailed("download-failed", f"The content host answered {refusal.words}.")
        else:
            self._link_renewed = True  # links expire within the hour: one new one is free
            self._look_again()

    def _follow(self, location: str) -> None:
        with item_errors():
            self._link = self._downloads.rule.check_content(urljoin(self._link, location))

    def _look_again(self) -> None:
        """A new link, if it leads to the same content as before."""
        item, self._link = self._downloads.look_up(self._drive_id, self._item_id)
        if self._taken and not _same_content(item, self.item):
            raise Changed
        self.item = item

    def _check_whole(self) -> None:
        expected = self._total if self._total is not None else self.item.size
        if self._end is not None:
            expected = min(expected, self._end)
        # Without a length from the host, a body that is shorter than reported was cut; a longer one may be whole.
        if self._position < expected:
            raise Cut(f"the content ended after {self._position} of {expected} bytes")

    def _conclude(self) -> None:
        self.close()
        self._concluded = True
        item = self.item
        if self._start or self._end is not None:
            if not item.quickxor and self._taken:
                self._look_again()  # without a hash nothing else proves that all parts are of one version
            return
        if item.quickxor and self._position == item.size and self._hash.base64() == item.quickxor:
            self.verdict = "verified"
            return
        if self._bodies > 1:
            # Nothing proves that the parts belong together, but that the item was not changed all the while.
            self._look_again()
        if self._position != item.size:
            if self._perhaps_page:
                raise ItemFailed("download-failed", "The host sent a page in place of the content.")
            self.verdict, self.mismatch_reason = "mismatch", "size-mismatch"
        elif item.quickxor:
            self.verdict, self.mismatch_reason = "mismatch", "hash-mismatch"
        else:
            self.verdict = "verified" if item.size == 0 else "unverifiable"


@contextmanager
def item_errors() -> Iterator[None]:
    """What is one file's trouble becomes ItemFailed; what stops more than one file passes."""
    try:
        yield
    except NotFound:
        raise ItemFailed("gone") from None
    except ForeignLink as foreign:
        raise ItemFailed("download-failed", str(foreign)) from None
    except Forbidden as forbidden:
        raise ItemFailed("download-failed", str(forbidden)) from None
    except Refused as refused:
        if refused.refusal.malware:
            raise ItemFailed("malware") from None
        raise ItemFailed("locked" if refused.refusal.status == 423 else "download-failed", str(refused)) from None
    except NoAnswer:
        raise
    except Temporary as temporary:
        if temporary.reason == "throttled":
            raise ItemFailed("throttled", str(temporary)) from None
        raise ItemFailed("download-failed", str(temporary)) from None


def _same_content(one: DriveItem, other: DriveItem) -> bool:
    """A rename changes the eTag and not the content."""
    same_report = bool(one.quickxor) and one.quickxor == other.quickxor and one.size == other.size
    return same_report or (bool(one.etag) and one.etag == other.etag)
