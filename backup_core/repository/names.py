"""Names under which any item can be restored on any file system that restic writes to.

It does not see the other names of a folder: who gets a name that two items claim is decided in `tree.py`. The true name
of an item lies beside its stored one wherever the two differ.
"""

import hashlib

STORED_MAX = 255  # bytes of UTF-8: no Linux file system takes more. OneDrive's 255 UTF-16 units can be 765 bytes
TRUE_MAX = 1024  # bytes of UTF-8: more is no name of OneDrive's, and an attribute of 4,020 bytes can no longer be set
_EXTENSION_MAX = 32  # bytes: what is longer after the last dot is no extension worth keeping
_SHORT_MAX = STORED_MAX // 4  # so many characters have room whatever they are
_DOTS = ("", ".", "..")
_UNUSABLE = str.maketrans({"/": "_", "\0": "_"} | {chr(code): "\ufffd" for code in range(0xD800, 0xE000)})


def true_name(name: str) -> str:
    """The name as it is kept beside the stored one: itself, unless it is longer than OneDrive allows."""
    if len(name) <= STORED_MAX or len(_bytes(name)) <= TRUE_MAX:
        return name
    return _shortened(name, TRUE_MAX)


def stored_name(name: str) -> str:
    """The name of the node: `name` itself wherever restic can restore it.

    Never empty, `.` or `..`; no slash, NUL or lone surrogate; at most 255 bytes. A longer name is cut and gets a hash
    of the whole, so that names with a long common beginning stay apart. Two names may still become one.
    """
    if len(name) <= _SHORT_MAX and name.isprintable() and "/" not in name and name not in _DOTS:
        return name  # nearly all are such, and a drive has a million: NUL and surrogates are not printable
    name = true_name(name)
    usable = name.translate(_UNUSABLE)
    if usable in _DOTS:
        return "_" * max(1, len(usable))
    if len(usable.encode()) <= STORED_MAX:
        return usable
    return _shortened(usable, STORED_MAX, of=name)


def contested_name(name: str, item_id: str, attempt: int = 0) -> str:
    """The stored name of an item whose own stored name `name` belongs to another: `name (item id)`.

    Should that name be taken as well, further attempts give further ones.
    """
    return stored_name(f"{name} ({item_id})" + (f" {attempt}" if attempt else ""))


def _shortened(name: str, limit: int, of: str | None = None) -> str:
    """At most `limit` bytes: the beginning, `~`, eight digits of the hash of `of`, and the extension."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(_bytes(extension)) > _EXTENSION_MAX:
        stem, dot, extension = name, "", ""
    digest = hashlib.sha256(_bytes(name if of is None else of)).hexdigest()[:8]
    end = f"~{digest}{dot}{extension}"
    data, room = _bytes(stem), limit - len(_bytes(end))
    while data[room] & 0xC0 == 0x80:  # not in the middle of a character
        room -= 1
    return data[:room].decode("utf-8", "surrogatepass") + end


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
