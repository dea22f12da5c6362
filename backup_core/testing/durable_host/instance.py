"""One orchestration: what it was asked, how far it is, its history and the messages that wait for it."""

import datetime
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from backup_core.testing.durable_host.history import Event

TERMINAL = ("Completed", "Failed", "Terminated", "Canceled")


class Parent(NamedTuple):
    """Who waits for a child: the parent's id, its generation, and the number under which it asked."""

    instance_id: str
    execution_id: str
    number: int


class Recorded(NamedTuple):
    """A history that ended, and all that an orchestrator is told beside it."""

    name: str
    instance_id: str
    execution_id: str
    parent_id: str | None
    input: str | None
    history: list[Event]


@dataclass
class Instance:
    """`input` is JSON text, `output` a JSON value. A new generation (continue-as-new) keeps id and parent."""

    id: str
    name: str
    input: str | None
    parent: Parent | None
    execution_id: str
    created: datetime.datetime
    updated: datetime.datetime
    status: str = "Pending"
    output: Any = None
    custom_status: Any = None
    suspended: bool = False
    at_work: bool = False
    history: list[Event] = field(default_factory=list)
    inbox: deque[Event] = field(default_factory=deque)
    episodes: int = 0
    peak_events: int = 0
    peak_bytes: int = 0
    """The longest history that any generation had, as the JSON that the orchestrator was given."""

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    def recorded(self) -> Recorded:
        parent_id = self.parent.instance_id if self.parent else None
        return Recorded(self.name, self.id, self.execution_id, parent_id, self.input, self.history)

    def described(self, *, with_input: bool, with_history: bool) -> dict[str, Any]:
        """The status as the management API gives it."""
        return {
            "name": self.name,
            "instanceId": self.id,
            "runtimeStatus": self.status,
            "input": _value(self.input) if with_input else None,
            "customStatus": self.custom_status,
            "output": self.output,
            "createdTime": self.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lastUpdatedTime": self.updated.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "historyEvents": self.history if with_history else None,
        }


def _value(text: str | None) -> Any:
    try:
        return json.loads(text) if text is not None else None
    except ValueError:
        return text
