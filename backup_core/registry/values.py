"""What the values of a row look like: times as sortable text, lists as JSON, nothing for what is not there."""

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from backup_core.errors import DrivekeepError
from backup_core.registry import keys
from backup_core.registry.table import Row, Value

Kept = Value | datetime.datetime | Sequence[Any] | Mapping[str, Any] | None


def to_values(format_number: int, **kept: Kept) -> dict[str, Value]:
    """The values of a row that says which format it has. What is None or an empty list is left out.

    Half a character, which Graph can pass on from a name but no table takes, becomes a question mark.
    """
    values: dict[str, Value] = {"format": format_number}
    for name, each in kept.items():
        if isinstance(each, datetime.datetime):
            values[name] = keys.stamp(each)
        elif isinstance(each, str):
            values[name] = _whole(each)
        elif isinstance(each, int | float):
            values[name] = each
        elif each:
            values[name] = _whole(json.dumps(each, ensure_ascii=False, separators=(",", ":")))
    return values


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()


class Reader:
    """Reads what `to_values` wrote. DrivekeepError (reason "newer-format") for a row of a later drivekeep."""

    def __init__(self, row: Row, known_format: int) -> None:
        self._values = row.values
        if int(row.values.get("format", 0)) > known_format:
            raise DrivekeepError(
                "The registry was written by a newer drivekeep.",
                why=f"The row {row.key} has format {row.values['format']}; this version knows {known_format}.",
                remedy="Deploy the version that wrote it, or a later one.",
                reason="newer-format",
            )

    def text(self, name: str) -> str:
        """ "" where there is none."""
        return str(self._values.get(name, ""))

    def text_or_none(self, name: str) -> str | None:
        return str(self._values[name]) if name in self._values else None

    def flag(self, name: str) -> bool:
        return bool(self._values.get(name, False))

    def time(self, name: str) -> datetime.datetime | None:
        return keys.moment(str(self._values[name])) if name in self._values else None

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(str(each) for each in json.loads(self.text(name) or "[]"))

    def mapping(self, name: str) -> dict[str, Any]:
        """{} where there is none."""
        found: dict[str, Any] = json.loads(self.text(name) or "{}")
        return found
