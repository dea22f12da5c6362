"""Tenants: the directories that consented, each with its row in its own partition. It proves no consent.

A change of a tenant and the note of who made it are one transaction. The partition `tenants` only lists them.
"""

import datetime
from dataclasses import dataclass, field

from backup_core.registry import keys
from backup_core.registry.table import Change, Insert, Put, Replace, Row, Table
from backup_core.registry.values import Reader, to_values

FORMAT = 1

CONNECTED, PENDING, CONSENT_LOST = "connected", "pending", "consent-lost"


@dataclass(frozen=True)
class Tenant:
    """One directory. Its id becomes lower case; times are in UTC and keep whole milliseconds.

    `users_read_at`: when its users were last read whole; None asks for that at the next tick. `etag`: of its row.
    """

    id: str
    name: str = ""
    domain: str = ""
    state: str = CONNECTED
    paused: bool = False
    destination: str | None = None
    connected_at: datetime.datetime | None = None
    users_read_at: datetime.datetime | None = None
    etag: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", self.id.lower())


class Tenants:
    """Every tenant in one table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, tenant: str) -> Tenant | None:
        """One tenant by its id."""
        row = self._table.get(keys.part(tenant), keys.TENANT)
        return row and _tenant(row)

    def page(self, after: str | None, limit: int) -> list[Tenant]:
        """Up to `limit` tenants by id, those that follow the id `after`; each costs a read of its row."""
        first, found = keys.after(keys.part(after)) if after else keys.FIRST, list[Tenant]()
        while (wanted := limit - len(found)) > 0:
            listed = list(self._table.rows(keys.TENANTS, first, keys.LAST, limit=wanted))
            # A crash between the two writes of `save` leaves a name without a tenant, which counts as absent.
            found += [tenant for row in listed if (tenant := self.get(str(row.values["tenant"])))]
            if len(listed) < wanted:
                break
            first = keys.after(listed[-1].key)
        return found

    def changes(self, before: Tenant | None, after: Tenant) -> list[Change]:
        """What makes `after` out of `before` as it was read, for a transaction in the partition of the tenant.

        For a new tenant `save` must be used, which lists it first.
        """
        values = to_values(
            FORMAT,
            id=after.id,
            name=after.name,
            domain=after.domain,
            state=after.state,
            paused=after.paused,
            destination=after.destination,
            connected_at=after.connected_at,
            users_read_at=after.users_read_at,
        )
        return [Replace(keys.TENANT, values, before.etag) if before else Insert(keys.TENANT, values)]

    def save(self, before: Tenant | None, after: Tenant, *audit: Change) -> None:
        """Add a tenant, or change it as it was read, together with its audit rows. Conflict."""
        partition = keys.part(after.id)
        if before is None:
            self._table.transact(keys.TENANTS, [Put(partition, to_values(FORMAT, tenant=after.id))])
        self._table.transact(partition, [*self.changes(before, after), *audit])


def _tenant(row: Row) -> Tenant:
    read = Reader(row, FORMAT)
    return Tenant(
        id=read.text("id"),
        name=read.text("name"),
        domain=read.text("domain"),
        state=read.text("state"),
        paused=read.flag("paused"),
        destination=read.text_or_none("destination"),
        connected_at=read.time("connected_at"),
        users_read_at=read.time("users_read_at"),
        etag=row.etag,
    )
