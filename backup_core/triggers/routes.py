"""The table of the JSON routes: what each is called with, what it answers, and who may. It carries out nothing.

The functions are registered from it, bodies and queries are decoded by it, and the OpenAPI document is made of it.
"""

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import msgspec

from backup_core.triggers import shapes
from backup_core.triggers.shapes import NoBody, NoQuery, Page

Q = TypeVar("Q", bound=msgspec.Struct)
B = TypeVar("B", bound=msgspec.Struct)
R = TypeVar("R")

Who = Literal["anyone", "operator"]


@dataclass(frozen=True)
class Route(Generic[Q, B, R]):
    """`name`: of the function. `refusals`: statuses beyond those that every route of its kind can answer with."""

    name: str
    method: Literal["GET", "POST", "PATCH"]
    path: str
    summary: str
    query: type[Q]
    body: type[B]
    answer: type[R]
    status: int = 200
    who: Who = "operator"
    refusals: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every status but the good one that a caller must be ready for."""
        found = {400, 429, 500, 503, *self.refusals}
        if self.who == "operator":
            found |= {401, 403}
        if "{" in self.path or "tenant" in self.query.__struct_fields__:
            found.add(404)
        if self.writes:
            found |= {403, 413, 415}
        return tuple(sorted(found))


START_RUN = Route(
    "start_run", "POST", "api/runs", "Back up one account, or all of a tenant, now",
    NoQuery, shapes.RunWanted, shapes.Run, status=202, refusals=(404, 409), headers=("Location",),
)  # fmt: skip
CANCEL_RUN = Route(
    "cancel_run", "POST", "api/runs/{run}/cancel", "Start no further batch; what is saved stays for the next run",
    NoQuery, NoBody, shapes.Run, status=202, refusals=(409,), headers=("Location",),
)  # fmt: skip
LIST_RUNS = Route(
    "list_runs", "GET", "api/runs", "Runs, the newest first; without a tenant all that the caller may see",
    shapes.RunsQuery, NoBody, Page[shapes.Run],
)  # fmt: skip
SHOW_RUN = Route(
    "show_run", "GET", "api/runs/{run}", "State, progress and results of one run",
    shapes.RunQuery, NoBody, shapes.Run,
)  # fmt: skip
LIST_TENANTS = Route(
    "list_tenants", "GET", "api/tenants", "Who has consented",
    shapes.PageQuery, NoBody, Page[shapes.Tenant],
)  # fmt: skip
SHOW_TENANT = Route(
    "show_tenant", "GET", "api/tenants/{tenant}", "One tenant",
    NoQuery, NoBody, shapes.Tenant, headers=("ETag",),
)  # fmt: skip
CHANGE_TENANT = Route(
    "change_tenant", "PATCH", "api/tenants/{tenant}", "Pause all runs of a tenant, or let them go on",
    NoQuery, shapes.TenantChange, shapes.Tenant, refusals=(409, 412), headers=("ETag",),
)  # fmt: skip
APPROVE_TENANT = Route(
    "approve_tenant", "POST", "api/tenants/{tenant}/approve", "Let a tenant in that waits for it",
    NoQuery, NoBody, shapes.Tenant, refusals=(409, 412), headers=("ETag",),
)  # fmt: skip
LIST_ACCOUNTS = Route(
    "list_accounts", "GET", "api/tenants/{tenant}/accounts", "Who is protected, and who is not",
    shapes.AccountsQuery, NoBody, Page[shapes.Account],
)  # fmt: skip
SHOW_ACCOUNT = Route(
    "show_account", "GET", "api/accounts/{account}", "One account, by its id or its user principal name",
    NoQuery, NoBody, shapes.Account, headers=("ETag",),
)  # fmt: skip
CHANGE_ACCOUNT = Route(
    "change_account", "PATCH", "api/accounts/{account}", "Include an account or leave it out; its schedule and tags",
    NoQuery, shapes.AccountChange, shapes.Account, refusals=(409, 412), headers=("ETag",),
)  # fmt: skip
LIST_SNAPSHOTS = Route(
    "list_snapshots", "GET", "api/accounts/{account}/snapshots", "What the repository holds, the newest first",
    shapes.PageQuery, NoBody, Page[shapes.Snapshot],
)  # fmt: skip
LIST_ITEMS = Route(
    "list_items", "GET", "api/accounts/{account}/snapshots/{snapshot}/items", "What lies in one folder of a snapshot",
    shapes.ItemsQuery, NoBody, Page[shapes.Item],
)  # fmt: skip
LIST_AUDIT = Route(
    "list_audit", "GET", "api/audit", "Who changed what, and when, the newest first",
    shapes.AuditQuery, NoBody, Page[shapes.AuditRow],
)  # fmt: skip
HEALTH = Route(
    "show_health", "GET", "api/health", "Whether the installation can do its work; operators also see why not",
    NoQuery, NoBody, shapes.Health, who="anyone",
)  # fmt: skip
OPENAPI = Route(
    "show_openapi", "GET", "api/openapi.json", "This description",
    NoQuery, NoBody, dict[str, Any], who="anyone",
)  # fmt: skip

ROUTES: tuple[Route[Any, Any, Any], ...] = (
    START_RUN, CANCEL_RUN, LIST_RUNS, SHOW_RUN,
    LIST_TENANTS, SHOW_TENANT, CHANGE_TENANT, APPROVE_TENANT,
    LIST_ACCOUNTS, SHOW_ACCOUNT, CHANGE_ACCOUNT, LIST_SNAPSHOTS, LIST_ITEMS,
    LIST_AUDIT, HEALTH, OPENAPI,
)  # fmt: skip
