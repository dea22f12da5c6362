"""Where log lines go: warnings of our own rooms to the person, those of foreign libraries nowhere."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from backup_core.cli.output import Output


class _ToOutput(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.warning(record.getMessage())


@contextmanager
def shown_logs(output: Output) -> Iterator[None]:
    """A foreign library's line may hold an address with a token in it; without any handler Python would print it."""
    own, foreign = logging.getLogger("backup_core"), logging.getLogger()
    to_output, to_nowhere = _ToOutput(output), logging.NullHandler()
    own.addHandler(to_output)
    foreign.addHandler(to_nowhere)
    try:
        yield
    finally:
        own.removeHandler(to_output)
        foreign.removeHandler(to_nowhere)
