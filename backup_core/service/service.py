"""The parts of the app that live as long as its process: made from the settings, each when it is first asked for.

It decides nothing about a request, a run or a drive. Whatever cannot be made, because a setting is missing or wrong,
raises Usage at whoever asks for it, and is a problem that `problems` names; the rest works on.
"""

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from backup_core import wiring
from backup_core.clock import Clock
from backup_core.errors import DrivekeepError, Usage
from backup_core.graph.gate import Gate
from backup_core.graph.shared_gate import SharedGate
from backup_core.graph.transport import new_session
from backup_core.registry.azure_table import AzureTable, TableAccount
from backup_core.registry.installation import check_fingerprint
from backup_core.registry.master_key import MasterKey
from backup_core.registry.registry import Registry
from backup_core.registry.sealing import Sealer
from backup_core.registry.table import Table
from backup_core.registry.tokens import PURPOSE as TOKENS
from backup_core.runs.reports import Reports
from backup_core.runs.runs import Runs
from backup_core.runs.schedule import valid_cron
from backup_core.service.throttle import SharedPause
from backup_core.settings import Settings
from backup_core.settings.table import CLOUDS, SETTINGS
from backup_core.storage.azure_client import BlobAccount
from backup_core.storage.locations import AzureLocation

if TYPE_CHECKING:
    import requests

    from backup_core.graph.client import GraphClient, TokenSource
    from backup_core.graph.code_sign_in import CodeSignIn
    from backup_core.graph.credential import Credential
    from backup_core.graph.sign_in_host import SignInHost
    from backup_core.storage.store import Store

# Activities wait for throttling no longer than this: a longer pause costs nothing on a durable timer.
ACTIVITY_PATIENCE_SECONDS = 120.0
# Batches that one process saves at a time. Each holds an open pack, one on its way and the SDK's copy of that, and a
# window for each thread: about 130 MiB with four threads. Activities above this number wait for their turn.
SAVES_AT_ONCE = 2
PROBLEMS_SECONDS = 10.0  # for which a look at the app's health is good


class Problem(NamedTuple):
    reason: str
    message: str
    remedy: str


