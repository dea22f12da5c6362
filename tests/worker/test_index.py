"""The whole app, loaded as the Functions worker loads it: every function, its trigger, its route, and who may call."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backup_core.testing.durable_host.routes import RouteTable
from backup_core.testing.durable_host.schedule import Schedule
from backup_core.testing.durable_host.worker import FunctionInfo

_ROOT = Path(__file__).parents[2]
_SAMPLE = _ROOT / "tests" / "host" / "sample_app"

_ROUTES = {
    ("GET", "{ignored:maxlength(0)?}"),
    ("GET", "onboard"),
    ("GET", "onboard/start"),
    ("GET", "onboard/callback"),
    ("GET", "connect"),
    ("GET", "connect/start"),
    ("GET", "oauth/callback"),
    ("GET", "assets/{name}"),
    ("POST", "api/runs"),
    ("GET", "api/runs"),
    ("GET", "api/runs/{run}"),
    ("POST", "api/runs/{run}/cancel"),
    ("GET", "api/tenants"),
    ("GET", "api/tenants/{tenant}"),
    ("PATCH", "api/tenants/{tenant}"),
    ("POST", "api/tenants/{tenant}/approve"),
    ("GET", "api/tenants/{tenant}/accounts"),
    ("GET", "api/accounts/{account}"),
    ("PATCH", "api/accounts/{account}"),
    ("GET", "api/accounts/{account}/snapshots"),
    ("GET", "api/accounts/{account}/snapshots/{snapshot}/items"),
    ("GET", "api/audit"),
    ("GET", "api/health"),
    ("GET", "api/openapi.json"),
    *((method, "api/{*rest}") for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
}
_ORCHESTRATIONS = {"lane", "back_up_drive", "maintain_drive", "enrol_tenant"}


def _functions(answer: dict[str, Any]) -> list[FunctionInfo]:
    return [FunctionInfo(name, bindings) for name, bindings in answer["functions"].items()]


def test_every_route_and_no_other(ask: Any) -> None:
    """Each route of the contract with its method, anonymous for the host; nothing answers beside them."""
    web = [each.trigger for each in _functions(ask()) if each.kind == "httpTrigger"]
    assert {(method, each["route"]) for each in web for method in each["methods"]} == _ROUTES
    assert sum(len(each["methods"]) for each in web) == len(_ROUTES)
    assert {str(each["authLevel"]).upper() for each in web} == {"ANONYMOUS"}
    assert {each["name"] for each in web} == {"req"}


def test_the_rest_of_the_index(ask: Any) -> None:
    """One timer on the schedule's setting, never at start-up; the orchestrations; all else is an activity."""
    functions = _functions(ask())
    timers = [each for each in functions if each.kind == "timerTrigger"]
    assert [(each.name, each.trigger["schedule"]) for each in timers] == [("tick", "%DRIVEKEEP_SCHEDULE%")]
    assert timers[0].trigger.get("runOnStartup") in (None, False)
    assert {each.name for each in functions if each.kind == "orchestrationTrigger"} == _ORCHESTRATIONS
    kinds = {"timerTrigger", "orchestrationTrigger", "httpTrigger", "activityTrigger"}
    assert {each.kind for each in functions} == kinds
    assert all(each.name.islower() and each.name.isidentifier() for each in functions)


def test_what_answers_for_nothing_comes_last(ask: Any) -> None:
    """Azure asks functions in the order of their names: what fits every address of the API may shadow none of it."""
    web = [each for each in _functions(ask()) if each.kind == "httpTrigger"]
    assert max(web, key=lambda each: each.name).trigger["route"] == "api/{*rest}"
    assert RouteTable(_functions(ask()), "").find("GET", "/api/health")[0].function == "show_health"


def test_no_two_answer_the_same(ask: Any) -> None:
    """Azure does not say which of two functions on one path it would ask."""
    assert RouteTable(_functions(ask()), "").collisions() == []


