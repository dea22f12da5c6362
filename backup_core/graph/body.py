"""The body of one answer from a content host: bytes as they come, and a judgement on how it ended.

It knows one answer only; that a file may take several is for `download.py`.
"""

import re

import requests

from backup_core.clock import Clock
from backup_core.graph.attempts import Cut
from backup_core.graph.rate_limit import RateLimit
from backup_core.graph.transport import read_piece

# A whole TLS record is 16 KiB; hashing and chunking want larger pieces, and a reader must hear of a stall soon.
PIECE_BYTES = 256 << 10
# A body slower than this over so long is cut: a server that drips a byte a minute never runs into a read timeout.
STALL_SECONDS = 300.0
STALL_BYTES = 300 << 10
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)


class Body:
    """`first`: which byte of the content this body begins with. `total`: of the whole content, where the host says."""

    def __init__(self, response: requests.Response, wanted: int, clock: Clock, limit: RateLimit | None = None) -> None:
        """`response` has status 200 or 206 and answers a request from byte `wanted` on. Cut where it does not."""
        self._response, self._clock, self._limit = response, clock, limit
        self.etag = response.headers.get("ETag", "")
        if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
            raise Cut("the host packed the content though it was asked not to")
        length = _length(response)
        self._left: int | None
        if response.status_code == 206:
            self.first, self._left, self.total = _range_of(response, wanted, length)
        else:
            self.first, self._left, self.total = 0, length, length
        self._slow_seconds, self._slow_bytes = 0.0, 0

    def readinto(self, view: memoryview) -> int:
        """Fill the front of `view`: bytes filled, 0 at the end. Cut where the body breaks off, drips or ends early."""
        wanted = min(len(view), PIECE_BYTES, self._limit.piece_bytes if self._limit else PIECE_BYTES)
        filled = 0
        while filled < wanted:
            try:
                piece = self._piece(wanted - filled)
            except Cut:
                if filled:
                    break  # what came before it counts, and the next read breaks off again
                raise
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        if filled and self._limit:
            self._limit.take(filled)
        return filled

    def skip(self, count: int) -> None:
        """Read over bytes that are there already. Cut."""
        while count:
            piece = self._piece(min(count, PIECE_BYTES))
            if not piece:
                raise Cut("the content is shorter than what has come of it already")
            count -= len(piece)

    def close(self) -> None:
        self._response.close()

    def _piece(self, length: int) -> bytes:
        started = self._clock.monotonic()
        piece = read_piece(self._response, length, decode=False)
        self._watch(self._clock.monotonic() - started, len(piece))
        if self._left is not None:
            self._left -= len(piece)
            if self._left < 0 or (not piece and self._left > 0):
                raise Cut("the content is not as long as the host said")
        return piece

    def _watch(self, seconds: float, count: int) -> None:
        """Only time spent in reading counts: a caller that is slow to ask for more is no stall."""
        self._slow_seconds += seconds
        self._slow_bytes += count
        if self._slow_seconds >= STALL_SECONDS:
            if self._slow_bytes < STALL_BYTES:
                raise Cut(f"less than {STALL_BYTES >> 10} KiB came in {STALL_SECONDS:.0f} s")
            self._slow_seconds, self._slow_bytes = 0.0, 0


def _length(response: requests.Response) -> int | None:
    """What Content-Length says. Beside a Transfer-Encoding it means nothing."""
    text = response.headers.get("Content-Length", "")
    if "Transfer-Encoding" in response.headers or not text:
        return None
    if not re.fullmatch("[0-9]{1,18}", text, re.ASCII):
        raise Cut("the host's Content-Length makes no sense")
    return int(text)


def _range_of(response: requests.Response, wanted: int, length: int | None) -> tuple[int, int, int | None]:
    """First byte, number of bytes, total of a partial answer. Bytes of another place are never spliced in."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        raise Cut("the host sent a part of the content and not which")
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if first != wanted or last < first or (total is not None and last >= total):
        raise Cut("the host sent another part of the content than it was asked for")
    if length is not None and length != last - first + 1:
        raise Cut("the host's Content-Length and Content-Range contradict each other")
    return first, last - first + 1, total
