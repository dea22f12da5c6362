"""A claim: one drive that waits to be worked on or is being worked on, and by whom. It reads and writes no row.

There is at most one per account, and that makes a drive's run single: scheduled, asked for by hand, or maintenance.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backup_core.errors import DrivekeepError
from backup_core.runs.run import NOTHING_DONE, QUEUED, RUNNING, Progress

BACKUP, MAINTAIN = "backup", "maintain"


class ClaimLost(DrivekeepError):
    """The claim is another's meanwhile, or nobody's: whoever held it stops and writes nothing more."""

    reason = "claim-lost"


@dataclass(frozen=True)
class Claim:
    """Both ids are lower case. `run`: the id of its run, "" for maintenance.

    `tags`: those of the run; the account's own come on top. While queued: `may_start_at`. While running: `lane`,
    `token` (whoever shows it holds the claim), `started_at` and `beat_at` of this turn. `worked_seconds`: of earlier
    turns. `put_back_for`: why it went back to the queue last, "" in its first turn. `next_run`: a run that waits for
    the end of this claim, which does not do that run's work. `cancelled`: whether its run is, as `beat` has found.

    `counted`: what of `progress` stands in the run's row already. `moved`: whether this turn has done anything;
    `deaths`: turns in a row that ended by dying without having done anything. `done`: what was told of the drive's
    snapshot, once it is made; from then on nothing is left but to `finish`.
    """

    tenant: str
    account: str
    kind: str
    run: str
    queued_at: datetime.datetime
    may_start_at: datetime.datetime
    source: str | None = None
    tags: tuple[str, ...] = ()
    dry_run: bool = False
    lane: str = ""
    token: str = ""
    started_at: datetime.datetime | None = None
    beat_at: datetime.datetime | None = None
    worked_seconds: float = 0.0
    progress: Progress = NOTHING_DONE
    counted: Progress = NOTHING_DONE
    moved: bool = False
    deaths: int = 0
    put_back_for: str = ""
    next_run: str = ""
    done: Mapping[str, Any] = field(default_factory=dict)
    cancelled: bool = False
    etag: str = field(default="", compare=False)

    @property
    def state(self) -> str:
        return RUNNING if self.token else QUEUED

    @property
    def uncounted(self) -> Progress:
        return self.progress - self.counted