def test_both_workers_see_the_same(ask: Any) -> None:
    """The worker of Python 3.13 and the converters for earlier ones find the same functions with the same bindings."""
    names = {each.name: (each.kind, sorted(binding["type"] for binding in each.bindings)) for each in _functions(ask())}
    assert len(names) > 30
    assert all(types.count("http") == (kind == "httpTrigger") for kind, types in names.values())


def test_the_app_loads_without_any_setting(ask: Any) -> None:
    """An installation that is not set up yet shows its pages and its health; it does not fail to start."""
    calls = (("show_home", "/"), ("show_health", "/api/health"), ("get_asset", "/assets/none"))
    home, health, asset = ask(*calls)["answers"]
    assert (home["status"], health["status"]) == (200, 200)
    types = {name.lower(): value for name, value in health["headers"].items()}
    assert types["content-type"].startswith("application/json")
    assert asset["status"] == 404


def test_functions_with_a_client_are_async() -> None:
    """A plain one is indexed without a word, and then every call of it fails in the SDK."""
    code = (
        "import inspect, json, function_app\n"
        "found = {each.get_function_name(): inspect.iscoroutinefunction(inspect.unwrap(each.get_user_function()))\n"
        "         for each in function_app.app.get_functions()\n"
        "         if any(binding.type == 'durableClient' for binding in each.get_bindings())}\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert len(found) >= 4
    assert {name for name, is_async in found.items() if not is_async} == set()


def test_the_default_schedule_is_one() -> None:
    """What the setting says when nobody sets it is a schedule of six fields."""
    from backup_core.settings.table import SETTINGS

    Schedule(SETTINGS["DRIVEKEEP_SCHEDULE"].default)


@pytest.mark.serial
def test_import_is_fast() -> None:
    """A cold start waits for it: less than 1.5 seconds of processor time for everything that function_app imports."""
    code = "import time; import function_app; print(time.process_time())"
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, check=True).stdout)
        for _ in range(2)
    ]
    assert min(seconds) < 1.5


def test_answers_of_the_sample(ask: Any) -> None:
    """Cookies, JSON and errors come back alike from every worker."""
    cookies, double, raising, literal = ask(
        ("cookies", "/cookies"), ("double", "21"), ("raising", "{}"), ("literal", "/echo/literal"), folder=_SAMPLE
    )["answers"]
    assert [set(cookie.split("; ")) for cookie in cookies["cookies"]] == [
        {"__Host-a=1.x_y-z", "Path=/", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age=60"},
        {"b=2", "Path=/"},
    ]
    assert cookies["headers"]["Location"] == "/elsewhere"
    assert (double, raising, literal["status"]) == ("42", {"failed": "KeyError: 'no such thing'"}, 200)


@pytest.mark.parametrize("annotation", ["dict[str, int]", "dict | None"])
def test_what_azure_would_not_load(tmp_path: Path, ask: Any, kind: str, annotation: str) -> None:
    """The proof that the runtime's job is worth having: it refuses an annotation that unloads a whole app in Azure."""
    (tmp_path / "function_app.py").write_text(
        "import azure.durable_functions as df\napp = df.DFApp()\n"
        '@app.activity_trigger(input_name="value")\n'
        f"def one(value: {annotation}) -> int:\n    return 1\n"
    )
    if kind == "runtime":
        with pytest.raises(AssertionError, match="would not load this app"):
            ask(folder=tmp_path)
    else:
        assert list(ask(folder=tmp_path)["functions"]) == ["one"]


def test_orchestrations_come_to_the_same(orchestrated: dict[str, Any]) -> None:
    """The real worker library replays as the converters do: same results under mishaps, same at every beginning."""
    assert orchestrated["outputs"] == {
        "one": ["Completed", 42],
        "rounds": ["Completed", {"sum": 21, "tries": 3, "left": []}],
        "parent": ["Completed", 14],
        "patient": ["Completed", {"event": None}],
        "stern": ["Failed", None],
        "orphan": ["Failed", None],
    }
    assert orchestrated["prefixes"] > 150
