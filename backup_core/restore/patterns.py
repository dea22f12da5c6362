r"""Which paths a person means by --include and --exclude. It reads nothing; paths are true ones, from the drive's root.

    *         any characters within one name       ?       one character of a name
    **        any characters, over folders too     [a-c]   one of these, [!a-c] one of all others
    \*        the character itself                 name/   only a folder of that name

A pattern with a slash before its last character counts from the drive's root (`Documents/*.pdf`), one without in any
folder (`*.pdf`). What matches a folder covers everything below it. Upper and lower case are the same, as on OneDrive.
Patterns that take back an earlier one (`!name`) are refused.
"""

import re
from collections.abc import Iterable

from backup_core.errors import Usage


class Filter:
    """Without `include` everything is included; what is excluded is so whatever includes it."""

    def __init__(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        """Usage where a pattern means nothing."""
        self._include, self._exclude = _any_of(include), _any_of(exclude)

    def wants_file(self, path: str) -> bool:
        return self._wants(path)

    def wants_folder(self, path: str) -> bool:
        """Whether it is to be there even where nothing in it is wanted."""
        return self._wants(path + "/")

    def may_hold(self, path: str) -> bool:
        """Whether anything in a folder can be wanted."""
        return self._exclude is None or not self._exclude.fullmatch(path + "/")

    def _wants(self, path: str) -> bool:
        if self._exclude is not None and self._exclude.fullmatch(path):
            return False
        return self._include is None or self._include.fullmatch(path) is not None


def _any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    parts = [_regex(pattern) for pattern in patterns]
    return re.compile("|".join(parts), re.IGNORECASE | re.DOTALL) if parts else None


def _regex(pattern: str) -> str:
    """Matches the path of a file, or that of a folder with a slash behind it, and whatever lies below."""
    body = pattern.rstrip("/")
    if not body or body.startswith("!"):
        raise Usage(
            f"{pattern!r} is no pattern.",
            why="It is empty." if not body else "A pattern cannot take back an earlier one.",
            remedy=r"Leave it out; for a name that begins with an exclamation mark write \!.",
        )
    anywhere = "" if "/" in body else "(?:.*/)?"
    below = "/.*" if pattern.endswith("/") else "(?:/.*)?"
    return f"{anywhere}{_translated(body.removeprefix('/'))}{below}"


_TOKEN = re.compile(
    r"""(?P<folders>\*\*/)      # none or more folders
      | (?P<all>\*\*)
      | (?P<some>\*)
      | (?P<one>\?)
      | \[(?P<not>[!^]?)(?P<set>\]?[^\]]+|\])\]
      | \\?(?P<literal>.)""",
    re.VERBOSE | re.DOTALL,
)


def _translated(body: str) -> str:
    return "".join(_token(match) for match in _TOKEN.finditer(body))


def _token(match: re.Match[str]) -> str:
    if match["set"] is not None:
        negated = "^" if match["not"] else ""
        return f"(?!/)[{negated}{_set(match['set'])}]"
    fixed = {"folders": "(?:.*/)?", "all": ".*", "some": "[^/]*", "one": "[^/]"}
    return fixed.get(match.lastgroup or "", "") or re.escape(match["literal"])


def _set(members: str) -> str:
    """The inside of a character set. A range that runs backwards would be no regular expression: it is turned round."""
    parts = re.findall(r"(.)-(.)|(.)", members, re.DOTALL)
    return "".join(
        re.escape(single) if single else f"{re.escape(min(low, high))}-{re.escape(max(low, high))}"
        for low, high, single in parts
    )
