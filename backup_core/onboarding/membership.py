"""What becomes of one user's account when the tenant's list of users has been read. It asks nobody and stores nothing.

| user                       | account before            | account after                                             |
|----------------------------|---------------------------|-----------------------------------------------------------|
| guest                      | any                       | guest: guests have no drive in this tenant                |
| member                     | left out (not included)   | excluded, whatever the drive                              |
| member                     | protected                 | protected: its backups find out what its drive is like    |
| member with a drive        | any other, or none        | protected, and due at once if it never was                |
| member without a drive     | any other, or none        | no-drive; asked again after a day                         |
| member, drive closed to us | left, protected before it | protected: what is closed may be opened                   |
| member, drive closed to us | any other, or none        | no-drive; asked again after a day                         |
| gone                       | any                       | as it was                                                 |
| no longer in the list      | any                       | left: no longer due, snapshots stay                       |

A disabled user, or one without a licence, is a member like any other: a drive that can be read is protected.
"""

import datetime
from dataclasses import replace

from backup_core.graph.users import User, UsersDrive
from backup_core.registry.accounts import PROTECTED, Account

# Asking about drives that are not there is throttled by address, for all tenants together.
ASK_AGAIN_AFTER = datetime.timedelta(days=1)
_TEXT_MAX = 256  # characters of names, as in the directory


def asks_for_drive(user: User, account: Account | None, enrol: str, now: datetime.datetime) -> bool:
    """Whether it must be known if the user has a drive. `enrol`: `none` leaves new users out until they are chosen."""
    if user.guest or not (account.included if account else enrol == "all"):
        return False
    if account is None or account.state not in (PROTECTED, "no-drive"):
        return True
    checked_at = account.no_drive_checked_at
    return account.state == "no-drive" and (checked_at is None or now - checked_at >= ASK_AGAIN_AFTER)


def after_reading(
    user: User, account: Account | None, drive: UsersDrive | None, tenant: str, enrol: str, now: datetime.datetime
) -> Account | None:
    """The account as it is to be; None where there is to be none. `drive`: what was found, None where nobody asked."""
    if drive is not None and drive.finding == "gone":
        return account
    known = account or Account(user.id, tenant, included=enrol == "all", created_at=now)
    named = replace(known, upn=user.upn[:_TEXT_MAX], display_name=user.display_name[:_TEXT_MAX], state_before="")
    if user.guest:
        return replace(named, state="guest")
    if not named.included:
        return replace(named, state="excluded")
    if drive is None:
        return named
    readable = drive.finding == "readable" or (drive.finding == "closed" and known.state_before == PROTECTED)
    if not readable:
        return replace(named, state="no-drive", no_drive_checked_at=now)
    return replace(
        named,
        state=PROTECTED,
        drive_id=drive.drive_id or known.drive_id,
        no_drive_checked_at=None,
        next_due_at=known.next_due_at or now,
    )


def after_leaving(account: Account) -> Account:
    """The account of somebody who is no longer in the list. When it was due is kept: they may return."""
    if account.state == "left":
        return account
    return replace(account, state="left", state_before=account.state)
