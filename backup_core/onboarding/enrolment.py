"""Reading a tenant's users and keeping its accounts in step with them, in pieces that end within a minute.

What becomes of each is `membership.py`; where the reading stands is `reading.py`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

from backup_core.errors import AccessDenied, DrivekeepError, Inconsistent, Temporary
from backup_core.graph.client import GraphClient
from backup_core.graph.users import (
    Organization,
    User,
    UsersDrive,
    UsersPage,
    drive_of,
    is_expired_link,
    users_page,
    usual_domain,
)
from backup_core.onboarding.consent import note_lost_consent, prove, what_it_is_called
from backup_core.onboarding.membership import after_leaving, after_reading, asks_for_drive
from backup_core.onboarding.needs import Service
from backup_core.onboarding.reading import Reading, Readings, mark
from backup_core.onboarding.tenant_change import Decision, change_tenant
from backup_core.registry import audit
from backup_core.registry.accounts import CHANGES_EACH, Account
from backup_core.registry.table import CHANGES_MAX, Change, Conflict
from backup_core.registry.tenants import CONNECTED, Tenant

WHO = "enrolment"  # in the audit trail

# An activity has 60 seconds; what is begun within 40 of them, one page and a few drives, ends in time.
_WORK_SECONDS = 40.0
_DRIVE_THREADS = 8
# Accounts in one transaction: each may change so many rows and adds one to the audit trail; one row counts them all.
_TOGETHER = (CHANGES_MAX - 1) // (CHANGES_EACH + 1)
_ACCOUNTS_PAGE = 1000
_PAGES_MAX = 10_000  # of 999 users; a list that goes on longer goes round
_PAUSE_SECONDS = 30.0  # before the same is tried again

T = TypeVar("T")
Decide = Callable[[Account | None], Account | None]


def enrol_page(service: Service, tenant: str, cursor: str | None) -> dict[str, Any]:
    """The body of an activity: read on where `cursor` stands, or from the beginning (None), for less than a minute.

    `ok` with `next`, the cursor to go on with (None: all is done), and counts of `users`, `added`, `changed` and
    `left`. Otherwise `reason`, with `retry_after` seconds where the same call makes sense later.
    """
    work = _Enrolment(service, tenant.lower())
    try:
        try:
            return {"ok": True, "next": work.go_on(cursor), **work.counts}
        except AccessDenied as error:
            told = _refused(service, work.tenant, error)
        # Where the tenant's consent turns out to be sound, the token that was refused was older than that.
        return told or {"ok": True, "next": work.go_on(cursor), **work.counts}
    except Conflict:  # an activity that runs twice meets itself
        return _not_now(cursor, "conflict", _PAUSE_SECONDS)
    except Temporary as error:
        return _not_now(cursor, error.reason, error.retry_after or _PAUSE_SECONDS)
    except DrivekeepError as error:
        return _not_now(None, "inconsistent" if is_expired_link(error) else error.reason, None)


def may_be_read(tenant: Tenant | None) -> bool:
    """Whether there are users to read: the organisation has consented, and was let in where that is asked for."""
    return tenant is not None and tenant.state == CONNECTED and tenant.connected_at is not None


def _refused(service: Service, tenant: str, error: AccessDenied) -> dict[str, Any] | None:
    """What to answer where users cannot be read; None where a new token shows that they should be."""
    proof = prove(service.app_tokens(tenant), tenant, service.client_id)
    if proof.kind == "granted":
        return None
    if proof.kind not in ("waiting", "missing-permission"):
        return _not_now(None, error.reason, None)
    if note_lost_consent(service, tenant, WHO):
        return _not_now(None, "consent-lost", None)
    return _not_now(None, proof.kind, _PAUSE_SECONDS)


def _not_now(cursor: str | None, reason: str, retry_after: float | None) -> dict[str, Any]:
    return {"ok": False, "next": cursor, "reason": reason, "retry_after": retry_after}


class _Enrolment:
    """One call's work on one tenant."""

    def __init__(self, service: Service, tenant: str) -> None:
        self.tenant = tenant
        self.counts = {"users": 0, "added": 0, "changed": 0, "left": 0}
        self._service, self._clock = service, service.clock
        self._readings = Readings(service.registry.table, service.sealer("reading"), service.clock)
        self._ends_at = service.clock.monotonic() + _WORK_SECONDS
        self._known: dict[str, Account] = {}
        self._done: set[str] = set()  # whoever was looked at in this call

    def go_on(self, cursor: str | None) -> str | None:
        self._service.check_master_key()
        if not may_be_read(self._service.registry.tenants.get(self.tenant)):
            return None
        found = self._readings.get(self.tenant, cursor) if cursor else self._readings.start(self.tenant)
        if found is None or found.finished:
            return None  # another reading has begun, or this one had ended before this activity ran again
        reading: Reading | None = found
        client = self._service.graph(self.tenant).client
        self._known = {account.id: account for account in self._accounts()}
        while reading is not None and not reading.whole:
            reading = self._read_page(client, reading)
            if reading is not None and self._late():
                return reading.id
        if reading is None:
            return None
        if not self._let_leavers_go(reading):
            return reading.id
        self._finish(reading)
        return None

    def _read_page(self, client: GraphClient, reading: Reading) -> Reading | None:
        """The reading as it stands after a page. As it stood where the time was too short for all of its users."""
        page = users_page(client, reading.link)
        if reading.pages >= _PAGES_MAX or (page.next_link and page.next_link == reading.link):
            raise Inconsistent("Microsoft's list of users leads back to where it was.", reason="inconsistent")
        if reading.pages == 0:
            self._name_tenant(page)
        for users in _in_groups([user for user in page.users if self._concerns(user)], _TOGETHER):
            if self._late() and self._done:
                return reading  # the page is read again next time, and whoever is done is skipped
            self._enrol(client, users)
        return self._readings.turn_page(reading, [user.id for user in page.users], page.next_link)

    def _concerns(self, user: User) -> bool:
        """Whether reading about a user may change anything."""
        account, now, enrol = self._known.get(user.id), self._clock.now(), self._service.enrol
        if user.id in self._done:
            return False
        self.counts["users"] += 1
        asks = asks_for_drive(user, account, enrol, now)
        return asks or after_reading(user, account, None, self.tenant, enrol, now) != account

    def _enrol(self, client: GraphClient, users: Sequence[User]) -> None:
        now, enrol = self._clock.now(), self._service.enrol
        asked = [user for user in users if asks_for_drive(user, self._known.get(user.id), enrol, now)]
        with ThreadPoolExecutor(_DRIVE_THREADS) as pool:
            found = pool.map(lambda user: (user.id, drive_of(client, user.id)), asked)
        drives = dict(found)

        def decide_for(user: User) -> Decide:
            drive: UsersDrive | None = drives.get(user.id)
            return lambda account: after_reading(user, account, drive, self.tenant, enrol, now)

        self._change({user.id: decide_for(user) for user in users})

    def _let_leavers_go(self, reading: Reading) -> bool:
        """Mark whoever was there before this reading and is on none of its pages. False where time is up before."""
        met = self._readings.met(reading)
        if not met:
            return True  # every tenant has users: a list without any is no reason to end all backups
        gone = [account.id for account in self._known.values() if _has_left(account, reading, met)]
        for ids in _in_groups(gone, _TOGETHER):
            if self._late():
                return False
            self._change({each: lambda account: account and after_leaving(account) for each in ids}, "left")
        return True

    def _change(self, decisions: dict[str, Decide], what: str = "") -> None:
        """Change accounts in one transaction, each as it is then, not as it was when the work began."""
        accounts = self._service.registry.accounts
        attempts, tally = count(), Counter[str]()

        def read_again(account_id: str) -> Account | None:
            return accounts.get(self.tenant, account_id)

        def changes() -> list[Change]:
            # What is known is as good as read, until somebody else turns out to have been first.
            read = self._known.get if next(attempts) == 0 else read_again
            found = [(read(each), decide) for each, decide in decisions.items()]
            moves = [(before, decide(before)) for before, decide in found]
            wanted = [(before, after) for before, after in moves if after is not None and after != before]
            tally.clear()
            tally.update(what or ("changed" if before else "added") for before, _ in wanted)
            notes = [self._note(before, after) for before, after in wanted if _is_worth_a_note(before, after)]
            return [*accounts.changes_of(wanted), *notes] if wanted else []

        self._service.registry.commit(self.tenant, changes)
        for name, number in tally.items():
            self.counts[name] += number
        self._done.update(decisions)

    def _note(self, before: Account | None, after: Account) -> Change:
        details = {"upn": after.upn, "state": after.state, "was": before.state if before else None}
        return audit.entry(self._clock, WHO, "account.change" if before else "account.add", after.id, details)

    def _name_tenant(self, page: UsersPage) -> None:
        """Name and domain as Microsoft says; where it may not be asked, the domain that most of its users have."""
        called = what_it_is_called(self._service, self.tenant) or Organization("", "")
        usual = usual_domain(page.users)

        def decide(before: Tenant | None) -> Decision | None:
            if before is None:
                return None
            domain = called.domain or before.domain or usual
            return Decision(replace(before, name=called.name or before.name or usual, domain=domain), "tenant.name")

        change_tenant(self._service, self.tenant, WHO, decide)

    def _finish(self, reading: Reading) -> None:
        def decide(before: Tenant | None) -> Decision | None:
            return Decision(replace(before, users_read_at=reading.started_at), "") if before else None

        change_tenant(self._service, self.tenant, WHO, decide)
        self._readings.finish(reading)

    def _accounts(self) -> Iterator[Account]:
        after: str | None = None
        while page := self._service.registry.accounts.page(self.tenant, after, _ACCOUNTS_PAGE):
            yield from page
            after = page[-1].id

    def _late(self) -> bool:
        return self._clock.monotonic() >= self._ends_at


def _is_worth_a_note(before: Account | None, after: Account) -> bool:
    """That a drive is still not there is none."""
    return before is None or replace(after, no_drive_checked_at=before.no_drive_checked_at) != before


def _has_left(account: Account, reading: Reading, met: set[bytes]) -> bool:
    there_before = account.created_at is None or account.created_at < reading.started_at
    return account.state != "left" and there_before and mark(account.id) not in met


def _in_groups(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
