"""What a check found, for a person and for a program."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from backup_core.errors import Damaged

FILES_NAMED_MAX = 1000  # a lost pack can hit a million files: these many are named, all are counted


@dataclass(frozen=True)
class Finding:
    """Something that is damaged: a stored object (`name`), or an item that cannot be restored whole (`path`)."""

    what: str
    remedy: str
    name: str = ""
    snapshot: str = ""  # the newest one that it was seen in; others may share it
    path: str = ""


@dataclass
class CheckReport:
    """`notes` are worth knowing and no damage: nothing that can be restored depends on them."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    snapshots: int = 0
    packs: int = 0
    packs_read: int = 0
    bytes_read: int = 0  # of packs that were read whole
    folders: int = 0
    files: int = 0
    items_affected: int = 0
    _told: set[int] = field(default_factory=set, repr=False)

    @property
    def exit_code(self) -> int:
        return Damaged.exit_code if self.findings else 0

    def add_affected(self, what: str, remedy: str, snapshot: str, path: str) -> None:
        """An item that cannot be restored whole; the same again, in an older snapshot, adds nothing."""
        told = hash((what, path))
        if told in self._told:
            return
        self._told.add(told)
        self.items_affected += 1
        if self.items_affected <= FILES_NAMED_MAX:
            self.findings.append(Finding(what, remedy, snapshot=snapshot, path=path))

    def to_json(self) -> dict[str, Any]:
        counts = {key: value for key, value in vars(self).items() if isinstance(value, int)}
        return {
            "message_type": "summary",
            "ok": not self.findings,
            **counts,
            "errors": [asdict(finding) for finding in self.findings],
            "notes": self.notes,
        }

    def lines(self) -> Iterator[str]:
        """For a person: what is damaged first, then the remedies, each once."""
        for finding in self.findings:
            where = f"{finding.path or '/'} in snapshot {finding.snapshot[:8]}: " if finding.snapshot else ""
            yield f"DAMAGED: {where}{finding.what}"
        if self.items_affected > FILES_NAMED_MAX:
            yield f"DAMAGED: and {self.items_affected - FILES_NAMED_MAX} more files and folders"
        for remedy in dict.fromkeys(finding.remedy for finding in self.findings):
            yield f"What to do: {remedy}"
        for note in self.notes:
            yield f"note: {note}"
        read = f", {self.packs_read} of them read and verified" if self.packs_read else ""
        yield f"{self.snapshots} snapshots, {self.folders} folders, {self.files} files, {self.packs} packs{read}"
        yield "Damage was found." if self.findings else "No damage was found."
