"""The demo's first part: a drive backed up, changed, backed up again, and brought back as it was and as it is."""

import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backup_core.cli.demo.stage import Stage
from backup_core.cli.demo.story import Figures
from backup_core.cli.output import size_text
from backup_core.testing import demo_drive
from backup_core.testing.restored_folder import compare

if TYPE_CHECKING:
    from backup_core.testing.m365.drive import Entry

_LOCATION = "azure:demo:/alex"


class OneDrive:
    """`figures`: what the commands took; `differences`: what did not come back as it was."""

    def __init__(self, stage: Stage) -> None:
        self.figures: list[Figures] = []
        self.differences: list[str] = []
        self._stage, self._story = stage, stage.story
        self._user = stage.m365.users[0]
        self._shell = stage.shell(
            {
                **stage.m365.environment(user=None),
                "AZURE_STORAGE_CONNECTION_STRING": stage.storage,
                "DRIVEKEEP_REPOSITORY": _LOCATION,
                "DRIVEKEEP_PASSWORD": secrets.token_urlsafe(12),
            }
        )

    def fill(self, folder: Path | None) -> None:
        drive = self._user.drive
        if folder:
            drive.mount_folder(folder)
        else:
            demo_drive.fill(drive)
        held = f"{len(drive.files())} files, {size_text(drive.root.size)}"
        self._story.say(f"The OneDrive of {self._user.upn} holds {held}.")

    def play(self) -> None:
        drive = self._user.drive
        self._story.command(f"$ export DRIVEKEEP_REPOSITORY={_LOCATION}  # and a password, and the app's credentials")
        before = drive.snapshot()
        first = self._back_up("first backup")
        self._story.say()
        self._story.say("Now the drive changes:")
        for line in demo_drive.change(drive):
            self._story.say(f"  {line}")
        after = drive.snapshot()
        self._back_up("second backup")
        for line in self._shell.run("snapshots", unseen=self._stage.quiet_words).lines:
            self._story.say(line)
        self._restore("latest", "restored-latest", after)
        self._restore(first[:8], "restored-first", before)

    def _back_up(self, name: str) -> str:
        """The new snapshot's id."""
        asked = self._stage.graph_requests()
        unseen = ("--json", *self._stage.quiet_words)
        ran = self._shell.run("backup", "--account", self._user.upn, unseen=unseen)
        summary = json.loads(ran.lines[-1])
        self.figures.append(
            Figures(
                name,
                summary["files_total"],
                summary["bytes_total"],
                summary["bytes_added"],
                self._stage.graph_requests() - asked,
                summary["store_requests"],
                ran.seconds,
            )
        )
        for line in _backed_up(summary):
            self._story.say(line)
        return str(summary["snapshot_id"])

    def _restore(self, snapshot: str, target: str, expected: "Mapping[str, Entry]") -> None:
        asked = self._stage.graph_requests()
        ran = self._shell.run("restore", snapshot, "--target", target, unseen=self._stage.quiet_words)
        for line in ran.lines:
            self._story.say(line)
        found = compare(self._stage.scratch / target, expected)
        requests = self._stage.graph_requests() - asked
        self.figures.append(Figures(f"restore {snapshot}", found.files, found.bytes, None, requests, None, ran.seconds))
        self.differences += [f"{target}/{difference}" for difference in found.differences]
        if found.differences:
            self._story.say(f"{len(found.differences)} differences from the drive at that moment", style="bold red")
        else:
            counts = f"{found.files} files and {found.folders} folders"
            self._story.say(f"Compared with the drive at that moment: {counts} are equal, bytes and times", "green")


def _backed_up(summary: dict[str, Any]) -> Iterator[str]:
    files = ", ".join(f"{summary[f'files_{kind}']} {kind}" for kind in ("new", "changed", "unmodified", "deleted"))
    yield f"Snapshot {summary['snapshot_id'][:8]}: files {files}"
    yield f"{size_text(summary['bytes_downloaded'])} downloaded, {size_text(summary['bytes_added'])} stored"
