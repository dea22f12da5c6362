"""HTTP/1.1 as bytes: a request read from a connection, the head of a response written for one.

It is written by hand because a benchmark asks thousands of small questions a second, which `http.server` cannot answer;
it knows Content-Length bodies only, and decides nothing about what is answered.
"""

import datetime
import socket
from email.utils import format_datetime
from http import HTTPStatus

from backup_core.testing.m365.wire import Origin, Request, Response

_HEAD_BYTES = 64 << 10  # a delta link may be 4 KiB and an access token 2 KiB
_BODY_BYTES = 61 << 20  # an upload fragment stays under 60 MiB
_READ_BYTES = 64 << 10


class BadRequest(Exception):
    """Carries the answer; the connection ends after it, since where the next request begins is not known."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        html = f"<!DOCTYPE html><html><body><h2>{text}</h2><hr><p>HTTP Error {status}.</p></body></html>"
        self.response = Response(status, {"content-type": "text/html; charset=us-ascii"}, html.encode())


class RequestReader:
    """The requests of one connection, one after the other."""

    def __init__(self, connection: socket.socket, origin: Origin) -> None:
        self._connection, self._origin = connection, origin
        self._buffer = b""

    def read(self) -> tuple[Request, bool] | None:
        """The next request, and whether the client keeps the connection; None where it closed. Raises BadRequest."""
        head = self._head()
        if head is None:
            return None
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequest(400, "Bad Request - Invalid Request Line")
        headers = _headers(lines[1:])
        path, _, query = _origin_form(words[1]).partition("?")
        body = self._body(words[0], headers)
        keep = headers.get("connection", "").lower() != "close" and words[2] == "HTTP/1.1"
        return Request(self._origin, words[0], path, query, headers, body), keep

    def _head(self) -> bytes | None:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _HEAD_BYTES:
                raise BadRequest(431, "Request Header Fields Too Large")
            piece = self._connection.recv(_READ_BYTES)
            if not piece:
                return None
            self._buffer += piece
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        return head

    def _body(self, method: str, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" in headers or (method in ("POST", "PUT", "PATCH") and "content-length" not in headers):
            raise BadRequest(411, "Length Required")
        text = headers.get("content-length", "0")
        if not (text.isascii() and text.isdecimal()):
            raise BadRequest(400, "Bad Request - Invalid Content Length")
        length = int(text)
        if length > _BODY_BYTES:
            raise BadRequest(413, "Request Entity Too Large")
        pieces, missing = [self._buffer[:length]], length - len(self._buffer)
        self._buffer = self._buffer[length:]
        while missing > 0:
            piece = self._connection.recv(min(missing, _READ_BYTES))
            if not piece:
                raise ConnectionError("the client closed in the middle of a body")
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)


def response_head(response: Response, at: datetime.datetime, *, length: int | None, keep: bool) -> bytes:
    """`length` None: the body ends with the connection."""
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = "Unknown"  # Graph's 509 is in no register
    lines = [f"HTTP/1.1 {response.status} {phrase}", f"date: {format_datetime(at, usegmt=True)}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name.lower() != "content-length"]
    if length is not None and not bodiless(response.status):
        lines.append(f"content-length: {length}")
    if not keep:
        lines.append("connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def bodiless(status: int) -> bool:
    return status in (204, 304)


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(400, "Bad Request - Invalid Header")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _origin_form(target: str) -> str:
    """A target may be written as a whole URL; what counts is what follows the host."""
    if target.startswith("/"):
        return target
    _, found, rest = target.partition("://")
    if not found:
        raise BadRequest(400, "Bad Request - Invalid URL")
    return "/" + rest.partition("/")[2]
