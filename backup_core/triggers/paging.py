"""Where a list goes on: the address of its next page. It reads nothing."""

from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import urlencode

T = TypeVar("T")


def next_page(path: str, asked: Mapping[str, object], after: object) -> str:
    """The same question, further on. `asked`: the parameters; those without a value are left out."""
    given = {name: value for name, value in asked.items() if value not in (None, "")}
    return f"{path}?{urlencode({**given, 'after': after})}"


def split_page(found: Sequence[T], limit: int) -> tuple[list[T], bool]:
    """What belongs on a page of `limit`, and whether one more was found: so an exact fit has no empty page after it."""
    return list(found[:limit]), len(found) > limit
