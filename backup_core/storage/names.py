"""The shape of a stored name, checked at every store's door. It makes no names; `repository/layout.py` does."""

import re

# Letters, digits, "_" and "-", with dots inside: valid and unambiguous on every file system and on Azure, which reads
# "." and ".." as folders, "\\" as "/", and drops a dot at the end of a segment.
_SEGMENT = r"[A-Za-z0-9_-](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?"
_NAME = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*\Z")
# Azure's limit for a blob name is 1,024; what is left is for a location's prefix.
_NAME_CHARACTERS_MAX = 512

# Unfinished files of a local folder; also stock restic's own, which it calls the same (and ignores, as we do).
_TEMPORARY = re.compile(r"-tmp-[0-9A-Za-z]+\Z")


def check_name(name: str) -> str:
    """The name itself, or ValueError: a wrong name is a mistake in the program and must not reach a path."""
    if not _NAME.match(name) or len(name) > _NAME_CHARACTERS_MAX or is_temporary(name):
        raise ValueError(f"not a name for a stored object: {name!r}")
    return name


def check_folder(prefix: str) -> str:
    """The prefix itself: "" for everything, or a name that ends with "/"; else ValueError."""
    if prefix:
        if not prefix.endswith("/"):
            raise ValueError(f"not a folder to list: {prefix!r}")
        check_name(prefix[:-1])
    return prefix


def check_range(offset: int, length: int) -> None:
    """ValueError where a caller asks for bytes before the beginning, or for fewer than none."""
    if offset < 0 or length < 0:
        raise ValueError(f"not a range of an object: {length} bytes from {offset}")


def is_temporary(name: str) -> bool:
    """Whether a file is one that a writer has not finished, or never will."""
    return _TEMPORARY.search(name) is not None
