"""Every body that the routes take and every document that they answer with. It holds no rule but those of shape.

The routes decode and encode through these, and the OpenAPI document is made from them: what is written there is what
happens.
"""

from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000

# The end of a text for Python, whose `$` lets a line break follow, and for JSON Schema, which has no `\Z`.
_END = r"(?![\s\S])"

Text = Annotated[str, Meta(min_length=1, max_length=256, pattern=rf"^[^\x00-\x1f\x7f]+{_END}")]
Tag = Annotated[str, Meta(min_length=1, max_length=100, pattern=rf"^[^\x00-\x1f\x7f,]+{_END}")]
Tags = Annotated[list[Tag], Meta(max_length=20)]
Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX)]
Path = Annotated[str, Meta(max_length=4096, pattern=rf"^[^\x00]*{_END}")]

RunState = Literal["queued", "running", "complete", "incomplete", "failed"]
TenantState = Literal["connected", "pending", "consent-lost"]
AccountState = Literal["protected", "pending", "no-drive", "guest", "excluded", "left", "sign-in-again"]


class Input(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a caller sends: a name that the route does not know is a mistake that is told."""


class Output(msgspec.Struct, kw_only=True):
    """What a caller gets."""


# -- what is asked -----------------------------------------------------------------------------------------------------


class NoQuery(Input):
    """A route without parameters."""


class PageQuery(Input):
    limit: Limit = LIMIT_DEFAULT
    after: Text | None = None


class RunsQuery(PageQuery):
    tenant: Text | None = None


class RunQuery(PageQuery):
    """Of one run, the results are the list."""

    limit: Limit = LIMIT_MAX


class AuditQuery(RunsQuery):
    pass


class AccountsQuery(PageQuery):
    state: AccountState | None = None


class ItemsQuery(Input):
    """`after`: how many items came before. A snapshot never changes, so a position is as good as a name."""

    limit: Limit = LIMIT_DEFAULT
    after: Annotated[int, Meta(ge=0)] = 0
    path: Path = ""


class NoBody(Input):
    """A route that needs no body: none, or an empty object."""


class RunWanted(Input):
    """`account`: by id or user principal name; without it the whole tenant."""

    tenant: Text
    account: Text | None = None
    source: Literal["onedrive", "onedrive-changes"] | None = None
    tags: Tags = msgspec.field(default_factory=list)
    dry_run: bool = False


class TenantChange(Input):
    """`destination`: not built yet, and refused with that reason."""

    paused: bool | msgspec.UnsetType = msgspec.UNSET
    destination: Text | msgspec.UnsetType | None = msgspec.UNSET


class AccountChange(Input):
    """`schedule`: a cron of five fields in UTC; null follows the default. `exclude`: not built yet, and refused."""

    included: bool | msgspec.UnsetType = msgspec.UNSET
    schedule: Text | msgspec.UnsetType | None = msgspec.UNSET
    exclude: list[str] | msgspec.UnsetType = msgspec.UNSET
    tags: Tags | msgspec.UnsetType = msgspec.UNSET


# -- what is answered --------------------------------------------------------------------------------------------------


class Page(Output, Generic[T]):
    """`next`: where the list goes on; null at its end."""

    items: list[T]
    next: str | None


class Tenant(Output):
    """`accounts`: how many there are, by state."""

    id: str
    name: str
    domain: str
    state: TenantState
    paused: bool
    destination: str | None
    connected_at: str | None
    accounts: dict[str, int]


class LastRun(Output):
    id: str
    state: RunState
    finished_at: str | None


class Account(Output):
    id: str
    tenant: str
    upn: str
    display_name: str
    drive_id: str | None
    state: AccountState
    included: bool
    schedule: str | None
    exclude: list[str]
    tags: list[str]
    last_run: LastRun | None
    last_success_at: str | None
    next_due_at: str | None
    repository: str | None


class Progress(Output):
    drives_total: int
    drives_done: int
    items_done: int
    items_total: int | None
    bytes_done: int
    throttled_seconds: float
    estimated_end_at: str | None


class ResultError(Output):
    reason: str
    message: str


class Result(Output):
    """One drive of a run. `summary`: as `backup --json` ends, its lists cut at 100."""

    account: str
    upn: str
    state: RunState
    snapshot_id: str | None
    summary: dict[str, Any] | None
    error: ResultError | None


class Run(Output):
    """`account`: null where it is a whole tenant's. In lists and while it is queued there are no `results`."""

    id: str
    tenant: str
    account: str | None
    trigger: Literal["schedule", "api"]
    state: RunState
    requested_at: str
    started_at: str | None
    finished_at: str | None
    progress: Progress
    results: list[Result]
    results_next: str | None


class Source(Output):
    type: str
    account: str
    path: str


class Snapshot(Output):
    """`source` and `complete`: null where stock restic made it."""

    id: str
    short_id: str
    time: str
    hostname: str
    username: str
    paths: list[str]
    tags: list[str]
    tree: str
    parent: str | None
    source: Source | None
    complete: bool | None
    suspicious: bool


class Item(Output):
    """`path` starts at the drive's root."""

    path: str
    type: str
    size: int
    mtime: str
    item_id: str | None
    quickxorhash: str | None
    verdict: str | None


class AuditRow(Output):
    id: str
    at: str
    tenant: str
    who: str
    what: str
    target: str
    details: dict[str, Any]


class Problem(Output):
    """Something about the installation that an operator has to mend."""

    reason: str
    message: str
    remedy: str


class Health(Output, omit_defaults=True):
    """`problems`: for operators only."""

    status: Literal["ok", "degraded"]
    version: str
    problems: list[Problem] | msgspec.UnsetType = msgspec.UNSET


class Refused(Output, rename={"kind": "type"}, omit_defaults=True):
    """problem+json. `correlation`: the line of the log that says more."""

    kind: str
    title: str
    status: int
    detail: str
    reason: str
    instance: str
    correlation: str | msgspec.UnsetType = msgspec.UNSET
