"""From what the rooms hold to what the routes answer, field by field. It reads nothing."""

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from backup_core.browse.listing import Listed
from backup_core.registry import keys
from backup_core.registry.accounts import Account
from backup_core.registry.audit import AuditEntry
from backup_core.registry.tenants import Tenant
from backup_core.repository.snapshot import Snapshot
from backup_core.repository.tree import Origin
from backup_core.runs.reports import Lists
from backup_core.runs.run import Outcome, Run
from backup_core.triggers import shapes
from backup_core.triggers.http import Refusal, Request

S = TypeVar("S", bound=msgspec.Struct)


def tenant_document(tenant: Tenant, accounts: Mapping[str, int]) -> shapes.Tenant:
    """`accounts`: how many there are, by state."""
    return _made(
        shapes.Tenant,
        id=tenant.id,
        name=tenant.name,
        domain=tenant.domain,
        state=tenant.state,
        paused=tenant.paused,
        destination=tenant.destination,
        connected_at=time_text(tenant.connected_at),
        accounts=dict(accounts),
    )


def account_document(account: Account) -> shapes.Account:
    run = account.last_run
    return _made(
        shapes.Account,
        id=account.id,
        tenant=account.tenant,
        upn=account.upn,
        display_name=account.display_name,
        drive_id=account.drive_id,
        state=account.state,
        included=account.included,
        schedule=account.schedule,
        exclude=account.exclude,
        tags=account.tags,
        last_run=run and {"id": run.id, "state": run.state, "finished_at": time_text(run.finished_at)},
        last_success_at=time_text(account.last_success_at),
        next_due_at=time_text(account.due_at),
        repository=account.repository,
    )


def run_document(run: Run, results: Sequence[shapes.Result] = (), results_next: str | None = None) -> shapes.Run:
    """Without results as it stands in a list."""
    progress = run.progress
    return _made(
        shapes.Run,
        id=run.id,
        tenant=run.tenant,
        account=run.account,
        trigger=run.trigger,
        state=run.state,
        requested_at=time_text(run.requested_at),
        started_at=time_text(run.started_at),
        finished_at=time_text(run.finished_at),
        progress={
            "drives_total": run.drives_total,
            "drives_done": run.drives_done,
            "items_done": progress.items_done,
            "items_total": progress.items_total or (None if run.open else 0),
            "bytes_done": progress.bytes_done,
            "throttled_seconds": progress.throttled_seconds,
            "estimated_end_at": time_text(run.estimated_end_at),
        },
        results=results,
        results_next=results_next,
    )


def result_document(outcome: Outcome, lists: Lists) -> shapes.Result:
    """`lists`: the beginnings of those of its summary, which are kept apart from the figures."""
    summary = {**outcome.summary, **lists} if outcome.summary else None
    error = {"reason": outcome.reason, "message": outcome.message} if outcome.reason else None
    return _made(
        shapes.Result,
        account=outcome.account,
        upn=outcome.upn,
        state=outcome.state,
        snapshot_id=outcome.snapshot_id,
        summary=summary,
        error=error,
    )


def audit_document(entry: AuditEntry, tenant: str) -> shapes.AuditRow:
    at = time_text(entry.at)
    return _made(shapes.AuditRow, **{**entry._asdict(), "at": at, "tenant": tenant})


def snapshot_document(snapshot: Snapshot, origin: Origin | None) -> shapes.Snapshot:
    """`origin`: None for a snapshot that stock restic made."""
    return _made(
        shapes.Snapshot,
        id=snapshot.id,
        short_id=snapshot.id[:8],
        time=snapshot.time,
        hostname=snapshot.hostname,
        username=snapshot.username,
        paths=snapshot.paths,
        tags=snapshot.tags,
        tree=snapshot.tree,
        parent=snapshot.parent or None,
        source=origin and {"type": origin.source, "account": origin.account, "path": f"onedrive://{origin.root}"},
        complete=origin and not origin.incomplete,
        suspicious=bool(origin and origin.suspicious),
    )


def item_document(item: Listed) -> shapes.Item:
    return _made(shapes.Item, **{name: _printable(value) for name, value in item._asdict().items()})


def _made(shape: type[S], **fields: object) -> S:
    """The document, checked against what the description of the routes says of it."""
    return msgspec.convert(fields, shape)


def _printable(value: object) -> object:
    """OneDrive lets half characters through in names, and JSON carries none."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def time_text(moment: datetime.datetime | None) -> str | None:
    """`2026-11-25T16:48:25.123Z`."""
    return None if moment is None else keys.stamp(moment)


def entity_tag(etag: str) -> str:
    """The version of a row as a strong tag, because If-Match compares no weak ones."""
    return f'"{hashlib.sha256(etag.encode()).hexdigest()[:24]}"'


def check_match(request: Request, etag: str) -> None:
    """Refusal 412 where the caller has seen another version than this one."""
    wanted = request.header("if-match")
    if not wanted or wanted.strip() == "*":
        return
    # A proxy that compresses an answer may have marked its tag as weak.
    if entity_tag(etag) not in {each.strip().removeprefix("W/") for each in wanted.split(",")}:
        raise Refusal(412, "changed", "It was changed since you read it. Read it again, then decide.")
