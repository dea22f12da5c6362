"""The Graph origin: checks the token, counts the request, finds its route; every refusal gets Graph's envelope."""

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import unquote

from backup_core.clock import Clock
from backup_core.testing.m365 import routes_drives, routes_users
from backup_core.testing.m365.call import Call, World
from backup_core.testing.m365.content_host import MalwareRefused
from backup_core.testing.m365.graph_errors import GraphError, invalid_token, not_simulated
from backup_core.testing.m365.ids import made_up_guid
from backup_core.testing.m365.select import option
from backup_core.testing.m365.switches import Switches
from backup_core.testing.m365.tenants import Tenants
from backup_core.testing.m365.throttle import Throttle
from backup_core.testing.m365.tokens import Grant
from backup_core.testing.m365.wire import Request, Response

VERSION = "/v1.0"
_JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
_DIAGNOSTIC = (
    '{"ServerInfo":{"DataCenter":"Simulation","Slice":"E","Ring":"5","ScaleUnit":"001","RoleInstance":"SIM000001"}}'
)

Route = tuple[re.Pattern[str], Callable[..., Response]]
# Arguments of a route are its groups, percent-decoded, except the rest of a drive's address: there a colon that is
# percent-encoded means something else than one that is not.
_ROUTES: list[Route] = [
    (re.compile(r"/me"), routes_users.me),
    (re.compile(r"/users"), routes_users.all_users),
    (re.compile(r"/users/(?P<key>[^/]+)"), routes_users.one_user),
    (re.compile(r"/organization"), routes_users.organization),
    (re.compile(r"/me/drive(?P<rest>/.*)?"), routes_drives.my_drive),
    (re.compile(r"/me/drives"), routes_drives.my_drives),
    (re.compile(r"/users/(?P<key>[^/]+)/drive(?P<rest>/.*)?"), routes_drives.users_drive),
    (re.compile(r"/users/(?P<key>[^/]+)/drives"), routes_drives.users_drives),
    (re.compile(r"/drives/(?P<drive_id>[^/]+)(?P<rest>/.*)?"), routes_drives.drive_by_id),
]


class Tokens(Protocol):
    def check(self, token: str) -> Grant | None: ...


class GraphApi:
    """`content_url` and `graph_url`: what links begin with, asked for while a request is answered.

    The caller knows by which name the client came, and a client that came through the proxy must stay there.
    """

    def __init__(
        self,
        tenants: Tenants,
        tokens: Tokens,
        switches: Switches,
        clock: Clock,
        content_url: Callable[[], str],
        graph_url: Callable[[], str],
    ) -> None:
        self._tenants, self._switches, self._clock = tenants, switches, clock
        self._worlds: dict[str, World] = {}  # by tenant id, each made at its first request
        self._tokens = tokens
        self._throttle = Throttle(switches, clock)
        self._content_url = content_url
        self._graph_url = graph_url
        self._turns = itertools.count(1)

    def handle(self, request: Request) -> Response:
        turn = next(self._turns)
        ids = _request_ids(request, turn)
        limits: dict[str, str] = {}
        try:
            grant, world = self._granted(request)
            route, arguments = _found(request)
            limits = self._throttle.charge(grant, units(request))
            response = route(self._call(request, grant, world, turn), **arguments)
        except GraphError as error:
            response = error.response(self._clock.now(), ids, self._switches.inner_error_key)
        except MalwareRefused as refused:
            response = refused.page
        if "json" in response.headers.get("content-type", ""):
            response.headers["content-type"] = _JSON
        response.headers |= {**limits, **ids, "x-ms-ags-diagnostic": _DIAGNOSTIC, "odata-version": "4.0"}
        response.headers.setdefault("cache-control", "private")
        return response

    def _granted(self, request: Request) -> tuple[Grant, World]:
        """What the token allows, and its tenant, which is all of the world that this request can see."""
        token = request.bearer()
        if token is None:
            raise invalid_token("Access token is empty.")
        grant = self._tokens.check(token)
        directory = self._tenants.find(grant.tenant_id) if grant else None
        if grant is None or directory is None:
            raise invalid_token("Access token has expired or is not yet valid.")
        world = self._worlds.get(grant.tenant_id)
        if world is None:
            world = self._worlds.setdefault(grant.tenant_id, World(directory, self._switches, self._clock))
        return grant, world

    def _call(self, request: Request, grant: Grant, world: World, turn: int) -> Call:
        return Call(request, grant, world, self._graph_url() + VERSION, self._content_url(), turn)


def units(request: Request) -> int:
    """Resource units: an item, a download, a delta with a token 1; a list, a delta without one 2; permissions 5."""
    action = request.path.rstrip("/").rpartition("/")[2]
    if action == "permissions" or "permissions" in (option(request.query, "expand") or ""):
        return 5
    if action.startswith("delta"):
        return 1 if "token=" in request.raw_query or "token=" in action else 2
    return 2 if action in ("users", "drives", "children") else 1


def _found(request: Request) -> tuple[Callable[..., Response], Mapping[str, str]]:
    if not request.path.startswith(VERSION + "/"):
        raise not_simulated(f"the path {request.path}; it begins with {VERSION}")
    path = request.path.removeprefix(VERSION)
    for pattern, route in _ROUTES:
        match = pattern.fullmatch(path.rstrip("/"))
        if match is None:
            continue
        if request.method not in ("GET", "HEAD"):
            raise not_simulated(f"{request.method} {path}: it is read-only so far")
        groups = match.groupdict("")
        return route, {name: value if name == "rest" else unquote(value) for name, value in groups.items()}
    raise not_simulated(f"the route {request.method} {path}")


def _request_ids(request: Request, turn: int) -> dict[str, str]:
    own = made_up_guid("request", turn)
    return {"request-id": own, "client-request-id": request.headers.get("client-request-id", own)}
