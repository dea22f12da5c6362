"""What one call still has of its retries and of its patience with throttling."""

from backup_core.errors import Temporary
from backup_core.graph.gate import Gate, pause, throttled


class NoAnswer(Temporary):
    """No reply at all, try after try: the network or the service is away, and not one item's trouble."""


class Cut(Exception):
    """A try that failed in a way that may pass: no answer, half an answer, or an answer that makes no sense.

    Its text says what happened, in words that may be shown: no address, since addresses carry tokens.
    """

    def __init__(self, why: str, *, answered: bool = True) -> None:
        super().__init__(why)
        self.why, self.answered = why, answered


class Attempts:
    """One call's budget: `retries` after the first try, and beside them `patience` seconds of throttling."""

    def __init__(self, gate: Gate, retries: int, patience: float) -> None:
        self._gate, self._retries, self._patience_whole = gate, retries, patience
        self._patience = patience
        self._failed = self._throttled = 0

    @property
    def exhausted(self) -> bool:
        return self._failed >= self._retries

    def begin(self) -> None:
        """Before each try: waits until the gate is open. Temporary with reason `throttled`."""
        self._patience -= self._gate.wait(self._patience)

    def failed(self, cut: Cut, what: str) -> None:
        """Spend one retry and wait. Temporary where none is left; `what` was asked names it there."""
        if self.exhausted:
            raise (Temporary if cut.answered else NoAnswer)(
                f"{what} failed: {cut.why}.",
                why=f"It was tried {self._failed + 1} times.",
                remedy="Check the network, then run the same command again: it goes on with what was saved.",
            )
        self._failed += 1
        pause(self._gate.clock, self._gate.backoff(self._failed))

    def throttled(self, retry_after: float) -> None:
        """Close the gate for everybody. `retry_after` of 0: Microsoft did not say how long, or said nonsense."""
        self._throttled += 1
        seconds = retry_after or self._gate.backoff(self._throttled)
        self._gate.close_for(seconds)
        if seconds > self._patience:
            raise throttled(seconds)

    def progressed(self) -> None:
        """So much has arrived that earlier failures and waits no longer count."""
        self._failed = self._throttled = 0
        self._patience = self._patience_whole
