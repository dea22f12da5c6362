"""Values that are good once: the states of onboarding. It makes none and checks no signature."""

import datetime
import hashlib

from backup_core.clock import Clock
from backup_core.registry import keys
from backup_core.registry.table import Conflict, Delete, Insert, Table
from backup_core.registry.values import to_values

FORMAT = 1

# Machines' clocks differ: a used value is forgotten only when it is too old for all of them.
_KEPT_LONGER = datetime.timedelta(days=1)
_SWEPT_AT_ONCE = 20


class Nonces:
    """What was used, in a partition of its own, ordered by the time at which it expires."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def use(self, nonce: str, expires: datetime.datetime) -> bool:
        """True for the first use. False for a further one, and for one that has expired.

        `expires` must belong to the nonce (both under one signature): with another time it would be another nonce.
        """
        now = self._clock.now()
        if expires <= now:
            return False
        self._sweep(now)
        key = f"{keys.stamp(expires)}:{hashlib.sha256(nonce.encode()).hexdigest()}"
        try:
            self._table.transact(keys.NONCES, [Insert(key, to_values(FORMAT))])
        except Conflict:
            return False
        return True

    def _sweep(self, now: datetime.datetime) -> None:
        before = keys.stamp(now - _KEPT_LONGER)
        old = list(self._table.rows(keys.NONCES, keys.FIRST, before, limit=_SWEPT_AT_ONCE, columns=["format"]))
        try:
            if old:
                self._table.transact(keys.NONCES, [Delete(row.key) for row in old])
        except Conflict:
            pass  # another callback sweeps the same ones
