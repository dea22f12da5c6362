"""Which properties of an item a request asks for. Says nothing of what they hold."""

from collections.abc import Mapping

DOWNLOAD_URL = "@microsoft.graph.downloadUrl"
_ASKED_BY_ANOTHER_NAME = {"content.downloadurl": DOWNLOAD_URL, DOWNLOAD_URL.lower(): DOWNLOAD_URL}


def option(query: Mapping[str, str], name: str) -> str | None:
    """A query option with or without its dollar sign, whatever its case: Graph takes all of them."""
    wanted = (name.lower(), "$" + name.lower())
    return next((value for key, value in query.items() if key.lower() in wanted), None)


class Selection:
    """The properties of `$select`, or all of them where there is none."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        self._names = None if text is None else frozenset(_name(part) for part in text.split(",") if part.strip())

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Selection":
        return cls(option(query, "select") or None)

    def __contains__(self, name: str) -> bool:
        return self._names is None or name in self._names or name.lower() in self._names


def _name(part: str) -> str:
    name = part.strip()
    return _ASKED_BY_ANOTHER_NAME.get(name.lower(), name.lower())
