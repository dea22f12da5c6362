"""One origin, over HTTPS or plain HTTP: reads requests, asks the route, sends the answer, and carries the scripted
transport faults out.

It does not know what Graph, sign-in or content mean: a handler is a function of Request to Response.
"""

import datetime
import fcntl
import logging
import socket
import ssl
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from backup_core.clock import Clock
from backup_core.testing.m365.addresses import reached_as
from backup_core.testing.m365.faults import Alter, Close, Fault, FaultPlan, Reset, Slow, Status, Truncate, WithoutLength
from backup_core.testing.m365.http1 import BadRequest, RequestReader, bodiless, response_head
from backup_core.testing.m365.listener import Listener, reset_on_close
from backup_core.testing.m365.log import Logged, RequestLog
from backup_core.testing.m365.wire import Origin, Request, Response

Handler = Callable[[Request], Response]

_PIECE_BYTES = 256 << 10
_DRAIN_SECONDS = 2.0
_log = logging.getLogger(__name__)


class OriginServer:
    """Serves one origin from `start` to `stop`, over plain HTTP where `tls` is None.

    `crashes`: mistakes of a route or a script, which must fail a test.
    """

    def __init__(
        self,
        origin: Origin,
        handler: Handler,
        *,
        tls: ssl.SSLContext | None,
        clock: Clock,
        faults: FaultPlan,
        log: RequestLog,
        port: int = 0,
    ) -> None:
        self._origin, self._handler = origin, handler
        self._clock, self._faults, self._log = clock, faults, log
        self._stopping = threading.Event()
        self.crashes: list[Exception] = []
        self._listener = Listener(f"m365-{origin}", self._serve, port=port, tls=tls)
        self.port = self._listener.port

    def start(self) -> None:
        self._listener.start()

    def stop(self) -> None:
        self._stopping.set()
        self._listener.stop()

    def _serve(self, connection: socket.socket) -> None:
        if isinstance(connection, ssl.SSLSocket):
            connection.do_handshake()
        reader = RequestReader(connection, self._origin)
        keep = True
        while keep:
            try:
                arrived = reader.read()
            except BadRequest as bad:
                length = len(bad.response.body)
                head = response_head(bad.response, self._clock.now(), length=length, keep=False)
                connection.sendall(head + bad.response.body)
                break
            if arrived is None:
                break
            keep = self._answer(connection, *arrived)
        _say_goodbye(connection)

    def _answer(self, connection: socket.socket, request: Request, keep: bool) -> bool:
        """Whether the connection can carry another request."""
        arrival = self._log.arrive(request)
        try:
            fault = self._faults.take(request)
            if isinstance(fault, Close):
                self._log.add(arrival, 0, self._clock.now())
                return False
            if isinstance(fault, Slow) and fault.after is None:
                self._stopping.wait(fault.seconds)
            response = fault.response() if isinstance(fault, Status) else self._route(request, fault)
            entry = self._log.add(arrival, response.status, self._clock.now(), _retry_after(response))
            sending = _Sending(
                connection,
                entry,
                response,
                head_only=request.method == "HEAD",
                before_last=lambda: self._log.leave(arrival),
            )
            return self._send(sending, fault, keep)
        finally:
            self._log.leave(arrival)

    def _route(self, request: Request, fault: Fault | None) -> Response:
        asked = replace(request, method="GET") if request.method == "HEAD" else request
        with reached_as(self._origin, request.headers.get("host")):
            try:
                response = self._handler(asked)
                return fault.change(response) if isinstance(fault, Alter) else response
            except Exception as crash:
                _log.exception("The simulated %s failed at %s %s", self._origin, request.method, request.path)
                self.crashes.append(crash)
                text = f"The simulator itself failed: {type(crash).__name__}"
                return Response.of_json({"error": {"code": "generalException", "message": text}}, 500)

    def _send(self, sending: "_Sending", fault: Fault | None, keep: bool) -> bool:
        at = self._clock.now()
        if isinstance(fault, Truncate | WithoutLength | Reset) and fault.after is not None:
            self._check_cut(fault, sending.length)
        if isinstance(fault, WithoutLength):
            sending.start(at, length=None, keep=False)
            sending.body(fault.after)
            return False
        sending.start(at, length=sending.length, keep=keep)
        if isinstance(fault, Slow) and fault.after is not None:
            sending.body(fault.after)
            self._stopping.wait(fault.seconds)
            sending.body()
            return keep
        if isinstance(fault, Truncate):
            sending.body(fault.after)
            return False
        if isinstance(fault, Reset):
            sending.body(fault.after)
            sending.reset(self._stopping)
            return False
        sending.body()
        return keep

    def _check_cut(self, fault: Truncate | WithoutLength | Reset, length: int) -> None:
        """A cut behind the end cuts nothing, and a test that hopes for it would show nothing."""
        last = length if isinstance(fault, Reset) else length - 1
        if fault.after is not None and not -length <= fault.after <= last:
            self.crashes.append(AssertionError(f"{fault} cuts nothing: the {self._origin} body has {length} bytes"))


