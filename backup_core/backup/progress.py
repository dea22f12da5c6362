"""How a long run tells how far it is. What is shown, and where, is the matter of whoever passes one in."""

from typing import Protocol


class Progress(Protocol):
    """May be called from several threads at once, and often; no call may fail the run or hold it up."""

    def stage(self, name: str, files: int = 0, bytes: int = 0) -> None:
        """A part of the run begins, named in words for a person, with so much to do; 0 where that is not known.

        What is done counts from zero again.
        """

    def total(self, files: int, bytes: int) -> None:
        """The stage turned out to have so much to do."""

    def advance(self, files: int = 0, bytes: int = 0) -> None:
        """So much more is done."""

    def waiting(self, seconds: float) -> None:
        """Microsoft asked for a pause of so many seconds, which begins now."""

    def message(self, text: str) -> None:
        """One line worth reading that is no error."""


class NoProgress:
    """For whoever does not want to know."""

    def stage(self, name: str, files: int = 0, bytes: int = 0) -> None: ...

    def total(self, files: int, bytes: int) -> None: ...

    def advance(self, files: int = 0, bytes: int = 0) -> None: ...

    def waiting(self, seconds: float) -> None: ...

    def message(self, text: str) -> None: ...
