"""One turn of a drive: its steps, called as activities, with what an orchestrator does about their troubles.

Everything here runs inside an orchestrator, which is replayed: it reads no clock, draws no random number and touches
nothing but the context. Only what Durable 1.7.0 does right is used: single calls, fixed groups by `task_all`, timers.
"""

import datetime
import math
from collections.abc import Generator
from typing import Any, cast

import azure.durable_functions as df

# Each result replays the orchestrator over its whole history: the cost grows with the square of the number of calls.
CALLS_MAX = 90
SECONDS_MAX = 30 * 60  # of work while others of the tenant wait: then it is their turn
WAIT_MAX_SECONDS = 600.0  # a longer pause is not waited for by a lane
GROUP = 4  # batches at once
TRIES_MAX = 4  # of a step, or rounds of batches, that bring nothing
FIRST_PAUSE_SECONDS = 15.0

Result = dict[str, Any]
Steps = Generator[Any, Any, Result]


class Turn:
    """`ending` is set once the turn is over: what the activity `finish` shall do about the claim."""

    def __init__(self, context: df.DurableOrchestrationContext) -> None:
        self._context = context
        self.claim: Result = cast(Result, context.get_input())
        self.ending: Result | None = None
        self._started: datetime.datetime = context.current_utc_datetime
        self._calls = 0
        self._others_wait = False

    @property
    def trusts_state(self) -> bool:
        """Whether the run goes by the drive state; not any more once it has turned out to be wrong."""
        return bool(self.claim.get("trust_state", True))

    def step(self, name: str, **more: Any) -> Steps:
        """Call an activity until it has nothing more to do. Its result; or the turn's ending is set."""
        tries = 0
        while not self.is_over():
            result = yield from self._call(name, more)
            if result["ok"] and not result.get("more"):
                yield from self.heed([result], tries)
                return result
            if result["ok"]:
                tries = 0
                more.pop("start_over", None)
                continue
            tries += 1
            yield from self.heed([result], tries)
        return {}

    def anew(self, trust_state: bool) -> None:
        """Begin again; without the drive state where it and Microsoft's feed contradict each other."""
        self.ending = None
        self.claim = {**self.claim, "trust_state": trust_state}

    def group(self, batches: list[int]) -> Generator[Any, Any, list[Result]]:
        """Save some batches at once; their results, those of failed activities, too."""
        self._calls += len(batches)
        jobs = [self._context.call_activity("save_batch", {**self.claim, "batch": number}) for number in batches]
        try:
            results: list[Result] = yield self._context.task_all(jobs)
        except Exception:  # a worker died or took too long: which of them is not told, and all may be done again
            return [_crashed()]
        self._note(results)
        return results

    def heed(self, results: list[Result], tries: int) -> Generator[Any, Any, None]:
        """Do about failures what their reasons ask for: wait, or end the turn. Microsoft's pauses all have an end; what
        else stays as it is, somebody's forgotten lock or a storage that is away, is reported after some tries.
        """
        failed = [result for result in results if not result["ok"]]
        final = [result for result in failed if not result.get("again")]
        patient = any(result["reason"] == "throttled" for result in failed)
        pause = max((float(result.get("retry_after") or 0) for result in results), default=0.0)
        if final:
            self.ending = _failed(final[0])
        elif failed and tries >= TRIES_MAX and not (patient and pause):
            self.ending = _failed(failed[0])
        elif failed and not pause:
            pause = FIRST_PAUSE_SECONDS * 2.0 ** (tries - 1)
        if self.ending is None and pause > WAIT_MAX_SECONDS:
            self.ending = {"end": "put-back", "seconds": math.ceil(pause), "reason": "throttled"}
        if self.ending is None and pause > 0:
            yield self._context.create_timer(
                self._context.current_utc_datetime + datetime.timedelta(seconds=math.ceil(pause))
            )

    def _call(self, name: str, more: Result) -> Steps:
        self._calls += 1
        try:
            result: Result = yield self._context.call_activity(name, {**self.claim, **more})
        except Exception:
            return _crashed()
        self._note([result])
        return result

    def _note(self, results: list[Result]) -> None:
        self._others_wait = any(result.get("others_wait") for result in results)

    def is_over(self) -> bool:
        """A drive that needs more than a turn goes to the end of the queue: what it has saved is found again."""
        worked = (self._context.current_utc_datetime - self._started).total_seconds()
        if self.ending is None and (self._calls >= CALLS_MAX or (self._others_wait and worked >= SECONDS_MAX)):
            self.ending = {"end": "put-back", "seconds": 0, "reason": "turn"}
        return self.ending is not None


def _failed(result: Result) -> Result:
    return {"end": "failed", "reason": result["reason"], "message": result.get("message", "")}


def _crashed() -> Result:
    return {"ok": False, "reason": "internal", "again": True}
