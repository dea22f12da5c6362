"""A simulated Graph without sockets: requests go straight to its routes."""

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest

from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365.content_host import ContentHost
from backup_core.testing.m365.directory import build_directory
from backup_core.testing.m365.graph_api import GraphApi
from backup_core.testing.m365.switches import Switches
from backup_core.testing.m365.tokens import Grant
from backup_core.testing.m365.wire import Request, Response

GRAPH = "https://localhost:1"
CONTENT = "https://127.0.0.1:2"
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
        self.api = GraphApi(self.directory, self, self.switches, self.clock, lambda: CONTENT, lambda: GRAPH)
        self.content = ContentHost(self.directory, self.switches, self.clock)
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
