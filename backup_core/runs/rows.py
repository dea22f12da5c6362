"""The rows of runs: their keys, and how runs, claims and results become values and come back. It decides nothing.

All lie in the tenant's partition, beside its accounts, so that one transaction can change both.

    claim:<account>           one per drive that is queued or running
    queue:<time>:<account>    beside a queued claim: the time from which it may start
    active:<account>          beside a running claim, so that the few running ones are found among thousands
    ended:<account>           the last token that was given back, and how: who does it twice is told the truth
    run:<run key>, result:<run key>:<account>
    fill:<kind>               a run that is being filled with drives, piece by piece
    upkeep:<time>:<account>   when a repository's maintenance is due
"""

import datetime
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from backup_core.errors import NotFound
from backup_core.registry import keys
from backup_core.registry.table import Row, Value
from backup_core.registry.values import Reader, to_values
from backup_core.runs.claim import Claim
from backup_core.runs.run import Outcome, Progress, Run

FORMAT = 1

CLAIMS, QUEUE, ACTIVE, ENDED = "claim:", "queue:", "active:", "ended:"
RUNS, RESULTS, FILL, UPKEEP = "run:", "result:", "fill:", "upkeep:"

_RUN_ID = re.compile(r"([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})-([0-9a-f]{20})")
_SUMMARY_TEXT_MAX = 1000


def claim_key(account: str) -> str:
    return CLAIMS + keys.part(account)


def queue_key(claim: Claim) -> str:
    return f"{QUEUE}{keys.stamp(claim.may_start_at)}:{keys.part(claim.account)}"


def active_key(account: str) -> str:
    return ACTIVE + keys.part(account)


def ended_key(account: str) -> str:
    return ENDED + keys.part(account)


def upkeep_key(moment: datetime.datetime, account: str) -> str:
    return f"{UPKEEP}{keys.stamp(moment)}:{keys.part(account)}"


def until(prefix: str, moment: datetime.datetime) -> str:
    """The first key after all of `prefix` whose time is `moment` or earlier."""
    return f"{prefix}{keys.stamp(moment)}~"


def result_key(run: str, account: str) -> str:
    return f"{RESULTS}{run_key(run)}:{keys.part(account)}"


def new_run_id(tenant: str, moment: datetime.datetime, random: str) -> str:
    """`random`: at least 8 hexadecimal digits."""
    return f"{tenant.lower().replace('-', '')}-{keys.inverted(moment)}{random[:8]}"


def run_key(run: str) -> str:
    return run.rpartition("-")[2]


def tenant_of(run: str) -> str:
    """The tenant whose run has this id. NotFound for what is no run's id."""
    found = _RUN_ID.fullmatch(run.lower())
    if not found:
        raise NotFound("There is no such run.")
    return "-".join(found.groups()[:5])


class Fill(NamedTuple):
    """`run`: "" before there is one. `upto`: what was due then belongs to it. `after`: the last account looked at."""

    run: str
    upto: datetime.datetime | None = None
    after: str = ""
    filled: bool = False
    etag: str = ""


def fill_values(fill: Fill) -> dict[str, Value]:
    return to_values(FORMAT, run=fill.run, upto=fill.upto, after=fill.after, filled=fill.filled)


def read_fill(row: Row) -> Fill:
    read = Reader(row, FORMAT)
    return Fill(read.text("run"), read.time("upto"), read.text("after"), read.flag("filled"), row.etag)


def leading_values(claim: Claim) -> dict[str, Value]:
    """Of a row that leads to the claim."""
    return to_values(FORMAT, account=claim.account, run=claim.run, lane=claim.lane)


def claim_values(claim: Claim) -> dict[str, Value]:
    kept = {name: getattr(claim, name) for name in _kept(Claim, "etag", "cancelled", "progress", "counted")}
    return to_values(FORMAT, **kept, progress=asdict(claim.progress), counted=asdict(claim.counted))


def read_claim(row: Row) -> Claim:
    read = Reader(row, FORMAT)
    return Claim(
        tenant=read.text("tenant"),
        account=read.text("account"),
        kind=read.text("kind"),
        run=read.text("run"),
        queued_at=_time(read, "queued_at"),
        may_start_at=_time(read, "may_start_at"),
        source=read.text_or_none("source"),
        tags=read.texts("tags"),
        dry_run=read.flag("dry_run"),
        lane=read.text("lane"),
        token=read.text("token"),
        started_at=read.time("started_at"),
        beat_at=read.time("beat_at"),
        worked_seconds=float(row.values.get("worked_seconds", 0.0)),
        progress=Progress.of(read.mapping("progress")),
        counted=Progress.of(read.mapping("counted")),
        moved=read.flag("moved"),
        deaths=int(row.values.get("deaths", 0)),
        put_back_for=read.text("put_back_for"),
        next_run=read.text("next_run"),
        done=read.mapping("done"),
        etag=row.etag,
    )


def run_values(run: Run) -> dict[str, Value]:
    kept = {name: getattr(run, name) for name in _kept(Run, "etag", "estimated_end_at", "progress")}
    return to_values(FORMAT, **kept, progress=asdict(run.progress))


def read_run(row: Row) -> Run:
    read = Reader(row, FORMAT)
    return Run(
        id=read.text("id"),
        tenant=read.text("tenant"),
        account=read.text_or_none("account"),
        trigger=read.text("trigger"),
        requested_at=_time(read, "requested_at"),
        who=read.text("who"),
        source=read.text_or_none("source"),
        tags=read.texts("tags"),
        dry_run=read.flag("dry_run"),
        state=read.text("state"),
        started_at=read.time("started_at"),
        finished_at=read.time("finished_at"),
        drives_total=int(row.values.get("drives_total", 0)),
        ended=read.mapping("ended"),
        progress=Progress.of(read.mapping("progress")),
        filling=read.flag("filling"),
        cancelled=read.flag("cancelled"),
        etag=row.etag,
    )


def outcome_values(outcome: Outcome) -> dict[str, Value]:
    kept = {name: getattr(outcome, name) for name in _kept(Outcome, "summary")}
    return to_values(FORMAT, **kept, summary=_figures(outcome.summary))


def read_outcome(row: Row) -> Outcome:
    read = Reader(row, FORMAT)
    return Outcome(
        account=read.text("account"),
        upn=read.text("upn"),
        state=read.text("state"),
        snapshot_id=read.text_or_none("snapshot_id"),
        summary=read.mapping("summary"),
        reason=read.text("reason"),
        message=read.text("message"),
        report=read.text("report"),
        finished_at=_time(read, "finished_at"),
    )


def _figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Without its lists, which may be long and hold paths: those belong into the report."""
    return {
        name: value[:_SUMMARY_TEXT_MAX] if isinstance(value, str) else value
        for name, value in summary.items()
        if value is None or isinstance(value, str | int | float)
    }


def _kept(kind: type, *others: str) -> list[str]:
    return [name for name in kind.__dataclass_fields__ if name not in others]  # type: ignore[attr-defined]


def _time(read: Reader, name: str) -> datetime.datetime:
    moment = read.time(name)
    if moment is None:
        raise ValueError(f"the row has no {name}")
    return moment
