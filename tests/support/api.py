"""The JSON routes as the Functions host calls them, over a registry in memory; and WSGI around that for other tools."""

import asyncio
import base64
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import azure.durable_functions as df
import azure.functions as func

from backup_core.clock import Clock
from backup_core.errors import NoRepository
from backup_core.registry.accounts import Account, LastRun
from backup_core.registry.tenants import Tenant
from backup_core.repository.repository import Repository
from backup_core.runs.reports import Reports
from backup_core.service import Problem, Service, current
from backup_core.settings import read_settings
from backup_core.storage.memory import MemoryStore
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.memory_table import MemoryTable
from backup_core.triggers import api_accounts, api_misc, api_runs, api_snapshots, api_tenants

KEY = "a-key-of-this-installation"
A, B, HOME = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abc")
ANN, BOB, CID = (f"00000000-0000-4000-8000-{digit * 12}" for digit in "123")
RUN_OF_A = f"{A.replace('-', '')}-{'0' * 20}"

BLUEPRINTS = (api_runs, api_tenants, api_accounts, api_snapshots, api_misc)

# What a durable client is made of; nothing here is ever called.
_CLIENT = json.dumps(
    {
        "taskHubName": "hub",
        "creationUrls": {},
        "managementUrls": {},
        "baseUrl": "http://127.0.0.1:1/",
        "requiredQueryStringParameters": "",
        "rpcBaseUrl": "http://127.0.0.1:1/",
    }
)


class ApiService(Service):
    """The app's own service, with repositories and problems as a test says."""

    def __init__(
        self, environment: dict[str, str], folder: Path, clock: Clock, table: MemoryTable | None = None
    ) -> None:
        super().__init__(read_settings(environment=environment, folder=folder), clock, table or MemoryTable())
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.found: list[Problem] = []

    @cached_property
    def reports(self) -> Reports:
        return Reports(MemoryStore(self.clock), lambda: self.sealer("report"))

    def problems(self) -> list[Problem]:
        return self.found


def given_repository(service: ApiService, tenant: str, account: str, *, read_only: bool) -> Repository:
    """Stands in for the way to Azure."""
    assert read_only
    try:
        return service.repositories[tenant, account]
    except KeyError:
        raise NoRepository("There is no repository.") from None


def environment(**more: str) -> dict[str, str]:
    return {
        "DRIVEKEEP_API_KEY": f"another-key,{KEY}",
        "DRIVEKEEP_TRUST_PRINCIPAL": "true",
        "DRIVEKEEP_HOME_TENANT": HOME,
        "DRIVEKEEP_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
        "DRIVEKEEP_STORAGE": "accountname",
        **more,
    }


def principal(tenant: str, *roles: str, name: str = "op@example.org", kind: str = "aad") -> dict[str, str]:
    """The header with which App Service authentication passes a person on."""
    claims = [{"typ": "tid", "val": tenant}, {"typ": "preferred_username", "val": name}]
    claims += [{"typ": "roles", "val": role} for role in roles]
    return header({"auth_typ": kind, "claims": claims, "name_typ": "n", "role_typ": "r"})


def header(document: object) -> dict[str, str]:
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(document).encode()).decode()}


def operator(tenant: str) -> dict[str, str]:
    return principal(tenant, "Operator")


PROGRAM = {"x-drivekeep-key": KEY}


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class _Function(NamedTuple):
    method: str
    path: re.Pattern[str]
    call: Callable[..., Any]


class Api:
    """`send` is what the Functions host does with a request: it finds the function, and 404 where there is none."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.root = "https://app.example.org"
        self._functions = list(functions())

    def send(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        json_body: object = ...,
    ) -> Reply:
        headers = {name.lower(): value for name, value in (headers or {}).items()}
        if json_body is not ...:
            body, headers = json.dumps(json_body).encode(), {"content-type": "application/json", **headers}
        path = urlsplit(url).path
        for function in self._functions:
            found = function.path.fullmatch(path)
            if found and function.method == method:
                route = {name: unquote(value) for name, value in found.groupdict().items()}
                return self._called(function, method, f"{self.root}{url}", headers, route, body or b"")
        return Reply(404, {"content-type": "application/problem+json"}, b"{}")

    def get(self, url: str, headers: dict[str, str] = PROGRAM) -> Reply:
        return self.send("GET", url, headers)

    def _called(self, function: _Function, method: str, url: str, headers: dict, route: dict, body: bytes) -> Reply:
        headers = {"x-forwarded-proto": "https", **headers}
        request = func.HttpRequest(method, url, headers=headers, route_params=route, body=body)
        current.use(self.service)
        if inspect.iscoroutinefunction(function.call):
            response = asyncio.run(function.call(req=request, client=_CLIENT))
        else:
            response = function.call(request)
        sent = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, sent, response.get_body())

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
        if environ.get("CONTENT_TYPE"):
            headers["content-type"] = environ["CONTENT_TYPE"]
        query = environ.get("QUERY_STRING", "")
        url = environ.get("RAW_URI") or environ["PATH_INFO"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        url = url if "?" in url or not query else f"{url}?{query}"
        reply = self.send(environ["REQUEST_METHOD"], url, headers, body)
        start_response(f"{reply.status} -", list(reply.headers.items()))
        return [reply.body]


def functions() -> Iterator[_Function]:
    """Those of the JSON routes, as the app registers them."""
    app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    for module in BLUEPRINTS:
        app.register_functions(module.blueprint)
    for each in app.get_functions():
        trigger = each.get_trigger()
        path = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", f"/{trigger.route}".replace(".", r"\."))
        path = re.sub(r"\{\*(\w+)\}", r"(?P<\1>.*)", path)
        for method in trigger.methods:
            yield _Function(method.value, re.compile(path), each.get_user_function())


def filled(service: Service) -> None:
    """Tenants A and B and home, each with accounts; Ann is of A and Bob of B."""
    for tenant, name in ((A, "Alpha"), (B, "Beta"), (HOME, "Home")):
        service.registry.tenants.save(
            None, Tenant(tenant, name, f"{name.lower()}.example", connected_at=service.clock.now())
        )
    add(service, Account(ANN, A, "Ann@alpha.example", "Ann", drive_id="b!1", next_due_at=service.clock.now()))
    add(service, Account(BOB, B, "bob@beta.example", "Bob", last_run=LastRun("r", "complete", service.clock.now())))
    add(service, Account(CID, A, "cid@alpha.example", "Cid", state="no-drive"))


def add(service: Service, account: Account) -> None:
    service.registry.commit(account.tenant, lambda: service.registry.accounts.changes(None, account))


def new_service(folder: Path, **more: str) -> ApiService:
    service = ApiService(environment(**more), folder, FakeClock())
    filled(service)
    return service
