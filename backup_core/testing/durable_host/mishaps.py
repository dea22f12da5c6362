"""What Azure's queues do to activities now and then, on purpose: run them twice, late, in another order, or not at all.

Every activity is delivered at least once there; a test plans which ones meet more than that.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

When = Literal["", "before", "after"]


@dataclass(frozen=True)
class Mishap:
    """What happens to one start of an activity.

    `lost`: it works to its end, but the process dies before it can say so, and it is delivered again. `fails`: it
    raises, before or after its work. `twice`: it runs twice, and both answers arrive. `late_seconds`: how long the
    answer travels.
    """

    lost: bool = False
    fails: When = ""
    twice: bool = False
    late_seconds: float = 0.0


NONE = Mishap()
Plan = Callable[[str, int], Mishap]
"""Given an activity's name and how often it was started before (0 the first time), what happens to this one."""


def no_mishaps(name: str, nth: int) -> Mishap:
    return NONE


def at(pattern: str, mishap: Mishap, *, times: int | None = None) -> Plan:
    """The first `times` activities of matching names (None: all of them)."""
    return lambda name, nth: mishap if re.fullmatch(pattern, name) and (times is None or nth < times) else NONE


def by_chance(
    chance: random.Random, *, share: float = 0.3, failing: bool = False, late_seconds_max: float = 600.0
) -> Plan:
    """A share of all activities meets something; the same seed plans the same for the same order of starts."""

    def plan(name: str, nth: int) -> Mishap:
        late = chance.uniform(0.0, late_seconds_max) if chance.random() < share else 0.0
        if chance.random() >= share:
            return Mishap(late_seconds=late)
        kinds = [Mishap(lost=True), Mishap(twice=True, late_seconds=late)]
        failures = [Mishap(fails="before", late_seconds=late), Mishap(fails="after", late_seconds=late)]
        return chance.choice(kinds + failures if failing else kinds)

    return plan
