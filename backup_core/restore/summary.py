"""What a restore did, or in a dry run would do."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Failure(NamedTuple):
    """Something that was not restored.

    `reason`: `exists` (its place is taken), `damaged` (content or list is damaged or missing in the repository),
    `size-mismatch`, `hash-mismatch` (what was written, or was there, is not what the snapshot holds), `write-failed`,
    `invalid-item` (no file system can hold its name, or it is neither file nor folder).
    """

    path: str
    reason: str
    message: str = ""


@dataclass
class RestoreSummary:
    files_restored: int = 0
    bytes_restored: int = 0
    files_skipped: int = 0  # there already
    files_failed: list[Failure] = field(default_factory=list)  # a folder stands for all that is below it

    @property
    def exit_code(self) -> int:
        return 3 if self.files_failed else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "message_type": "summary",
            "files_restored": self.files_restored,
            "bytes_restored": self.bytes_restored,
            "files_skipped": self.files_skipped,
            "files_failed": [failure._asdict() for failure in self.files_failed],
        }
