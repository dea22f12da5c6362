"""Accounts: who is protected, when each is due, and how many are in which state. It decides no state and no time.

Beside its own row an account has a row in the due list while it is to be backed up, and one that leads from its user
principal name to it; one row counts all accounts of a tenant. `changes` keeps them together: what it returns belongs
into one transaction.
"""

import datetime
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from backup_core.registry import keys
from backup_core.registry.table import Change, Delete, Insert, Put, Replace, Row, Table, Value
from backup_core.registry.values import Reader, to_values

FORMAT = 1

PROTECTED = "protected"
STATES = (PROTECTED, "pending", "no-drive", "guest", "excluded", "left", "sign-in-again")

# What changing one account can write besides the row of counts: its row, two of the due list, two of names.
CHANGES_EACH = 5


@dataclass(frozen=True)
class LastRun:
    """The last run that finished with this account, and how it went for it."""

    id: str
    state: str
    finished_at: datetime.datetime | None = None


@dataclass(frozen=True)
class Account:
    """One person's drive. Ids become lower case; times are in UTC and keep whole milliseconds.

    `outcome`: how its last backup ended ("complete", "incomplete", "failed"), "" before the first. `state_before`: what
    it was before it left, or "pending" where it was left out before it was let in. `etag`: its row's version, "" for
    one that is not stored.
    """

    id: str
    tenant: str
    upn: str = ""
    display_name: str = ""
    drive_id: str | None = None
    state: str = PROTECTED
    included: bool = True
    schedule: str | None = None
    exclude: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    last_run: LastRun | None = None
    last_success_at: datetime.datetime | None = None
    next_due_at: datetime.datetime | None = None
    repository: str | None = None
    outcome: str = ""
    no_drive_checked_at: datetime.datetime | None = None
    created_at: datetime.datetime | None = None
    state_before: str = ""
    etag: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", self.id.lower())
        object.__setattr__(self, "tenant", self.tenant.lower())

    @property
    def due_at(self) -> datetime.datetime | None:
        """When its next backup is due; None for an account that is not to be backed up."""
        return self.next_due_at if self.state == PROTECTED and self.included else None


class Counts(NamedTuple):
    """Accounts per state, and those protected per outcome of their last backup ("" before the first); no zeros."""

    states: dict[str, int]
    outcomes: dict[str, int]


