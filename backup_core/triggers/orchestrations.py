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

from backup_core.triggers.turn import FIRST_PAUSE_SECONDS, GROUP, TRIES_MAX, Result, Steps, Turn

blueprint = df.Blueprint()

DRIVES_PER_HISTORY = 20  # then the lane begins a new history
CONSENT_TRIES = 40  # half a minute apart: a consent that has not arrived after that will not arrive
CONSENT_PAUSE_SECONDS = 30
PAGES_PER_HISTORY = 50
ROUNDS_MAX = 8  # of saving and committing in one turn
BEGINNINGS_MAX = 3  # of one turn: with the drive state, without it, and behind another run that was first


@blueprint.orchestration_trigger(context_name="context")
def lane(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    """Works off one tenant's queue, one drive after the other, until nothing may start."""
    job: Result = context.get_input()
    for _ in range(DRIVES_PER_HISTORY):
        claimed = yield from _called(context, "claim_next", job)
        if not claimed["ok"]:
            return
        claim = claimed["claim"]
        work = "maintain_drive" if claim["kind"] == "maintain" else "back_up_drive"
        try:
            # Without an id of its own: a child that is started under a running id overwrites it.
            ending: Result = yield context.call_sub_orchestrator(work, claim)
        except Exception:
            ending = {"end": "failed", "reason": "internal"}
        yield from _called(context, "finish_drive", {**claim, **ending})
    context.continue_as_new(job)


def _called(context: df.DurableOrchestrationContext, name: str, job: Result) -> Steps:
    """What an activity answers that only reads and writes rows, which is tried again where it may do better then."""
    result: Result = {}
    for tries in range(TRIES_MAX):
        if tries:
            yield _timer(context, FIRST_PAUSE_SECONDS * 2.0 ** (tries - 1))
        try:
            result = yield context.call_activity(name, job)
        except Exception:  # its process died
            result = {"ok": False, "again": True}
        if not result.get("again"):
            break
    return result


@blueprint.orchestration_trigger(context_name="context")
def back_up_drive(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Result]:
    """One turn of one drive: plan, batches, commit. What it returns says what becomes of the claim."""
    turn, start_over = Turn(context), False
    ending: Result = {}
    for _ in range(BEGINNINGS_MAX):
        ending = yield from _back_up(turn, start_over)
        start_over = ending["end"] == "failed" and ending["reason"] == "inconsistent" and turn.trusts_state
        if not start_over and ending.get("reason") != "unplanned":
            break
        turn.anew(trust_state=turn.trusts_state and not start_over)
    if ending["end"] == "put-back" and not turn.trusts_state:
        ending = {**ending, "reason": "inconsistent"}  # the next turn is told so, and goes on without the drive state
    return ending


def _back_up(turn: Turn, start_over: bool) -> Steps:
    step = yield from turn.step("plan_changes", start_over=start_over)
    idle = 0
    for _ in range(ROUNDS_MAX):
        if "summary" in step:
            return {"end": "done", **step}
        if "count" not in step:
            step = yield from turn.step("cut_batches")
        came = yield from _save(turn, step.get("first", 1), step.get("count", 0))
        idle = 0 if came else idle + 1
        step = yield from turn.step("commit_snapshot")
        if turn.ending is not None:
            return turn.ending
        if idle >= TRIES_MAX:
            return {"end": "failed", "reason": "internal"}
    return turn.ending or {"end": "put-back", "seconds": 0, "reason": "turn"}


def _save(turn: Turn, first: int, count: int) -> Generator[Any, Any, bool]:
    """Save batches in groups; whether anything came. A batch that failed is cut anew in the next round; one that met a
    busy process comes once more, behind the others.
    """
    waiting = list(range(first, first + count))
    came, troubles = False, 0
    while waiting and not turn.is_over():
        group, waiting = waiting[:GROUP], waiting[GROUP:]
        results = yield from turn.group(group)
        waiting += [number for number, result in zip(group, results, strict=False) if result.get("busy")]
        came = came or any(result.get("files") or result.get("bytes") for result in results)
        troubles = troubles + 1 if all(not result["ok"] for result in results) else 0
        yield from turn.heed(results, troubles)
    return came


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
