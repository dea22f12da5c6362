"""The simulated Microsoft 365 as a whole: puts the rooms together, starts them, and stops them again.

It decides nothing about an answer; how the service behaves is in `switches.py` and in the modules named by their noun.
"""

import json
import random
import secrets
import ssl
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509

from backup_core.clock import Clock, SystemClock
from backup_core.testing.m365.addresses import LOCAL_HOSTS, ORIGINS, Addresses
from backup_core.testing.m365.authorize import Visitor
from backup_core.testing.m365.certificates import make_certificates
from backup_core.testing.m365.consent import Consent
from backup_core.testing.m365.content_host import ContentHost
from backup_core.testing.m365.directory import Directory, build_directory
from backup_core.testing.m365.faults import FaultPlan
from backup_core.testing.m365.graph_api import GraphApi
from backup_core.testing.m365.log import RequestLog
from backup_core.testing.m365.managed_identity import PATH, ManagedIdentity
from backup_core.testing.m365.parties import Parties
from backup_core.testing.m365.proxy import Proxy
from backup_core.testing.m365.realm import Realm
from backup_core.testing.m365.registrations import FederatedCredential, Registration, Registrations, well_known
from backup_core.testing.m365.server import Handler, OriginServer
from backup_core.testing.m365.sign_in import SignIn
from backup_core.testing.m365.simulated_tenant import SimulatedTenant, SimulatedUser
from backup_core.testing.m365.switches import Switches
from backup_core.testing.m365.tenants import Tenants
from backup_core.testing.m365.tokens import TokenBook
from backup_core.testing.m365.wire import Origin, Request, Response

APP_ROLES = frozenset({"Files.Read.All", "User.Read.All"})
USER_SCOPES = frozenset({"Files.Read", "User.Read"})


