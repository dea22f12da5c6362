"""Filling: drives are queued piece by piece, so that ten thousand due accounts never are one piece of work.

A piece is one transaction. Where more follow, a row says which run is being filled and how far. Whoever comes next
(this call, the next tick after a crash, a lane with nothing to do) goes on there; no account comes into a run twice.
"""

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from backup_core.registry import keys
from backup_core.registry.accounts import PROTECTED, Account
from backup_core.registry.table import Change, Delete, Insert, Put, Replace
from backup_core.registry.values import to_values
from backup_core.runs import rows
from backup_core.runs.claim import MAINTAIN, Claim
from backup_core.runs.desk import Desk, queueing
from backup_core.runs.ending import UPKEEP_EVERY, WHOLE_KINDS, run_changes
from backup_core.runs.run import Run

DUE = "due"

# Of 100 changes in a transaction each account takes five: claim, queue, its own row, two of the due list. The run and
# the row of the filling take three.
_PIECE_ACCOUNTS = 18
_WHOLE_ACCOUNTS = 45  # claim and queue only: whoever asks by hand moves no due time
_PIECES_AT_ONCE = 20  # some ten seconds of work
_UPKEEP_AT_ONCE = 24  # four changes each
_UPKEEP_LATER = datetime.timedelta(hours=6)  # a drive that waits for its backup is asked again then


class Queued(NamedTuple):
    """`run`: the run that has got drives, None where there was nothing to do; `more`: call again, work is left."""

    run: Run | None
    more: bool


class _Piece(NamedTuple):
    run: str = ""
    more: bool = False


