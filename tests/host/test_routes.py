"""Which function answers which path, as the Functions host decides it."""

import pytest

from backup_core.errors import DrivekeepError
from backup_core.testing.durable_host.routes import RouteTable
from backup_core.testing.durable_host.worker import FunctionInfo


def _http(name: str, route: str | None, *methods: str) -> FunctionInfo:
    trigger = {"type": "httpTrigger", "name": "req", "methods": list(methods), "authLevel": "ANONYMOUS"}
    return FunctionInfo(name, [trigger | ({} if route is None else {"route": route})])


_APP = [
    _http("home", "{ignored:maxlength(0)?}", "GET"),
    _http("any_run", "api/runs/{id}", "GET"),
    _http("latest_run", "api/runs/latest", "GET"),
    _http("numbered", "api/runs/{n:int}", "GET"),
    _http("cancel", "api/runs/{id}/cancel", "POST"),
    _http("files", "files/{*path}", "GET"),
    _http("every_method", "every"),
    _http("unrouted", None, "GET"),
    _http("empty_route", "", "GET"),
    _http("maybe", "maybe/{part:range(1,5)?}", "GET"),
]


@pytest.mark.parametrize(
    ("method", "path", "function", "values"),
    [
        ("GET", "/", "home", {}),
        ("GET", "/api/runs/latest", "latest_run", {}),
        ("GET", "/API/Runs/LATEST/", "latest_run", {}),
        ("GET", "/api/runs/7", "numbered", {"n": "7"}),
        ("GET", "/api/runs/7x", "any_run", {"id": "7x"}),
        ("GET", "/api/runs/a%20b%2Fc", "any_run", {"id": "a b/c"}),
        ("GET", "/api/runs/x/../latest", "latest_run", {}),
        ("GET", "/api/%2e%2e/api/runs/latest", "latest_run", {}),
        ("POST", "/api/runs/1/cancel", "cancel", {"id": "1"}),
        ("GET", "/files/a/b%20c", "files", {"path": "a/b c"}),
        ("GET", "/files", "files", {"path": ""}),
        ("PATCH", "/every", "every_method", {}),
        ("GET", "/unrouted", "unrouted", {}),
        ("GET", "/empty_route", "empty_route", {}),
        ("GET", "/maybe", "maybe", {}),
        ("GET", "/maybe/5", "maybe", {"part": "5"}),
        ("GET", "/maybe/6", None, {}),
        ("GET", "/api/runs", None, {}),
        ("GET", "/api/runs/1/cancel", None, {}),
        ("HEAD", "/", None, {}),
        ("OPTIONS", "/api/runs/latest", None, {}),
        ("GET", "/api/runs/1/2", None, {}),
        ("GET", "/nowhere", None, {}),
    ],
)
def test_who_answers(method: str, path: str, function: str | None, values: dict[str, str]) -> None:
    """Literal before constrained before free; a method that is not listed is as good as another path."""
    found = RouteTable(_APP, "").find(method, path)
    assert (found[0].function, found[1]) == (function, values) if found else function is None


def test_the_prefix_comes_first() -> None:
    """`routePrefix` of host.json stands before every route."""
    table = RouteTable([_http("x", "x/{a}", "GET")], "api")
    assert table.find("GET", "/api/x/1")
    assert table.find("GET", "/x/1") is None


def test_two_functions_on_one_path_are_found() -> None:
    """The same template under other parameter names is a collision, unless the methods differ."""
    app = [_http("a", "x/{one}", "GET"), _http("b", "X/{two}", "GET", "POST"), _http("c", "x/{three}", "PATCH")]
    assert RouteTable(app, "").collisions() == [("a", "b")]
    assert RouteTable(_APP, "").collisions() == []


@pytest.mark.parametrize("route", ["a/{b:float}", "a/{b", "a/x{b}", "{a:regex(^x$)}"])
def test_what_is_beyond_this_host_is_said(route: str) -> None:
    """A template that would be matched otherwise than in Azure is refused at the start."""
    with pytest.raises(DrivekeepError, match="beyond this host"):
        RouteTable([_http("x", route, "GET")], "")
