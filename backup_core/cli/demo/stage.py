"""The place on which the demo plays: the simulated Microsoft 365, Azurite, and one folder for all that is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backup_core.cli import shell
from backup_core.cli.demo.story import Story
from backup_core.clock import Clock

if TYPE_CHECKING:
    from backup_core.testing.m365 import Simulation


@dataclass(frozen=True)
class Stage:
    """`storage`: Azurite's connection string."""

    story: Story
    m365: "Simulation"
    storage: str
    scratch: Path
    clock: Clock

    def shell(self, settings: Mapping[str, str]) -> "shell.Shell":
        """Whoever types there has these settings, and each command is told as it is typed."""
        return shell.Shell(settings, self.scratch, self.clock, self.story.command)

    @property
    def quiet_words(self) -> tuple[str, ...]:
        """For a command whose progress a person would see."""
        return ("-q",) if self.story.is_quiet else ()

    def graph_requests(self) -> int:
        """How many there have been so far."""
        return len(self.m365.log.of("graph"))
