"""Time and waiting, passed in wherever they are needed, so that a test can hold them in its hand."""

import datetime
import threading
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime.datetime:
        """The time of day, in UTC."""

    def monotonic(self) -> float:
        """Seconds that only ever grow; for measuring and for deadlines."""

    def sleep(self, seconds: float) -> None:
        """Wait. May raise Interrupted where the program was asked to stop."""


class SystemClock:
    """The machine's clock. `stop` set from a signal handler ends every wait at once."""

    def __init__(self) -> None:
        self.stop = threading.Event()

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        self.stop.wait(max(0.0, seconds))
