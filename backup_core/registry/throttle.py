"""Until when Microsoft wants no request of a tenant, for every process that works for it. It waits for nothing."""

import datetime

from backup_core.clock import Clock
from backup_core.registry import keys
from backup_core.registry.table import Change, Insert, Replace, Table, commit
from backup_core.registry.values import Reader, to_values

FORMAT = 1


class TenantThrottle:
    """What the gates of one tenant, each in its process, tell each other."""

    def __init__(self, table: Table, tenant: str, clock: Clock) -> None:
        self._table = table
        self._partition = keys.part(tenant)
        self._clock = clock

    def read(self) -> datetime.datetime | None:
        """The time before which nothing should be sent; None where it has passed or was never set."""
        row = self._table.get(self._partition, keys.THROTTLE)
        until = Reader(row, FORMAT).time("not_before") if row else None
        return until if until and until > self._clock.now() else None

    def write(self, not_before: datetime.datetime) -> None:
        """Nothing should be sent before that time; a later one that is known already stays."""

        def later() -> list[Change]:
            row = self._table.get(self._partition, keys.THROTTLE)
            known = Reader(row, FORMAT).time("not_before") if row else None
            if known and known >= keys.moment(keys.stamp(not_before)):
                return []
            values = to_values(FORMAT, not_before=not_before)
            return [Replace(row.key, values, row.etag) if row else Insert(keys.THROTTLE, values)]

        commit(self._table, self._clock, self._partition, later)