class Accounts:
    """The accounts of every tenant in one table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, tenant: str, account_id: str) -> Account | None:
        """One account by its id."""
        row = self._table.get(keys.part(tenant), keys.ACCOUNTS + keys.part(account_id))
        return row and _account(row)

    def find(self, tenant: str, id_or_upn: str) -> Account | None:
        """One account by its id or by the user principal name that it has now."""
        if "@" not in id_or_upn:
            return self.get(tenant, id_or_upn)
        leads = self._table.get(keys.part(tenant), _upn_key(id_or_upn))
        account = leads and self.get(tenant, str(leads.values["account"]))
        return account if account and account.upn.lower() == id_or_upn.lower() else None

    def page(self, tenant: str, after: str | None, limit: int, state: str | None = None) -> list[Account]:
        """Up to `limit` accounts by id, those that follow the id `after`; of one state, sorted out by the table."""
        first = keys.after(keys.ACCOUNTS + keys.part(after)) if after else keys.ACCOUNTS
        where = {"state": state} if state else None
        rows = self._table.rows(keys.part(tenant), first, keys.end(keys.ACCOUNTS), limit=limit, where=where)
        return [_account(row) for row in rows]

    def due(self, tenant: str, now: datetime.datetime, limit: int) -> list[str]:
        """The ids of up to `limit` accounts that are due by `now`, the longest due first."""
        return self._due_before(tenant, f"{keys.DUE}{keys.stamp(now)};", limit)

    def overdue(self, tenant: str, before: datetime.datetime, limit: int = 1000) -> list[str]:
        """The ids of up to `limit` accounts that have been due since a time earlier than `before`."""
        return self._due_before(tenant, f"{keys.DUE}{keys.stamp(before)}:", limit)

    def counts(self, tenant: str) -> Counts:
        """How many accounts the tenant has: one row is read."""
        row = self._table.get(keys.part(tenant), keys.COUNTS)
        return Counts(dict(_tally(row, "states")), dict(_tally(row, "outcomes")))

    def changes(self, before: Account | None, after: Account) -> list[Change]:
        """What makes `after` out of `before` as it was read, or adds it: five rows and the counts at most."""
        return self.changes_of([(before, after)])

    def changes_of(self, pairs: Iterable[tuple[Account | None, Account]]) -> list[Change]:
        """The same for several accounts of one tenant, in one transaction with one row of counts."""
        moves = list(pairs)
        rows: dict[str, Change] = {}
        for change in (change for before, after in moves for change in self._rows_of(before, after)):
            # Two people may swap names: the row of a name that one gives up and the other takes is only put.
            if not (isinstance(change, Delete) and change.key in rows):
                rows[change.key] = change
        return [*rows.values(), *self._counting(moves)]

    def _rows_of(self, before: Account | None, after: Account) -> list[Change]:
        key, values = keys.ACCOUNTS + keys.part(after.id), _values(after)
        changes: list[Change] = [Replace(key, values, before.etag) if before else Insert(key, values)]
        leads = to_values(FORMAT, account=after.id)
        old_due, new_due = before and _due_key(before), _due_key(after)
        if old_due != new_due:
            changes += [Delete(old_due)] if old_due else []
            changes += [Put(new_due, leads)] if new_due else []
        old_name, new_name = before.upn.lower() if before else "", after.upn.lower()
        if old_name != new_name:
            changes += self._name_given_up(after, old_name) if old_name else []
            changes += [Put(_upn_key(new_name), leads)] if new_name else []
        return changes

    def _name_given_up(self, account: Account, name: str) -> list[Change]:
        """A name that meanwhile leads to another account stays with that one."""
        row = self._table.get(keys.part(account.tenant), _upn_key(name))
        return [Delete(row.key, row.etag)] if row and row.values["account"] == account.id else []

    def _counting(self, moves: list[tuple[Account | None, Account]]) -> list[Change]:
        states, outcomes = Counter[str](), Counter[str]()
        for before, after in moves:
            for account, step in ((before, -1), (after, 1)):
                if account:
                    states[account.state] += step
                if account and account.state == PROTECTED:
                    outcomes[account.outcome] += step
        if not any((*states.values(), *outcomes.values())):
            return []
        row = self._table.get(keys.part(moves[0][1].tenant), keys.COUNTS)
        states.update(_tally(row, "states"))
        outcomes.update(_tally(row, "outcomes"))
        values = to_values(FORMAT, states=dict(+states), outcomes=dict(+outcomes))
        return [Replace(row.key, values, row.etag) if row else Insert(keys.COUNTS, values)]

    def _due_before(self, tenant: str, before: str, limit: int) -> list[str]:
        rows = self._table.rows(keys.part(tenant), keys.DUE, before, limit=limit, columns=["account"])
        return [str(row.values["account"]) for row in rows]


def _due_key(account: Account) -> str | None:
    return f"{keys.DUE}{keys.stamp(account.due_at)}:{keys.part(account.id)}" if account.due_at else None


def _upn_key(upn: str) -> str:
    return keys.UPNS + hashlib.sha256(upn.lower().encode()).hexdigest()[:32]


def _tally(row: Row | None, name: str) -> dict[str, int]:
    return Reader(row, FORMAT).mapping(name) if row else {}


def _values(account: Account) -> dict[str, Value]:
    kept = {name: getattr(account, name) for name in Account.__dataclass_fields__ if name not in {"etag", "last_run"}}
    return to_values(FORMAT, **kept, last_run=_run_values(account.last_run))


def _run_values(run: LastRun | None) -> dict[str, str] | None:
    if run is None:
        return None
    finished = {"finished_at": keys.stamp(run.finished_at)} if run.finished_at else {}
    return {"id": run.id, "state": run.state, **finished}


def _account(row: Row) -> Account:
    read = Reader(row, FORMAT)
    run = read.mapping("last_run")
    finished_at = run.get("finished_at")
    return Account(
        id=read.text("id"),
        tenant=read.text("tenant"),
        upn=read.text("upn"),
        display_name=read.text("display_name"),
        drive_id=read.text_or_none("drive_id"),
        state=read.text("state"),
        included=read.flag("included"),
        schedule=read.text_or_none("schedule"),
        exclude=read.texts("exclude"),
        tags=read.texts("tags"),
        last_run=LastRun(run["id"], run["state"], finished_at and keys.moment(finished_at)) if run else None,
        last_success_at=read.time("last_success_at"),
        next_due_at=read.time("next_due_at"),
        repository=read.text_or_none("repository"),
        outcome=read.text("outcome"),
        no_drive_checked_at=read.time("no_drive_checked_at"),
        created_at=read.time("created_at"),
        state_before=read.text("state_before"),
        etag=row.etag,
    )
