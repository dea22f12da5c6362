"""A simulated Graph without sockets: requests go straight to its routes."""

import datetime
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365.authorize import Visitor
from backup_core.testing.m365.consent import Consent
from backup_core.testing.m365.content_host import ContentHost
from backup_core.testing.m365.directory import Directory, build_directory
from backup_core.testing.m365.graph_api import GraphApi
from backup_core.testing.m365.realm import Realm
from backup_core.testing.m365.registrations import Registration, Registrations, well_known
from backup_core.testing.m365.sign_in import SignIn
from backup_core.testing.m365.switches import Switches
from backup_core.testing.m365.tenants import Tenants
from backup_core.testing.m365.tokens import Grant, Session, TokenBook
from backup_core.testing.m365.wire import Request, Response

GRAPH = "https://localhost:1"
CONTENT = "https://127.0.0.1:2"
LOGIN = "https://localhost:2"
BACK = "https://app.example/back"
DEFAULT = "https://graph.microsoft.com/.default"
APP = {"roles": frozenset({"Files.Read.All", "User.Read.All"})}


class DirectGraph:
    """Graph and content host of one tenant, asked as the app unless another grant is set."""

    def __init__(self, *, business: bool = True, users: int = 2) -> None:
        self.clock = FakeClock(datetime.datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=datetime.UTC))
        self.switches = Switches()
        self.directory = build_directory(7, users, business, self.clock)
        self.tenant = self.directory.tenant
        self.user = self.directory.users[0]
        assert self.user.drive is not None
        self.drive = self.user.drive
        self.grant: Grant | None = Grant(self.tenant.id, "app", **APP)
        self.tenants = Tenants(self.directory)
        self.api = GraphApi(self.tenants, self, self.switches, self.clock, lambda: CONTENT, lambda: GRAPH)
        self.content = ContentHost(self.tenants, self.switches, self.clock)
        if not business:
            self.sign_in()

    def check(self, token: str) -> Grant | None:
        return self.grant if token == "good" else None

    def sign_in(self, *scopes: str) -> None:
        granted = frozenset(scopes or ("Files.Read", "User.Read"))
        self.grant = Grant(self.tenant.id, "client", user=self.user.id, scopes=granted)

    def act_as_app(self, *roles: str) -> None:
        self.grant = Grant(self.tenant.id, "app", roles=frozenset(roles))

    def ask(self, link: str, *, method: str = "GET", token: str | None = "good", **headers: str) -> Response:
        """`link`: from `/v1.0` on, or whole as Graph gives it. Header names with underscores."""
        path, _, query = link.removeprefix(GRAPH).partition("?")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        return self.api.handle(Request("graph", method, path, query, sent))

    def get(self, link: str, **headers: str) -> Any:
        response = self.ask(link, **headers)
        assert response.status == 200, response.body
        return json.loads(response.body)

    def refused(self, link: str, **headers: Any) -> tuple[int, str]:
        response = self.ask(link, **headers)
        return response.status, json.loads(response.body)["error"]["code"]

    def download(self, url: str, **headers: str) -> Response:
        assert url.startswith(CONTENT)
        path, _, query = url.removeprefix(CONTENT).partition("?")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.content.handle(Request("content", "GET", path, query, sent))

    def on_drive(self, rest: str) -> str:
        return f"/v1.0/drives/{self.drive.id}{rest}"

    def url_of(self, path: str) -> str:
        return str(self.ask(self.on_drive(f"/root:/{path}:/content")).headers["location"])

    def delta(self, link: str = "", **headers: str) -> tuple[list[dict[str, Any]], str]:
        """All entries of a feed from a link on (none: the drive's whole feed), and the delta link."""
        link = link or self.on_drive("/root/delta")
        entries: list[dict[str, Any]] = []
        for _ in range(1000):
            page = self.get(link, **headers)
            entries += page["value"]
            if "@odata.deltaLink" in page:
                assert "@odata.nextLink" not in page
                return entries, page["@odata.deltaLink"]
            link = page["@odata.nextLink"]
        raise AssertionError("the feed never ends")


