"""Proves an orchestrator deterministic: given any beginning of a recorded history, it asks for what it asked then.

A run that ended well shows only that the replays that happened to be needed agreed with each other.
"""

from typing import Any

from backup_core.testing.durable_host.action_replay import NonDeterministic
from backup_core.testing.durable_host.episode import context_text, decide, replayed
from backup_core.testing.durable_host.history import Kind
from backup_core.testing.durable_host.instance import Recorded
from backup_core.testing.durable_host.worker import Worker

_SECONDS_MAX = 60.0


async def every_prefix(worker: Worker, recorded: Recorded) -> int:
    """Run the orchestrator over each beginning of the history; how many there were. Raises NonDeterministic."""
    history = recorded.history
    first = next(n for n, entry in enumerate(history, 1) if entry["EventType"] == Kind.EXECUTION_STARTED)
    asked: list[Any] = []
    for length in range(first, len(history) + 1):
        prefix = history[:length]
        context = context_text(recorded, prefix, replaying=True)
        decision = await decide(worker, recorded.name, context, _SECONDS_MAX)
        now = [_lasting(action) for action in decision.actions]
        if now[: len(asked)] != asked:
            raise NonDeterministic(f"{recorded.name} asks for something else after {length} events than it did before.")
        asked = now
        new = replayed(decision, prefix, recorded.execution_id).new
        if new and prefix[-1]["EventType"] == Kind.ORCHESTRATOR_COMPLETED:
            raise NonDeterministic(
                f"{recorded.name} asks for more after {length} events than it did when they happened."
            )
    return len(history) - first + 1


def _lasting(action: Any) -> Any:
    """Without the mark that a timer was cancelled, which comes later than the timer."""
    if not isinstance(action, dict):
        return action
    kept = {name: value for name, value in action.items() if name != "isCanceled"}
    if "compoundActions" in kept:
        kept["compoundActions"] = [_lasting(part) for part in kept["compoundActions"]]
    return kept