class Simulation:
    """A context manager: inside it the origins answer; leaving it fails where a scripted fault never came.

    `port`: the first of five that follow each other (Graph, sign-in, content, proxy, managed identity); 0 leaves them
    to the system.
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
        self.tokens = TokenBook(self.clock)
        self.directory = build_directory(seed, users, business, self.clock)
        self._directories = Tenants(self.directory)
        self.app = _registration(seed)
        self.registrations = Registrations(self.app, *well_known())
        self.tenants = [SimulatedTenant(self.directory, self.app, self.tokens)]
        parties = Parties(self._directories, self.tokens)
        self.log = RequestLog(log_entries, self.clock, parties.of)
        self.identity = ManagedIdentity(seed, self.directory.tenant.id, self.tokens, self.clock)
        self.app.federated.append(FederatedCredential(self.identity.tenant_id, self.identity.principal_id))
        self.consent = Consent(self.directory.tenant, self.app, self.clock)
        self.authorize = Visitor()
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

    @property
    def identity_endpoint(self) -> str:
        """Of the managed identity `identity`: plain HTTP, as App Service has it."""
        return f"http://127.0.0.1:{self._identity_port}{PATH}"

    # --- who is in it

    @property
    def tenant(self) -> SimulatedTenant:
        """The first one, in which the app is registered and which has consented to it."""
        return self.tenants[0]

    @property
    def users(self) -> list[SimulatedUser]:
        """Those of the first tenant."""
        return self.tenant.users

    def add_tenant(self, domain: str, users: int = 1) -> SimulatedTenant:
        """Another organisation, which has not consented to the app: see `consent`. ValueError where it is there."""
        return self._add(build_directory(self.switches.seed, users, True, self.clock, domain))

    def add_personal(self, users: int = 1) -> SimulatedTenant:
        """Personal accounts beside the organisations: no app reads them by itself. ValueError where they are there."""
        return self._add(build_directory(self.switches.seed, users, False, self.clock))

    def _add(self, directory: Directory) -> SimulatedTenant:
        self._directories.add(directory)
        self.tenants.append(SimulatedTenant(directory, self.app, self.tokens))
        return self.tenants[-1]

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
        """As `SimulatedTenant.app_token`, for the first tenant."""
        return self.tenant.app_token()

    def environment(self, user: int | None = 0) -> dict[str, str]:
        """Settings for a drivekeep command: as this signed-in user, with a fresh token file, or None for the app."""
        settings = self._places()
        if user is None:
            return {**settings, "DRIVEKEEP_CLIENT_SECRET": self.client_secret, "DRIVEKEEP_TENANT": self.tenant.id}
        token_file = self.folder / f"onedrive_token_{secrets.token_hex(4)}.json"
        token_file.touch(mode=0o600)
        token_file.write_text(json.dumps({"refresh_token": self.users[user].refresh_token}))
        return {**settings, "ONEDRIVE_TOKEN_FILE": str(token_file)}

    def service_environment(self, *, managed_identity: bool = False) -> dict[str, str]:
        """Settings for the app that serves all tenants, which proves itself by its secret or by a managed identity.

        Storage, master key and the home tenant are not the simulation's to give.
        """
        if not managed_identity:
            return {**self._places(), "DRIVEKEEP_CLIENT_SECRET": self.client_secret}
        return {
            **self._places(),
            "DRIVEKEEP_MANAGED_IDENTITY": self.identity.client_id,
            "IDENTITY_ENDPOINT": self.identity_endpoint,
            "IDENTITY_HEADER": self.identity.header,
        }

    def _places(self) -> dict[str, str]:
        return {
            "DRIVEKEEP_GRAPH_URL": self.graph_url,
            "DRIVEKEEP_AUTHORITY_URL": self.authority_url,
            "DRIVEKEEP_ALLOWED_HOSTS": LOCAL_HOSTS["content"],
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
            "DRIVEKEEP_CLIENT_ID": self.client_id,
        }

    # --- start and stop

    def _start(self, opened: ExitStack) -> None:
        names = [*dict.fromkeys(LOCAL_HOSTS.values()), *self.addresses.names.values()]
        self.ca_file, tls = make_certificates(names, self.folder)
        handlers = self._handlers()
        for number, origin in enumerate(ORIGINS):
            self.addresses.ports[origin] = self._serve(opened, origin, handlers[origin], tls, number)
        self.proxy = Proxy(self.addresses, self._port(len(ORIGINS)))
        opened.callback(self.proxy.stop)
        self._identity_port = self._serve(opened, "identity", self._identify, None, len(ORIGINS) + 1)
        for server in self._servers:
            server.start()
        self.proxy.start()

    def _serve(
        self, opened: ExitStack, origin: Origin, handler: Handler, tls: ssl.SSLContext | None, number: int
    ) -> int:
        """The port at which the origin will be reached once its server is started."""
        server = OriginServer(
            origin,
            handler,
            tls=tls,
            clock=self.clock,
            faults=self.faults,
            log=self.log,
            port=self._port(number),
        )
        opened.callback(server.stop)
        self._servers.append(server)
        return server.port

    def _identify(self, request: Request) -> Response:
        issuer = f"{self.authority_url}/{self.identity.tenant_id}/v2.0"
        return self.identity.answer(request, issuer)

    def _handlers(self) -> dict[Origin, Handler]:
        def url(origin: Origin) -> str:
            return self.addresses.url(origin)

        graph = GraphApi(
            self._directories,
            self.tokens,
            self.switches,
            self.clock,
            content_url=lambda: url("content"),
            graph_url=lambda: url("graph"),
        )
        content = ContentHost(self._directories, self.switches, self.clock)
        realm = Realm(
            self._directories,
            self.registrations,
            self.tokens,
            self.consent,
            self.clock,
            login_url=lambda: url("login"),
            graph_url=lambda: url("graph"),
        )
        sign_in = SignIn(realm, self.authorize)
        return {"graph": graph.handle, "login": sign_in.handle, "content": content.handle}

    def _port(self, number: int) -> int:
        return self._first_port + number if self._first_port else 0


def _registration(seed: int) -> Registration:
    """The app that reads: consented, with a secret made up at each start."""
    number = random.Random(f"client {seed}").getrandbits(128)  # noqa: S311 - a name, no secret
    client_id = str(uuid.UUID(int=number, version=4))
    return Registration(client_id, secrets={secrets.token_urlsafe(30)}, roles=APP_ROLES, scopes=USER_SCOPES)