class Desk:
    """The sign-in host of one tenant, without sockets."""

    def __init__(self, business: bool = True) -> None:
        self.clock = FakeClock()
        self.directory = build_directory(1, 2, business, self.clock)
        self.tokens = TokenBook(self.clock)
        self.app = Registration(
            "6f1c0c4e-0000-4000-8000-000000000001",
            secrets={"right secret"},
            roles=frozenset({"Files.Read.All"}),
            scopes=frozenset({"Files.Read", "User.Read"}),
        )
        self.registrations = Registrations(self.app, *well_known())
        self.tenants = Tenants(self.directory)
        self.consent = Consent(self.directory.tenant, self.app, self.clock)
        self.visitor = Visitor()
        realm = Realm(
            self.tenants,
            self.registrations,
            self.tokens,
            self.consent,
            self.clock,
            login_url=lambda: LOGIN,
            graph_url=lambda: GRAPH,
        )
        self.host = SignIn(realm, self.visitor)
        self.tenant_id = self.directory.tenant.id
        self.user = self.directory.users[0]

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        path, _, query = path.partition("?")
        return self.host.handle(Request("login", method, path, query, sent, body))

    def token(
        self, tenant: str = "", /, headers: dict[str, str] | None = None, **form: str
    ) -> tuple[int, dict[str, Any]]:
        path = f"/{tenant or self.tenant_id}/oauth2/v2.0/token"
        response = self.ask("POST", path, urlencode(form).encode(), **(headers or {}))
        return response.status, json.loads(response.body)

    def app_only(self, tenant: str = "", /, **changes: str | None) -> tuple[int, dict[str, Any]]:
        form = {"grant_type": "client_credentials", "client_id": self.app.client_id, "scope": DEFAULT}
        form |= {"client_secret": "right secret"}
        return self.token(tenant, **{k: v for k, v in (form | changes).items() if v is not None})

    def refresh(self, tenant: str = "common", /, **changes: str | None) -> tuple[int, dict[str, Any]]:
        form = {"grant_type": "refresh_token", "client_id": self.app.client_id, "scope": "Files.Read offline_access"}
        form |= {"refresh_token": self.tokens.issue_refresh(Session(self.tenant_id, self.user.id))}
        return self.token(tenant, **{k: v for k, v in (form | changes).items() if v is not None})

    def browse(self, path: str, **query: str | None) -> tuple[int, dict[str, str]]:
        """Where a page sends the browser, as the fields of the redirect; of an error page its number."""
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        response = self.ask("GET", f"{path}?{asked}")
        if response.status != 302:
            return response.status, {"number": response.body.decode().partition("AADSTS")[2].partition(":")[0]}
        assert response.headers["location"].startswith(BACK)
        return 302, dict(parse_qsl(response.headers["location"].removeprefix(BACK)[1:]))

    def add_tenant(self, domain: str) -> Directory:
        directory = build_directory(1, 2, True, self.clock, domain)
        self.tenants.add(directory)
        return directory


def body_of(response: Response) -> bytes:
    """What the server would send of a source."""
    if response.source is None:
        return response.body
    count = response.source.size - response.first if response.count is None else response.count
    return response.source.read(response.first, count)


@pytest.fixture
def graph() -> DirectGraph:
    """A business tenant of two users."""
    return DirectGraph()


@pytest.fixture
def personal() -> DirectGraph:
    """A personal account, signed in."""
    return DirectGraph(business=False, users=1)


@pytest.fixture
def sent() -> Callable[[Response], bytes]:
    return body_of


@pytest.fixture(scope="session")
def make_graph() -> type[DirectGraph]:
    """For generated tests, which need a new world for each example."""
    return DirectGraph


@pytest.fixture
def desk() -> Desk:
    """The sign-in host of one work tenant that has consented, asked directly."""
    return Desk()


@pytest.fixture(scope="session")
def make_desk() -> type[Desk]:
    """For other tenants."""
    return Desk
