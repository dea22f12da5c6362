"""What becomes of a file whose place is taken. It looks at nothing itself; `plan.py` tells it what is there.

    at the place                 skip    rename          overwrite   fail
    nothing                      write   write           write       write
    a file, equal size and time  keep    keep            replace     refuse
    another file, a link ...     refuse  another name    replace     refuse
    a folder                     refuse  another name    refuse      refuse

A file that is refused is listed as failed and left as it is; under `fail` nothing at all is written then. A link that
is replaced is replaced itself, never what it leads to.
"""

import stat
from collections.abc import Callable
from os import stat_result
from typing import Literal

from backup_core.repository.go_json import FIRST_NANOSECOND, LAST_NANOSECOND
from backup_core.repository.names import stored_name
from backup_core.repository.node import Node

Conflict = Literal["skip", "rename", "overwrite", "fail"]
Action = Literal["write", "replace", "keep", "refuse"]

# File systems cut times to 100 ns (NTFS), 10 ms (exFAT) or a second: what was restored to them must be known again.
_GRAINS_NANOSECONDS = (1, 100, 10_000_000, 1_000_000_000)


def decide(
    conflict: Conflict, node: Node, find: Callable[[str], stat_result | None], is_taken: Callable[[str], bool]
) -> tuple[Action, str]:
    """What to do about a file, and the name that it gets.

    `find` tells what is at a name of the target; `is_taken` whether another item of the snapshot claims that name.
    """
    name, found = node.name, find(node.name)
    if found is None:
        return "write", name
    if conflict == "overwrite":
        return ("refuse" if stat.S_ISDIR(found.st_mode) else "replace"), name
    if conflict == "fail":
        return "refuse", name
    if is_same(found, node):
        return "keep", name
    if conflict == "skip":
        return "refuse", name
    return _another_name(node, find, is_taken)


def is_same(found: stat_result, node: Node) -> bool:
    """Whether it counts as restored already: a plain file of the same size and time."""
    if not stat.S_ISREG(found.st_mode) or found.st_size != node.size:
        return False
    wanted = time_of(node)
    return wanted is not None and any(found.st_mtime_ns == wanted - wanted % grain for grain in _GRAINS_NANOSECONDS)


def time_of(node: Node) -> int | None:
    """Nanoseconds since 1970; None where a foreign node has no time, or one that no file system can hold."""
    try:
        time = node.modified
    except ValueError:
        return None
    return time if FIRST_NANOSECOND <= time <= LAST_NANOSECOND else None


def _another_name(
    node: Node, find: Callable[[str], stat_result | None], is_taken: Callable[[str], bool]
) -> tuple[Action, str]:
    """The first of `name (restored).ext`, `name (restored 2).ext` ... that is free, or that an earlier run has written:
    so that a second run ends where one that was killed would have.
    """
    stem, dot, extension = node.name.rpartition(".")
    if not stem:
        stem, dot, extension = node.name, "", ""
    number = 1
    while True:
        mark = "restored" if number == 1 else f"restored {number}"
        name = stored_name(f"{stem} ({mark}){dot}{extension}")
        number += 1
        if is_taken(name):
            continue
        found = find(name)
        if found is None:
            return "write", name
        if is_same(found, node):
            return "keep", name
