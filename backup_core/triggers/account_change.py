"""What becomes of an account when an operator changes it: pure, so that every case can be seen in one place."""

from dataclasses import replace

import msgspec

from backup_core.onboarding.inclusion import WAITING, DueAgain, left_out, taken_in
from backup_core.registry.accounts import Account
from backup_core.triggers import shapes
from backup_core.triggers.problems import Refusal


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
        after = left_out(after)
    if wanted.included is True:
        after = taken_in(after, due_again, may_approve=may_approve)
        if account.state == after.state == WAITING:
            raise Refusal(
                403, "not-home", "Only an operator of the home tenant, or a program with a key, may let this one in."
            )
    return after
