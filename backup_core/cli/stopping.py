"""Ctrl-C and SIGTERM: the first ends the command cleanly, the second at once."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from backup_core.clock import SystemClock
from backup_core.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """While it is entered, a signal raises Interrupted in the main thread and ends every wait of the clock.

    Whatever holds a lock or a thread lets go of it on the way out; what is saved stays for the next run. `asked` tells
    afterwards that it was so, whichever error the way out ended with.
    """

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self.asked: Interrupted | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stopping":
        if threading.current_thread() is threading.main_thread():  # Python has signals nowhere else
            self._before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        exit_code = 128 + number
        if self.asked:
            os._exit(exit_code)  # a lock that stays is removed by a later run, once it is half an hour old
        word = "Interrupted" if number == signal.SIGINT else "Terminated"
        self.asked = Interrupted(f"{word} before the end.", exit_code=exit_code)
        self._clock.stop.set()
        raise self.asked
