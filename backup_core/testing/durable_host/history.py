"""The events of an orchestration's history, as the durable extension writes them; not who writes them, nor when."""

import datetime
from enum import IntEnum
from typing import Any

Event = dict[str, Any]
"""One event in the JSON that an orchestrator function is given: EventType, EventId, IsPlayed, Timestamp and its own."""


class Kind(IntEnum):
    EXECUTION_STARTED = 0
    EXECUTION_COMPLETED = 1
    EXECUTION_FAILED = 2
    EXECUTION_TERMINATED = 3
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    SUB_CREATED = 7
    SUB_COMPLETED = 8
    SUB_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_SENT = 14
    EVENT_RAISED = 15
    CONTINUE_AS_NEW = 16


SCHEDULED = (Kind.TASK_SCHEDULED, Kind.SUB_CREATED, Kind.TIMER_CREATED)
"""What an orchestrator has asked for; each carries the next number in its EventId."""

ANSWERED = (Kind.TASK_COMPLETED, Kind.TASK_FAILED, Kind.SUB_COMPLETED, Kind.SUB_FAILED, Kind.TIMER_FIRED)
"""What came of it."""

GOOD_ANSWERS = (Kind.TASK_COMPLETED, Kind.SUB_COMPLETED, Kind.TIMER_FIRED)


def event(kind: Kind, moment: datetime.datetime, **fields: Any) -> Event:
    """An event that the orchestrator has not seen yet."""
    return {"EventType": int(kind), "EventId": -1, "IsPlayed": False, "Timestamp": stamp(moment), **fields}


def answered_id(answer: Event) -> int:
    """The number of the event that this one answers."""
    return int(answer["TimerId"] if answer["EventType"] == Kind.TIMER_FIRED else answer["TaskScheduledId"])


def stamp(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment_of(text: str) -> datetime.datetime:
    """The SDK writes times with `Z` or with an offset, and without either where a person forgot it: UTC then."""
    moment = datetime.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