class Service:
    """Shared by all threads of the process. `table`: stands in for the one in Azure, in tests."""

    def __init__(self, settings: Settings, clock: Clock, table: Table | None = None) -> None:
        self.settings, self.clock = settings, clock
        self.saving = threading.BoundedSemaphore(SAVES_AT_ONCE)
        self._table = table
        self._lock = threading.RLock()
        self._known_problems: list[Problem] = []
        self._problems_known_until = clock.monotonic()
        self._gates: dict[str, Gate] = {}
        self._app_tokens: dict[str, TokenSource] = {}

    # -- who is protected, and what is done for them -------------------------------------------------------------

    @cached_property
    def master(self) -> MasterKey:
        """Usage where it is missing, unusable, or an unresolved reference to a Key Vault."""
        return MasterKey.from_text(
            self.settings.text("DRIVEKEEP_MASTER_KEY"), self.settings.text("DRIVEKEEP_MASTER_KEY_PREVIOUS")
        )

    def sealer(self, purpose: str) -> Sealer:
        return Sealer(self.master, purpose)

    @cached_property
    def registry(self) -> Registry:
        return Registry(self._table or self._azure_table(), self.clock, lambda: self.sealer(TOKENS))

    @cached_property
    def runs(self) -> Runs:
        return Runs(
            self.registry,
            self.reports,
            self.clock,
            self.settings.text("DRIVEKEEP_DEFAULT_BACKUP_CRON"),
            lambda: os.urandom(8).hex(),
        )

    @cached_property
    def reports(self) -> Reports:
        return Reports(self.store(""), lambda: self.sealer("report"))

    def _azure_table(self) -> Table:
        access = self.settings.service_storage
        account = TableAccount(
            access.connection_string, access.account_name, CLOUDS[self.settings.text("DRIVEKEEP_CLOUD")].blob_suffix
        )
        return AzureTable(
            account,
            table_name(self.container),
            clock=self.clock,
            retries=self.settings.number("DRIVEKEEP_HTTP_RETRIES"),
        )

    def check_master_key(self) -> None:
        """Before anything is written that this key seals. DrivekeepError, reason `wrong-key`; Usage."""
        if not self._key_checked:
            check_fingerprint(self.registry.table, self.master, self.clock)
            self._key_checked = True

    _key_checked = False

    # -- where repositories are ----------------------------------------------------------------------------------

    @property
    def container(self) -> str:
        return self.settings.text("DRIVEKEEP_CONTAINER")

    def place(self, tenant: str, account: str, *, read_only: bool = False) -> wiring.Place:
        """Where an account's repository lies, or will lie."""
        location = AzureLocation(self.container, f"{tenant}/{account}")
        return wiring.azure_place(self.settings, self.blob_account, location, self.clock, read_only=read_only)

    def store(self, folder: str) -> "Store":
        """A folder of the container, for what belongs to no repository."""
        location = AzureLocation(self.container, folder)
        return wiring.azure_place(self.settings, self.blob_account, location, self.clock).store

    @cached_property
    def blob_account(self) -> BlobAccount:
        access = self.settings.service_storage
        suffix = CLOUDS[self.settings.text("DRIVEKEEP_CLOUD")].blob_suffix
        return BlobAccount(access.connection_string, access.account_name, None, suffix)

    # -- the way to Microsoft ------------------------------------------------------------------------------------

    @property
    def client_id(self) -> str:
        return self.settings.text("DRIVEKEEP_CLIENT_ID")

    @cached_property
    def session(self) -> "requests.Session":
        self.settings.lend_to_libraries()
        return new_session(self.settings.number("DRIVEKEEP_MAX_CONCURRENT_THREADS") * SAVES_AT_ONCE)

    @property
    def patience(self) -> float:
        """Seconds that one request may wait for throttling."""
        given = self.settings.given("DRIVEKEEP_THROTTLE_PATIENCE")
        return self.settings.number("DRIVEKEEP_THROTTLE_PATIENCE") if given else ACTIVITY_PATIENCE_SECONDS

    @cached_property
    def sign_in_host(self) -> "SignInHost":
        return wiring.sign_in_host(self.settings, self.clock, self.session, self.patience)

    @cached_property
    def proof(self) -> wiring.Proof:
        return wiring.proof_of(self.settings, self.clock)

    def gate(self, tenant: str) -> Gate:
        """The tenant's, of which every process sees the same demands."""
        with self._lock:
            if tenant not in self._gates:
                pause = SharedPause(self.registry.throttle(tenant), self.clock)
                self._gates[tenant] = SharedGate(self.clock, pause)
            return self._gates[tenant]

    def app_tokens(self, tenant: str) -> "TokenSource":
        with self._lock:
            if tenant not in self._app_tokens:
                self._app_tokens[tenant] = wiring.app_only_tokens(self.settings, self.sign_in_host, tenant, self.proof)
            return self._app_tokens[tenant]

    def graph(self, tenant: str, tokens: "TokenSource | None" = None) -> wiring.Graph:
        """A client of its own for each piece of work, so that its counters are that work's; by the app's own access
        where no other tokens are given.
        """
        tokens = tokens or self.app_tokens(tenant)
        return wiring.graph_with(self.settings, self.clock, self.session, tokens, self.gate(tenant), self.patience)

    def directory(self, tenant: str) -> "GraphClient":
        return self.graph(tenant).client

    @property
    def user_credential(self) -> "Credential | None":
        """What the app adds when a person signs in; None for a registration without any proof, a public client."""
        from backup_core.graph.credential import credential_of  # noqa: PLC0415 - msal is slow to load

        try:
            return credential_of(**self.proof._asdict())
        except Usage:
            return None

    def code_sign_in(self) -> "CodeSignIn":
        """How a single person signs in, with a personal or a work account."""
        from backup_core.graph.code_sign_in import CodeSignIn  # noqa: PLC0415

        return CodeSignIn(
            self.sign_in_host, self.client_id, self.settings.graph_url, "common", credential=self.user_credential
        )

    # -- how it is set up ----------------------------------------------------------------------------------------

    @property
    def home_tenant(self) -> str:
        return self.settings.text("DRIVEKEEP_HOME_TENANT").strip().lower()

    @property
    def onboarding(self) -> str:
        """`open` or `approve`."""
        return self.settings.text("DRIVEKEEP_ONBOARDING") or ("approve" if self.home_tenant else "open")

    @property
    def enrol(self) -> str:
        """`all` or `none`."""
        return self.settings.text("DRIVEKEEP_ENROL")

    @property
    def drives_per_tenant(self) -> int:
        return self.settings.number("DRIVEKEEP_MAX_DRIVES_PER_TENANT")

    def problems(self) -> list[Problem]:
        """What keeps the app from doing all of its work, each with what to do. Asks the storage, but not again within
        seconds: anybody may look at the app's health as often as they like.
        """
        now = self.clock.monotonic()
        if now >= self._problems_known_until:
            self._known_problems, self._problems_known_until = list(self._problems()), now + PROBLEMS_SECONDS
        return self._known_problems

    def _problems(self) -> Iterator[Problem]:
        checks: list[tuple[str, Callable[[], object]]] = [
            ("master-key", lambda: self.master),
            ("storage", lambda: self.registry.tenants.page(None, 1)),
            ("app-registration", lambda: self.app_tokens("organizations")),
            ("schedule", lambda: valid_cron(self.settings.text("DRIVEKEEP_DEFAULT_BACKUP_CRON"))),
        ]
        if all(self._usable(name) for name in ("DRIVEKEEP_MASTER_KEY", "DRIVEKEEP_MASTER_KEY_PREVIOUS")):
            checks.append(("master-key", self.check_master_key))
        checks += [("setting", partial(self.settings.text, name)) for name in SETTINGS]
        said: set[str] = set()
        for name, check in checks:
            try:
                check()
            except DrivekeepError as error:
                reason = name if isinstance(error, Usage) and error.reason == "usage" else error.reason
                message = " ".join(filter(None, (error.what, error.why)))
                if message not in said:
                    yield Problem(reason, message, error.remedy)
                said.add(message)
        for warning in self.settings.warnings:
            yield Problem("setting", warning, "Check how it is spelt.")

    def _usable(self, name: str) -> bool:
        try:
            return name == "DRIVEKEEP_MASTER_KEY_PREVIOUS" or bool(self.settings.text(name) and self.master)
        except Usage:
            return False


def table_name(container: str) -> str:
    """The registry's table beside a container, so that two installations may share a storage account.

    A table's name has letters and digits only; where that takes something from the container's name, a hash of it
    keeps two apart.
    """
    plain = re.sub(r"[^a-z0-9]", "", container.lower())
    mark = "" if plain == container else hashlib.sha256(container.encode()).hexdigest()[:8]
    return f"{'' if plain[:1].isalpha() else 't'}{plain[:40]}{mark}registry"


def open_service(settings: Settings, clock: Clock) -> Service:
    """Nothing is sent yet, and nothing is checked."""
    settings.lend_to_libraries()
    return Service(settings, clock)
