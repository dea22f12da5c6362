"""What becomes of an account when an operator changes it: pure, so that every case can be seen in one place."""

import datetime
from collections.abc import Callable
from dataclasses import replace

import msgspec

from backup_core.registry.accounts import PROTECTED, Account
from backup_core.triggers import shapes
from backup_core.triggers.problems import Refusal

DueAgain = Callable[[Account], datetime.datetime]

_OUT, _PENDING = "excluded", "pending"

# States that an operator's yes or no moves. The others are facts: nobody has a drive because somebody says so.
_CAN_BE_LEFT_OUT = (PROTECTED, _PENDING, "no-drive", "sign-in-again")


def changed(account: Account, wanted: shapes.AccountChange, *, due_again: DueAgain, may_approve: bool) -> Account:
    """`due_again`: when an account, as it is given, is due if it is to be backed up from now on. `may_approve`: whether
    the operator may let in whom the installation has not let in yet. Refusal.
    """
    after = account
    if wanted.tags is not msgspec.UNSET:
        after = replace(after, tags=tuple(dict.fromkeys(wanted.tags)))
    if wanted.schedule is not msgspec.UNSET and wanted.schedule != account.schedule:
        after = replace(after, schedule=wanted.schedule)
        after = replace(after, next_due_at=due_again(after))
    if wanted.included is False:
        state = _OUT if account.state in _CAN_BE_LEFT_OUT else account.state
        after = replace(after, included=False, state=state)
    if wanted.included is True:
        after = _included(after, due_again, may_approve)
    return after


def _included(account: Account, due_again: DueAgain, may_approve: bool) -> Account:
    """Who was in already stays due when they were."""
    if account.state == _PENDING and not may_approve:
        raise Refusal(
            403, "not-home", "Only an operator of the home tenant, or a program with a key, may let this one in."
        )
    after = replace(account, included=True, state=PROTECTED if account.state in (_OUT, _PENDING) else account.state)
    if after == account and account.next_due_at is not None:
        return account
    return replace(after, next_due_at=due_again(after))
