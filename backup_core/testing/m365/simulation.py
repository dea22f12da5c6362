"""The simulated Microsoft 365 as a whole: puts the rooms together, starts them, and stops them again.

It decides nothing about an answer; how the service behaves is in `switches.py` and in the modules named by their noun.
"""

import json
import random
import secrets
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509

from backup_core.clock import Clock, SystemClock
from backup_core.testing.m365.addresses import LOCAL_HOSTS, ORIGINS, Addresses
from backup_core.testing.m365.certificates import make_certificates
from backup_core.testing.m365.content_host import ContentHost
from backup_core.testing.m365.directory import Tenant, User, build_directory
from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.faults import FaultPlan
from backup_core.testing.m365.graph_api import GraphApi
from backup_core.testing.m365.log import RequestLog
from backup_core.testing.m365.proxy import Proxy
from backup_core.testing.m365.registrations import Registration, Registrations, well_known
from backup_core.testing.m365.server import Handler, OriginServer
from backup_core.testing.m365.sign_in import SignIn
from backup_core.testing.m365.switches import Switches
from backup_core.testing.m365.tokens import Grant, Session, TokenBook
from backup_core.testing.m365.wire import Origin

APP_ROLES = frozenset({"Files.Read.All", "User.Read.All"})
USER_SCOPES = frozenset({"Files.Read", "User.Read"})


class Simulation:
    """A context manager: inside it the origins answer; leaving it fails where a scripted fault never came.

    `port`: the first of four that follow each other (Graph, sign-in, content, proxy); 0 leaves them to the system.
    `log_entries`: how many requests the log keeps, None for all.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        business: bool = True,
        users: int = 1,
        seed: int = 0,
        strict_content: bool = True,
        port: int = 0,
        log_entries: int | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.switches = Switches(seed=seed, strict_content=strict_content)
        self.faults = FaultPlan()
        self.log = RequestLog(log_entries)
        self.tokens = TokenBook(self.clock)
        self.directory = build_directory(seed, users, business, self.clock)
        self.app = _registration(seed)
        self.registrations = Registrations(self.app, *well_known())
        self.addresses = Addresses(self.directory.tenant.content_host)
        self._first_port = port
        self._servers: list[OriginServer] = []

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="simulated-m365-")))
            self._start(opened)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
        if error is not None:
            return  # the body's own failure says more than a fault that it kept from coming
        self.faults.verify_all_fired()
        for server in self._servers:
            if server.crashes:
                raise server.crashes[0]

    # --- where it is

    @property
    def graph_url(self) -> str:
        return self.addresses.url("graph")

    @property
    def authority_url(self) -> str:
        return self.addresses.url("login")

    @property
    def content_url(self) -> str:
        return self.addresses.url("content")

    @property
    def proxy_url(self) -> str:
        return self.proxy.url

    # --- who is in it

    @property
    def tenant(self) -> Tenant:
        return self.directory.tenant

    @property
    def users(self) -> list["SimulatedUser"]:
        return [SimulatedUser(self, user) for user in self.directory.users]

    @property
    def client_id(self) -> str:
        return self.app.client_id

    @property
    def client_secret(self) -> str:
        return next(iter(self.app.secrets))

    def accept_certificate(self, pem: bytes) -> None:
        """From now on the app may prove itself with this certificate's key, beside its secret."""
        self.app.certificates.append(x509.load_pem_x509_certificate(pem))

    def app_token(self) -> str:
        """An access token of the app by itself, without the way through the sign-in host."""
        return self.tokens.issue(Grant(self.tenant.id, self.client_id, roles=self.app.roles))

    def environment(self, user: int | None = 0) -> dict[str, str]:
        """Settings for a drivekeep command: as this signed-in user, with a fresh token file, or None for the app."""
        settings = {
            "DRIVEKEEP_GRAPH_URL": self.graph_url,
            "DRIVEKEEP_AUTHORITY_URL": self.authority_url,
            "DRIVEKEEP_ALLOWED_HOSTS": LOCAL_HOSTS["content"],
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
            "DRIVEKEEP_CLIENT_ID": self.client_id,
        }
        if user is None:
            return {**settings, "DRIVEKEEP_CLIENT_SECRET": self.client_secret, "DRIVEKEEP_TENANT": self.tenant.id}
        token_file = self.folder / f"onedrive_token_{secrets.token_hex(4)}.json"
        token_file.touch(mode=0o600)
        token_file.write_text(json.dumps({"refresh_token": self.users[user].refresh_token}))
        return {**settings, "ONEDRIVE_TOKEN_FILE": str(token_file)}

    # --- start and stop

    def _start(self, opened: ExitStack) -> None:
        names = [*dict.fromkeys(LOCAL_HOSTS.values()), *self.addresses.names.values()]
        self.ca_file, tls = make_certificates(names, self.folder)
        handlers = self._handlers()
        for number, origin in enumerate(ORIGINS):
            server = OriginServer(
                origin,
                handlers[origin],
                tls=tls,
                clock=self.clock,
                faults=self.faults,
                log=self.log,
                port=self._port(number),
            )
            opened.callback(server.stop)
            self._servers.append(server)
            self.addresses.ports[origin] = server.port
        self.proxy = Proxy(self.addresses, self._port(len(ORIGINS)))
        opened.callback(self.proxy.stop)
        for server in self._servers:
            server.start()
        self.proxy.start()

    def _handlers(self) -> dict[Origin, Handler]:
        def url(origin: Origin) -> str:
            return self.addresses.url(origin)

        graph = GraphApi(
            self.directory,
            self.tokens,
            self.switches,
            self.clock,
            content_url=lambda: url("content"),
            graph_url=lambda: url("graph"),
        )
        content = ContentHost(self.directory, self.switches, self.clock)
        sign_in = SignIn(
            self.directory,
            self.registrations,
            self.tokens,
            self.clock,
            login_url=lambda: url("login"),
            graph_url=lambda: url("graph"),
        )
        return {"graph": graph.handle, "login": sign_in.handle, "content": content.handle}

    def _port(self, number: int) -> int:
        return self._first_port + number if self._first_port else 0


class SimulatedUser:
    """A user as a test sees them. Each reading of a token gives a new one; `entry` is the directory's own record."""

    def __init__(self, simulation: Simulation, user: User) -> None:
        self._simulation, self.entry = simulation, user
        self.id, self.upn, self.display_name = user.id, user.upn, user.display_name

    @property
    def drive(self) -> Drive:
        """The user's own drive. LookupError where they have none."""
        if self.entry.drive is None:
            raise LookupError(f"{self.upn} has no drive")
        return self.entry.drive

    @property
    def access_token(self) -> str:
        """As the simulation's app gets it for this user."""
        tenant, app = self._simulation.tenant, self._simulation.app
        return self._simulation.tokens.issue(Grant(tenant.id, app.client_id, user=self.id, scopes=app.scopes))

    @property
    def refresh_token(self) -> str:
        """For any registered app: it binds itself to the first that redeems it."""
        return self._simulation.tokens.issue_refresh(Session(self._simulation.tenant.id, self.id))


def _registration(seed: int) -> Registration:
    """The app that reads: consented, with a secret made up at each start."""
    number = random.Random(f"client {seed}").getrandbits(128)  # noqa: S311 - a name, no secret
    client_id = str(uuid.UUID(int=number, version=4))
    return Registration(client_id, secrets={secrets.token_urlsafe(30)}, roles=APP_ROLES, scopes=USER_SCOPES)
