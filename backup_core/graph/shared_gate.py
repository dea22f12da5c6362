"""The gate of a tenant whose requests come from many processes: what one of them is told, all of them hear of."""

import math
import random
import threading
from collections.abc import Callable
from typing import Protocol

from backup_core.clock import Clock
from backup_core.errors import DrivekeepError
from backup_core.graph.gate import Gate

LOOK_SECONDS = 2.0  # the truth lies in a table: it is not asked before each of a hundred requests a second


class NotBefore(Protocol):
    """When the tenant may be asked again, where every process sees it. May be called by many threads at once."""

    def seconds_left(self) -> float:
        """0 or less where nothing was demanded, or the time is over."""

    def extend(self, seconds: float) -> None:
        """Nobody asks for so long from now; a demand that ends later stays as it is."""


class SharedGate(Gate):
    """One per tenant and process. Where the table cannot be had, the process goes by what it was told itself."""

    def __init__(
        self,
        clock: Clock,
        not_before: NotBefore,
        on_wait: Callable[[float], None] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(clock, on_wait, jitter)
        self._not_before = not_before
        self._looking = threading.Lock()
        self._looked = -math.inf

    def wait(self, patience: float = math.inf) -> float:
        self._look()
        waited = super().wait(patience)
        if waited:
            self._look()  # the pause may have become longer meanwhile
            waited += super().wait(patience - waited)
        return waited

    def close_for(self, seconds: float) -> None:
        super().close_for(seconds)
        try:
            self._not_before.extend(seconds)
        except DrivekeepError:
            pass  # the others find out by themselves, each at the price of one refused request

    def _look(self) -> None:
        """One thread looks, and the others wait for what it sees."""
        with self._looking:
            now = self.clock.monotonic()
            if now - self._looked < LOOK_SECONDS:
                return
            self._looked = now
            try:
                left = self._not_before.seconds_left()
            except DrivekeepError:
                return
        if left > 0:
            self._close(left)
