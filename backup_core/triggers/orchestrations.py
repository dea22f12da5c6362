"""The orchestrations: who works when, and what is done about trouble. What the work is, is the activities' matter.

An orchestrator is replayed from its history each time something comes back. It must do the same every time, so it
knows nothing but its input, the results, and the context's own clock. Names and counts go through it, never content,
never a path.
"""

import datetime
import math
from collections.abc import Generator
from typing import Any

import azure.durable_functions as df

from backup_core.triggers.turn import GROUP, TRIES_MAX, Result, Steps, Turn

blueprint = df.Blueprint()

DRIVES_PER_HISTORY = 20  # then the lane begins a new history
CONSENT_TRIES = 40  # half a minute apart: a consent that has not arrived after that will not arrive
CONSENT_PAUSE_SECONDS = 30
PAGES_PER_HISTORY = 50
ROUNDS_MAX = 8  # of saving and committing in one turn


@blueprint.orchestration_trigger(context_name="context")
def lane(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    """Works off one tenant's queue, one drive after the other, until nothing may start."""
    job: Result = context.get_input()
    for _ in range(DRIVES_PER_HISTORY):
        claimed: Result = yield context.call_activity("claim_next", job)
        if not claimed["ok"]:
            return
        claim = claimed["claim"]
        work = "maintain_drive" if claim["kind"] == "maintain" else "back_up_drive"
        try:
            # Without an id of its own: a child that is started under a running id overwrites it.
            ending: Result = yield context.call_sub_orchestrator(work, claim)
        except Exception:
            ending = {"end": "failed", "reason": "internal"}
        yield context.call_activity("finish_drive", {**claim, **ending})
    context.continue_as_new(job)


@blueprint.orchestration_trigger(context_name="context")
def back_up_drive(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Result]:
    """One turn of one drive: plan, batches, commit. What it returns says what becomes of the claim."""
    turn = Turn(context)
    ending = yield from _back_up(turn, start_over=False)
    if ending.get("reason") == "inconsistent":
        turn.anew()
        ending = yield from _back_up(turn, start_over=True)
    return ending


def _back_up(turn: Turn, start_over: bool) -> Steps:
    step = yield from turn.step("plan_changes", start_over=start_over)
    idle = 0
    for _ in range(ROUNDS_MAX):
        if "summary" in step:
            return {"end": "done", **step}
        if "count" not in step:
            step = yield from turn.step("cut_batches")
        saved = yield from _save(turn, step.get("first", 1), step.get("count", 0))
        idle = 0 if saved else idle + 1
        step = yield from turn.step("commit_snapshot")
        if turn.ending is not None:
            return turn.ending
        if idle >= TRIES_MAX:
            return {"end": "failed", "reason": "internal"}
    return turn.ending or {"end": "put-back", "seconds": 0, "reason": "turn"}


def _save(turn: Turn, first: int, count: int) -> Generator[Any, Any, int]:
    """Save batches in groups; how many files came. A batch that failed is cut anew in the next round."""
    files = troubles = 0
    for start in range(first, first + count, GROUP):
        if turn.is_over():
            break
        results = yield from turn.group(list(range(start, min(start + GROUP, first + count))))
        files += sum(result.get("files", 0) for result in results)
        troubles = troubles + 1 if all(not result["ok"] for result in results) else 0
        yield from turn.heed(results, troubles)
    return files


@blueprint.orchestration_trigger(context_name="context")
def maintain_drive(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Result]:
    """Weekly for each account: sweep the drive state, then check the repository."""
    turn = Turn(context)
    yield from turn.step("sweep_state")
    checked = yield from turn.step("check_repository")
    return turn.ending or {"end": "done", **checked}


@blueprint.orchestration_trigger(context_name="context")
def enrol_tenant(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    """Prove a consent that is slow to arrive, where that is asked for; then read the tenant's users, page by page."""
    job: Result = context.get_input()
    if job.get("prove"):
        proved = yield from _proved(context, job)
        if not proved:
            return
    cursor: str | None = job.get("cursor")
    for _ in range(PAGES_PER_HISTORY):
        page: Result = yield context.call_activity("enrol_page", {"tenant": job["tenant"], "cursor": cursor})
        pause = page.get("retry_after") or 0
        if pause:
            yield _timer(context, pause)
            continue
        if not page["ok"] or page["next"] is None:
            return
        cursor = page["next"]
    context.continue_as_new({"tenant": job["tenant"], "cursor": cursor})


def _proved(context: df.DurableOrchestrationContext, job: Result) -> Generator[Any, Any, bool]:
    for _ in range(CONSENT_TRIES):
        proved: Result = yield context.call_activity("prove_consent", job)
        if proved["ok"]:
            return bool(proved.get("enrol", True))
        if not proved.get("retry_after"):
            return False
        yield _timer(context, max(CONSENT_PAUSE_SECONDS, proved["retry_after"]))
    return False


def _timer(context: df.DurableOrchestrationContext, seconds: float) -> Any:
    return context.create_timer(context.current_utc_datetime + datetime.timedelta(seconds=math.ceil(seconds)))
