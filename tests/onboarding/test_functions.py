"""The pages as the Functions host sees them: routes, methods, and the job that goes on behind an answer."""

import asyncio
from typing import Any

import azure.functions as func
import pytest
from support.reception import SITE, Browser, Reception, query_of

from backup_core import service
from backup_core.triggers import onboarding
from backup_core.triggers.lanes import ENROL, enrolment_id

_ROUTES = {
    "show_onboard": "onboard",
    "start_onboard": "onboard/start",
    "finish_onboard": "onboard/callback",
    "show_connect": "connect",
    "start_connect": "connect/start",
    "finish_connect": "oauth/callback",
}


class Client:
    """A durable client that remembers what it was asked to start."""

    def __init__(self, error: str = "") -> None:
        self.started: list[tuple[Any, ...]] = []
        self._error = error

    async def start_new(self, *job: Any) -> str:
        self.started.append(job)
        if self._error:
            raise RuntimeError(self._error)
        return "id"


@pytest.fixture
def app(one: Reception, monkeypatch: pytest.MonkeyPatch) -> Reception:
    one.settings.text = lambda name: "" if name == "DRIVEKEEP_BASE_URL" else "drivekeep"
    monkeypatch.setattr(service.current, "get", lambda: one)
    return one


def functions() -> dict[str, Any]:
    app = func.FunctionApp()
    app.register_functions(onboarding.blueprint)
    return {function.get_function_name(): function for function in app.get_functions()}


def request(path: str, cookie: str = "") -> func.HttpRequest:
    return func.HttpRequest(method="GET", url=SITE + path, headers={"cookie": cookie} if cookie else {}, body=b"")


def test_routes() -> None:
    """Each page has its route, for GET alone, and the host lets everybody in: the pages themselves know whom."""
    found = {name: function.get_trigger() for name, function in functions().items()}
    assert {name: trigger.route for name, trigger in found.items()} == _ROUTES
    for trigger in found.values():
        assert [str(getattr(method, "value", method)) for method in trigger.methods] == ["GET"]
        assert trigger.auth_level == func.AuthLevel.ANONYMOUS


@pytest.mark.parametrize("name", [name for name in _ROUTES if name != "finish_onboard"])
def test_every_page_has_the_policy(app: Reception, name: str) -> None:
    """Headers that keep scripts, frames and caches away stand on each answer, redirect and error alike."""
    function = functions()[name].get_user_function()
    answer = function(request(f"/{_ROUTES[name]}"))
    assert answer.status_code in (200, 302, 400)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def _come_back(client: Client, app: Reception, arrives_after: float = 0.0) -> func.HttpResponse:
    browser, tenant = Browser(app), app.m365.add_tenant("fabrikam.example")
    app.m365.consent.tenant, app.m365.consent.arrives_after = tenant, arrives_after
    path = browser.microsoft(browser.open(onboarding.onboard_start, "/onboard/start"))
    assert query_of(path)["tenant"] == tenant.id
    (cookie,) = (f"{name}={value}" for name, value in browser.cookies.items())
    # The durable client is handed in by the SDK's own decorator, which wants a host: the function beneath it is asked.
    function = functions()["finish_onboard"].get_user_function()
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return asyncio.run(function(request(path, cookie), client))


@pytest.mark.parametrize(("arrives_after", "prove"), [(0.0, ""), (300.0, onboarding.WHO)])
def test_enrolment_goes_on_behind(app: Reception, arrives_after: float, prove: str) -> None:
    """A granted consent starts the reading of users; one that is slow to arrive starts with proving it."""
    client = Client()
    answer = _come_back(client, app, arrives_after)
    assert answer.status_code == 200
    tenant = app.m365.tenants[1].id
    assert client.started == [(ENROL, enrolment_id(tenant), {"tenant": tenant, "prove": prove})]


@pytest.mark.parametrize("error", ["instance with the status Running already exists", "the host is away"])
def test_a_job_that_cannot_be_started(app: Reception, error: str) -> None:
    """The answer stands: the next tick finds a connected tenant whose users were never read."""
    answer = _come_back(Client(error), app)
    assert answer.status_code == 200
    assert app.tenant(app.m365.tenants[1].id).users_read_at is None
