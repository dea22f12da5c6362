"""The contract of a store: named immutable objects, in words first, then in five methods.

A name is a relative path of plain ASCII segments joined by "/" (`data/ab/abcd…`), never empty, never with a leading,
trailing or doubled slash. Every name that is ever stored is made in `repository/layout.py`.

- An object is written once, whole, and never changed. A reader sees all of it or none of it, from the moment `put_new`
  returns and in every other process; a `put_new` that fails or is killed leaves nothing that a reader can see.
- Two writers of one name: exactly one `put_new` succeeds, the other gets AlreadyExists. A writer whose reply was lost
  and that tries again may get AlreadyExists for its own object; for names that are hashes of the content that is
  success (after comparing the length), for others the caller must read what is there.
- `list` shows at least every object whose `put_new` returned before the call; a failure in the middle raises, it never
  looks like a short list.
- A missing name is NotFound and nothing else is: an unreachable store is Temporary, a refusal AccessDenied, missing or
  unusable credentials Usage, an object shorter than what was asked for Damaged.
- Every method may be called from many threads at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

Buffer = bytes | bytearray | memoryview


class Stored(NamedTuple):
    """What a listing says of an object."""

    name: str
    size: int
    modified: float  # seconds since 1970 by the store's own clock, not by this machine's


class Store(ABC):
    @abstractmethod
    def get(self, name: str) -> bytes:
        """The whole object. NotFound."""

    @abstractmethod
    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`. NotFound; Damaged where the object ends before."""

    @abstractmethod
    def put_new(self, name: str, data: Buffer) -> None:
        """Store an object that is not there yet, durably. AlreadyExists."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Length in bytes, without reading. NotFound."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Stored]:
        """All objects below a folder (`prefix` is "" or ends with "/"), at any depth, ordered by name."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove an object; one that is gone already is no error."""
