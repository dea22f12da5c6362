"""A run: what was asked for, how far it is, and how each drive of it ended. It reads and writes no row.

A tenant's run is complete where every drive's result is, failed where no drive has a snapshot, else incomplete.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

QUEUED, RUNNING = "queued", "running"
COMPLETE, INCOMPLETE, FAILED = "complete", "incomplete", "failed"
ENDS = (COMPLETE, INCOMPLETE, FAILED)

CANCELLED, INTERRUPTED, INTERNAL = "cancelled", "interrupted", "internal"
# Why a drive's run failed, in the words that programs know.
REASONS = frozenset(
    {
        "no-drive",
        "drive-blocked",
        "account-gone",
        "consent-lost",
        "sign-in-again",
        "throttled",
        "locked",
        "wrong-key",
        "newer-format",
        "storage-unreachable",
        INTERRUPTED,
        CANCELLED,
        INTERNAL,
    }
)

_MESSAGE_MAX = 1000  # characters; a row is read as a whole


@dataclass(frozen=True)
class Progress:
    """Totals since a drive's run began, however many lanes have worked on it. `items_total`: 0 while unknown."""

    items_done: int = 0
    items_total: int = 0
    bytes_done: int = 0
    throttled_seconds: float = 0.0
    graph_requests: int = 0
    store_requests: int = 0

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From names and numbers; other names are passed over, a missing one is 0."""
        known = {each.name: each.type for each in fields(cls)}
        return cls(**{name: _number(known[name], value) for name, value in told.items() if name in known})

    def updated(self, told: Mapping[str, Any]) -> "Progress":
        """With the figures that were told; the others stay."""
        return Progress.of({**asdict(self), **told})

    def moved_since(self, earlier: "Progress") -> bool:
        """Whether work was done: requests and waiting are none."""
        return (self.items_done, self.items_total, self.bytes_done) != (
            earlier.items_done,
            earlier.items_total,
            earlier.bytes_done,
        )

    def __add__(self, more: "Progress") -> "Progress":
        return Progress(**{each.name: getattr(self, each.name) + getattr(more, each.name) for each in fields(self)})

    def __sub__(self, less: "Progress") -> "Progress":
        return Progress(**{each.name: getattr(self, each.name) - getattr(less, each.name) for each in fields(self)})


NOTHING_DONE = Progress()


def _number(kind: Any, value: Any) -> Any:
    return float(value) if kind is float else int(value)


@dataclass(frozen=True)
class Result:
    """How one drive's run ended.

    `state`: complete or incomplete (a snapshot was made; on a dry run it would have been), or failed with one of
    REASONS; another word becomes "internal". `summary`: the figures of the summary; its lists are in the report, whose
    name is `report` ("" where they are empty). `account_state`: what the account has turned out to be ("no-drive",
    "left", "sign-in-again", ...); "" where it is as it was. `drive_id`, `repository`: None where they are not known.
    """

    state: str
    snapshot_id: str | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    message: str = ""
    report: str = ""
    drive_id: str | None = None
    repository: str | None = None
    account_state: str = ""

    def __post_init__(self) -> None:
        if self.state not in ENDS:
            raise ValueError(f"a run does not end as {self.state!r}")
        if self.state == FAILED and self.reason not in REASONS:
            object.__setattr__(self, "reason", INTERNAL)
        object.__setattr__(self, "message", self.message[:_MESSAGE_MAX])


@dataclass(frozen=True)
class Outcome:
    """A result as it is kept: one drive's, in one run. `reason`: "" unless it failed."""

    account: str
    upn: str
    state: str
    snapshot_id: str | None
    summary: Mapping[str, Any]
    reason: str
    message: str
    report: str
    finished_at: datetime.datetime


@dataclass(frozen=True)
class Run:
    """One request for backups: of one account, or (`account` None) of several of a tenant.

    `ended`: results per state. `filling`: more drives may still be added. `progress`: of the drives that are done and
    of earlier turns of those that are not; whoever reads a run through Runs gets that of the running ones added, and
    `estimated_end_at`, None where the pace is not known yet.
    """

    id: str
    tenant: str
    account: str | None
    trigger: str
    requested_at: datetime.datetime
    who: str = ""
    source: str | None = None
    tags: tuple[str, ...] = ()
    dry_run: bool = False
    state: str = QUEUED
    started_at: datetime.datetime | None = None
    finished_at: datetime.datetime | None = None
    drives_total: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)
    progress: Progress = NOTHING_DONE
    filling: bool = False
    cancelled: bool = False
    estimated_end_at: datetime.datetime | None = None
    etag: str = field(default="", compare=False)

    @property
    def drives_done(self) -> int:
        return sum(self.ended.values())

    @property
    def open(self) -> bool:
        return self.state in {QUEUED, RUNNING}

    @property
    def whole(self) -> bool:
        """Whether somebody asked for all accounts of the tenant."""
        return self.account is None and self.trigger != "schedule"

    def with_results(self, states: Sequence[str], more: Progress, now: datetime.datetime) -> "Run":
        """After so many drives of it ended; the last one ends the run."""
        ended = {state: self.ended.get(state, 0) + states.count(state) for state in ENDS}
        return replace(self, ended=ended, progress=self.progress + more).settled(now)

    def settled(self, now: datetime.datetime) -> "Run":
        """Ended, where nothing is left to do and nothing more will come."""
        if not self.open or self.filling or self.drives_done < self.drives_total:
            return self
        return replace(self, state=self._end(), finished_at=now)

    def _end(self) -> str:
        if self.ended.get(COMPLETE, 0) == self.drives_total and not (self.cancelled and not self.drives_total):
            return COMPLETE
        return INCOMPLETE if self.ended.get(COMPLETE, 0) + self.ended.get(INCOMPLETE, 0) else FAILED