class Filling:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def queue_due(self, tenant: str, now: datetime.datetime) -> Queued:
        """Queue what is due, in one run, as far as one call may take."""
        if not self._desk.may_run(tenant):
            return Queued(None, False)
        run, piece = "", _Piece()
        for _ in range(_PIECES_AT_ONCE):
            piece = self._due_piece(tenant, now)
            run = piece.run or run
            if not piece.more:
                break
        whole = [self.fill_whole(tenant, kind) for kind in WHOLE_KINDS]
        return Queued(self._desk.run(run) if run else None, piece.more or any(whole))

    def go_on(self, tenant: str) -> bool:
        """Take every filling that has begun a piece further; whether any drive may have been queued by that."""
        begun = self._desk.fill(tenant, DUE)
        if begun is not None:
            self._due_piece(tenant, self._desk.now())
        open_ones = [kind for kind in WHOLE_KINDS if self._is_open(self._desk.fill(tenant, kind))]
        for kind in open_ones:
            self._whole_piece(tenant, kind)
        return begun is not None or bool(open_ones)

    def fill_whole(self, tenant: str, kind: str, pieces: int = _PIECES_AT_ONCE) -> bool:
        """Go on with the run that was asked for all accounts; whether more of them are left."""
        return all(self._whole_piece(tenant, kind) for _ in range(pieces))

    def queue_maintenance(self, tenant: str, now: datetime.datetime) -> int:
        """Queue the maintenance that is due, of drives with nothing else to do: how many were queued."""
        if not self._desk.may_run(tenant):
            return 0
        queued, looked_at = 0, _UPKEEP_AT_ONCE
        for _ in range(_PIECES_AT_ONCE):
            if looked_at < _UPKEEP_AT_ONCE:
                break
            more, looked_at = self._upkeep_piece(tenant, now)
            queued += more
        return queued

    def joining(self, run: Run, account: str, claim: Claim | None, now: datetime.datetime) -> list[Change]:
        """What adds the drive, whose claim was read, to the run; nothing where it has to stay out.

        That is where its claim does the same work already, and where one that does other work goes first and has a
        run waiting for it, or would be waited for by a dry run.
        """
        if claim is not None and (claim.next_run or run.dry_run or self._desk.serves(claim, run)):
            return []
        return self.adding(run, account, claim, now)

    def adding(self, run: Run, account: str, claim: Claim | None, now: datetime.datetime) -> list[Change]:
        """What queues the drive for the run, behind its claim where it has one that does other work."""
        if claim is None:
            return queueing(self._desk.queued(run, account, now))
        return [Replace(rows.claim_key(account), rows.claim_values(replace(claim, next_run=run.id)), claim.etag)]

    def _due_piece(self, tenant: str, now: datetime.datetime) -> _Piece:
        new_id = self._desk.new_id()
        piece = _Piece()

        def make_changes() -> list[Change]:
            nonlocal piece
            fill = self._desk.fill(tenant, DUE)
            upto = fill.upto if fill and fill.upto else now
            ids = self._desk.registry.accounts.due(tenant, upto, _PIECE_ACCOUNTS + 1)
            if not ids and fill is None:
                piece = _Piece()
                return []
            begun = self._desk.run(fill.run) if fill and fill.run else None
            run = begun or _scheduled(tenant, rows.new_run_id(tenant, self._desk.now(), new_id), self._desk.now())
            moves, joined = self._due_accounts(run, begun is not None, ids[:_PIECE_ACCOUNTS], upto)
            more = bool(moves) and len(ids) > _PIECE_ACCOUNTS
            after = replace(run, drives_total=run.drives_total + len(joined), filling=more).settled(self._desk.now())
            named = begun is not None or bool(joined)
            piece = _Piece(run.id if named else "", more)
            return [
                *self._desk.registry.accounts.changes_of(moves),
                *(change for changes in joined for change in changes),
                *_stored(begun, after, named),
                *_due_fill(fill, rows.Fill(piece.run, upto) if more else None),
            ]

        self._desk.commit(tenant, make_changes)
        return piece

    def _due_accounts(
        self, run: Run, begun: bool, ids: Sequence[str], upto: datetime.datetime
    ) -> tuple[list[tuple[Account | None, Account]], list[list[Change]]]:
        """The accounts with their next due time, and for each drive that joins the run what makes it join."""
        now = self._desk.now()
        moves: list[tuple[Account | None, Account]] = []
        joined = []
        for account_id in ids:
            account = self._desk.registry.accounts.get(run.tenant, account_id)
            if account is None or account.due_at is None or account.due_at > upto:
                continue
            # Later than `upto`, or the account would come into this very run once more.
            moves.append((account, replace(account, next_due_at=self._desk.due_after(account, max(now, upto)))))
            if run.cancelled or (begun and self._has_ended(run, account_id)):
                continue
            changes = self.joining(run, account_id, self._desk.claim(run.tenant, account_id), now)
            joined += [changes] if changes else []
        return moves, joined

    def _has_ended(self, run: Run, account: str) -> bool:
        return self._desk.registry.table.get(keys.part(run.tenant), rows.result_key(run.id, account)) is not None

    def _whole_piece(self, tenant: str, kind: str) -> bool:
        """Whether more accounts are left."""
        more = False

        def make_changes() -> list[Change]:
            nonlocal more
            fill, now = self._desk.fill(tenant, kind), self._desk.now()
            if fill is None or not self._is_open(fill):
                more = False
                return []
            run = self._desk.run(fill.run)
            found = self._desk.registry.accounts.page(tenant, fill.after or None, _WHOLE_ACCOUNTS, PROTECTED)
            more = len(found) == _WHOLE_ACCOUNTS and not run.cancelled
            wanted = [] if run.cancelled else [account for account in found if account.included]
            joins = (self.joining(run, each.id, self._desk.claim(tenant, each.id), now) for each in wanted)
            joined = [changes for changes in joins if changes]
            after = replace(run, drives_total=run.drives_total + len(joined), filling=more).settled(now)
            changes = [*(change for changes in joined for change in changes), *run_changes(run, after)]
            if after.open:
                further = fill._replace(after=found[-1].id if found else fill.after, filled=not more)
                changes.append(Replace(rows.FILL + kind, rows.fill_values(further), fill.etag))
            return changes

        self._desk.commit(tenant, make_changes)
        return more

    def _is_open(self, fill: rows.Fill | None) -> bool:
        return fill is not None and not fill.filled

    def _upkeep_piece(self, tenant: str, now: datetime.datetime) -> tuple[int, int]:
        """How many were queued, of how many that were due."""
        queued = looked_at = 0

        def make_changes() -> list[Change]:
            nonlocal queued, looked_at
            table = self._desk.registry.table
            due = list(table.rows(keys.part(tenant), rows.UPKEEP, rows.until(rows.UPKEEP, now), limit=_UPKEEP_AT_ONCE))
            queued, looked_at = 0, len(due)
            changes: list[Change] = []
            for row in due:
                account = str(row.values["account"])
                busy = self._desk.claim(tenant, account) is not None
                if not busy:
                    queued += 1
                    changes += queueing(Claim(tenant.lower(), account, MAINTAIN, "", now, now))
                later = rows.upkeep_key(now + (_UPKEEP_LATER if busy else UPKEEP_EVERY), account)
                changes += [Delete(row.key, row.etag), Put(later, to_values(rows.FORMAT, account=account))]
            return changes

        self._desk.commit(tenant, make_changes)
        return queued, looked_at


def _scheduled(tenant: str, run_id: str, now: datetime.datetime) -> Run:
    return Run(run_id, tenant.lower(), None, "schedule", now, who="schedule")


def _stored(begun: Run | None, after: Run, named: bool) -> list[Change]:
    """The run's row; a run without any drive is not kept."""
    if begun is not None:
        return run_changes(begun, after)
    return [Insert(rows.RUNS + rows.run_key(after.id), rows.run_values(after))] if named else []


def _due_fill(fill: rows.Fill | None, further: rows.Fill | None) -> list[Change]:
    key = rows.FILL + DUE
    if further is None:
        return [Delete(key, fill.etag)] if fill else []
    values = rows.fill_values(further)
    return [Replace(key, values, fill.etag) if fill else Insert(key, values)]