class _Sending:
    """One answer on its way: the head, then the body in as many portions as a fault asks for."""

    def __init__(
        self,
        connection: socket.socket,
        entry: Logged,
        response: Response,
        *,
        head_only: bool,
        before_last: Callable[[], None],
    ) -> None:
        self._connection, self._entry, self._response = connection, entry, response
        self._before_last = before_last
        self.length = _length(response)
        self._end = 0 if head_only or bodiless(response.status) else self.length
        self._sent = 0
        self._head = b""

    def start(self, at: datetime.datetime, *, length: int | None, keep: bool) -> None:
        self._head = response_head(self._response, at, length=length, keep=keep)

    def body(self, until: int | None = None) -> None:
        """Sends on to this position (negative: from the end; None: all). The first portion takes the head along."""
        stop = self._end if until is None else max(0, until + self.length) if until < 0 else until
        stop = min(stop, self._end)
        for piece in _pieces(self._response, self._sent, stop):
            # Counted before it leaves: a client that has the bytes must find them in the log.
            self._entry.sent_bytes += len(piece)
            if self._sent + len(piece) == self._end:
                self._before_last()
            self._connection.sendall(self._head + piece if self._head else piece)
            self._head = b""
            self._sent += len(piece)
        if self._head:
            self._before_last()
            self._connection.sendall(self._head)
            self._head = b""

    def reset(self, stopping: threading.Event) -> None:
        """A reset throws away what still waits to be sent, so that is let through first."""
        self._before_last()
        for _ in range(int(_DRAIN_SECONDS / 0.001)):
            waiting = fcntl.ioctl(self._connection, termios.TIOCOUTQ, struct.pack("i", 0))
            if struct.unpack("i", waiting)[0] == 0 or stopping.wait(0.001):
                break
        reset_on_close(self._connection)
        socket.socket.close(self._connection)


def _retry_after(response: Response) -> str | None:
    return next((value for name, value in response.headers.items() if name.lower() == "retry-after"), None)


def _length(response: Response) -> int:
    if response.source is None:
        return len(response.body)
    rest = max(0, response.source.size - response.first)
    return rest if response.count is None else min(rest, response.count)


def _pieces(response: Response, start: int, stop: int) -> Iterator[bytes]:
    if response.source is None:
        if start < stop:
            yield response.body[start:stop]
        return
    while start < stop:
        piece = response.source.read(response.first + start, min(_PIECE_BYTES, stop - start))
        if not piece:
            raise ConnectionError("a body's source ended before its size")
        yield piece
        start += len(piece)


def _say_goodbye(connection: socket.socket) -> None:
    """Ends TLS in good order, without waiting for the client's goodbye, which may never come."""
    if not isinstance(connection, ssl.SSLSocket):
        return
    try:
        connection.setblocking(False)
        connection.unwrap()
    except (OSError, ValueError):
        pass  # sent all the same; the client's own goodbye is not awaited
