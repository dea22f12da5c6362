"""One call of an orchestrator function: the context that it is given, and what it decided; nothing is kept here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backup_core.testing.durable_host.action_replay import ActionReplay
from backup_core.testing.durable_host.history import Event
from backup_core.testing.durable_host.instance import Recorded
from backup_core.testing.durable_host.worker import FunctionFailed, Worker

_STATE_MARK = "\n\n$OutOfProcData$:"  # a failing orchestrator's decision rides in the text of its error


class OrchestratorFailed(Exception):
    """The function did not even come to a decision."""


@dataclass(frozen=True)
class Decision:
    """`actions`: all that the orchestrator has asked for since its start; `error` where it ended by raising."""

    actions: list[Any]
    done: bool
    output: Any
    error: str | None
    custom_status: Any


def context_text(told: Recorded, history: Sequence[Event], *, replaying: bool) -> str:
    """What the durable extension gives an orchestrator of the 1.x SDK."""
    return json.dumps(
        {
            "history": history,
            "input": told.input,
            "instanceId": told.instance_id,
            "isReplaying": replaying,
            "parentInstanceId": told.parent_id,
            "upperSchemaVersion": 1,
            "upperSchemaVersionNew": 2,
            "longRunningTimerIntervalDuration": "3.00:00:00",
            "maximumShortTimerDuration": "6.00:00:00",
            "defaultHttpAsyncRequestSleepTimeMillseconds": 30000,
        }
    )


async def decide(worker: Worker, name: str, context: str, seconds_max: float) -> Decision:
    """Raises OrchestratorFailed, and WorkerLost where nobody knows."""
    parameter = worker.functions[name].trigger["name"]
    try:
        payload = await worker.call(name, {parameter: ("json", context)}, seconds_max)
        text = str(payload[1]) if payload else ""
    except FunctionFailed as error:
        before, mark, text = error.message.partition(_STATE_MARK)
        if not mark:
            raise OrchestratorFailed(before) from error
    answer = json.loads(text)
    actions = answer.get("actions") or [[]]
    return Decision(
        actions=actions[0],
        done=bool(answer.get("isDone")),
        output=answer.get("output"),
        error=answer.get("error"),
        custom_status=answer.get("customStatus"),
    )


def replayed(decision: Decision, history: Sequence[Event], execution_id: str) -> ActionReplay:
    """The decision held against the history. Raises NonDeterministic."""
    replay = ActionReplay(history, lambda number: f"{execution_id}:{number:04x}")
    replay.run(decision.actions)
    return replay
