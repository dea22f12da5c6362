"""Everything that one piece of work on one account's drive needs: the drive, its repository, the counters.

It is made for each activity and lives no longer. What is slow to make and never changes, the keys of a repository and
the drive of a claim, the process remembers.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from backup_core import wiring
from backup_core.backup.job import BackupJob, Components
from backup_core.errors import DrivekeepError, NoRepository, NotFound, Usage, WrongPassword
from backup_core.graph.drives import Drive, my_drive, user_drive
from backup_core.graph.sign_in import SignedIn
from backup_core.repository import layout
from backup_core.repository.crypto import Keys
from backup_core.repository.repository import Repository
from backup_core.runs.claim import Claim
from backup_core.service.connected import ConnectedTokens
from backup_core.service.service import SAVES_AT_ONCE, Service

REMEMBERED_MAX = 256  # drives; a process works for some of them at a time, one after the other

T = TypeVar("T")


class Remembered:
    """The last few things that were made, by what they were made for. Two threads may make one twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, object] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]  # type: ignore[return-value]
        made = make()
        with self._lock:
            self._known[key] = made
            if len(self._known) > REMEMBERED_MAX:
                self._known.popitem(last=False)
        return made


_drives, _keys = Remembered(), Remembered()


@dataclass(frozen=True)
class Workplace:
    job: BackupJob
    parts: Components


def graph_of(service: Service, tenant: str, account: str) -> tuple[wiring.Graph, bool]:
    """The way to an account's drive, and whether it is by the person's own sign-in rather than the app's access.

    Once the organisation has consented, that covers all of its people: who signed in before needs not do so again.
    """
    found, kept = service.registry.tenants.get(tenant), ConnectedTokens(service, tenant, account)
    if (found is not None and found.connected_at is not None) or not kept.is_there():
        return service.graph(tenant), False
    tokens = SignedIn(
        service.sign_in_host,
        kept,
        service.client_id,
        service.settings.graph_url,
        tenant,
        credential=service.user_credential,
    )
    return service.graph(tenant, tokens), True


def open_workplace(service: Service, claim: Claim) -> Workplace:
    """For a backup; the first one makes the repository. Errors of sign-in, drive and repository."""
    service.check_master_key()
    graph, signed_in = graph_of(service, claim.tenant, claim.account)
    found = _drives.get((claim.token, claim.account), lambda: _drive(graph, claim.account, signed_in))
    place = service.place(claim.tenant, claim.account)
    repository = _repository(service, place, claim, found)
    account = service.registry.accounts.get(claim.tenant, claim.account)
    tags = tuple(dict.fromkeys((*claim.tags, *(account.tags if account else ()))))
    job = BackupJob(
        drive=found,
        source="onedrive" if claim.source == "onedrive" else "onedrive-changes",
        tags=tags,
        dry_run=claim.dry_run,
        threads=max(1, service.settings.number("DRIVEKEEP_MAX_CONCURRENT_THREADS") // SAVES_AT_ONCE),
    )
    return Workplace(job, wiring.components_for(place, repository, graph, service.clock))


def open_account_repository(service: Service, tenant: str, account: str, *, read_only: bool = True) -> Repository:
    """For looking inside, and for maintenance. NoRepository; WrongPassword, where the master key is another."""
    return _opened(service, service.place(tenant, account, read_only=read_only), tenant, account)


def _drive(graph: wiring.Graph, account: str, signed_in: bool) -> Drive:
    return my_drive(graph.client) if signed_in else user_drive(graph.client, account)


def _repository(service: Service, place: wiring.Place, claim: Claim, drive: Drive) -> Repository:
    try:
        return _opened(service, place, claim.tenant, claim.account)
    except NoRepository:
        if claim.dry_run:
            elsewhere = wiring.place_in_memory(place, service.clock)
            return wiring.open_or_make_repository(elsewhere, service.clock, "dry run")
    password = service.master.repository_passwords(claim.tenant, claim.account)[0]
    return wiring.open_or_make_repository(place, service.clock, password)


def _opened(service: Service, place: wiring.Place, tenant: str, account: str) -> Repository:
    """By any of the passwords; the keys are remembered, since deriving them is slow on purpose."""

    def open_it() -> tuple[Keys, str, int]:
        refused: DrivekeepError = Usage("There is no master key.")
        for password in service.master.repository_passwords(tenant, account):
            try:
                opened = wiring.open_repository(place, partial(str, password))
                return opened.keys, opened.id, opened.version
            except WrongPassword as error:
                refused = error
        raise refused

    known = _keys.get((id(service), tenant, account, *_seen_outside(place)), open_it)
    return Repository(place.store, *known, place.content_store)


def _seen_outside(place: wiring.Place) -> tuple[bytes, tuple[str, ...]]:
    """What tells a repository from one that was here before it, and its key files from former ones. NoRepository.

    What is remembered of one that was erased must neither bring it back nor write into the next one; and where a key
    file was destroyed, nothing may be stored that can be read by nobody but a process that remembers.
    """
    try:
        config = place.store.get(layout.CONFIG)
    except NotFound:
        raise NoRepository("There is no repository at this place.", why="It has no `config`.") from None
    return config, tuple(stored.name for stored in place.store.list(layout.KEYS))
