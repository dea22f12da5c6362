"""`GET /` and the files of pages, as the Functions host calls them: who sees what, and with which headers."""

import re
from pathlib import Path

import azure.functions as func
import pytest
from support.api import HOME, PROGRAM, A, ApiService, B, environment, header, operator, principal

from backup_core.errors import Temporary
from backup_core.registry.tenants import Tenant
from backup_core.service import Problem, current
from backup_core.testing.fake_clock import FakeClock
from backup_core.triggers import dashboard, pages


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ApiService:
    """Two organisations, and a platform that signs people in."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    made = ApiService(environment(), tmp_path, FakeClock())
    for tenant, name in ((A, "Contoso"), (B, "Fabrikam <script>")):
        made.registry.tenants.save(None, Tenant(tenant, name))
    monkeypatch.setattr(current, "get", lambda: made)
    return made


def _get(path: str, headers: dict[str, str] | None = None, **route: str) -> func.HttpResponse:
    sent = {"x-forwarded-proto": "https", "host": "app.example.org", **(headers or {})}
    request = func.HttpRequest("GET", f"https://app.example.org{path}", headers=sent, route_params=route, body=b"")
    functions = {each.get_function_name(): each for each in _functions()}
    return functions["get_asset" if route else "show_home"].get_user_function()(request)


def _functions() -> list[func.Function]:
    app = func.FunctionApp()
    app.register_functions(dashboard.blueprint)
    return app.get_functions()


def _page(path: str = "/", headers: dict[str, str] | None = None, status: int = 200) -> str:
    response = _get(path, headers)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    return response.get_body().decode()


def test_the_functions_are_what_the_host_expects() -> None:
    """Azure serves an empty route only in one spelling; nothing here asks the host for a key."""
    triggers = {each.get_function_name(): each.get_trigger().get_dict_repr() for each in _functions()}
    assert {name: each["route"] for name, each in triggers.items()} == {
        "show_home": "{ignored:maxlength(0)?}",
        "get_asset": "assets/{name}",
    }
    for each in triggers.values():
        assert ([str(method) for method in each["methods"]], str(each["authLevel"])) == (["GET"], "ANONYMOUS")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-drivekeep-key": "wrong"},
        {"x-ms-client-principal": "!!!"},
        header({"auth_typ": "aad", "claims": []}),
        principal(A, "Operator", kind="google"),
    ],
)
def test_anybody_sees_the_welcome_page(service: ApiService, headers: dict[str, str]) -> None:
    """Whoever proves nothing is welcome, sees nothing of anybody, and causes no request to the registry."""
    before = service.registry.table.requests
    html = _page("/", headers)
    assert 'href="/onboard"' in html
    assert 'href="/connect"' in html
    assert "Operators: sign in" in html
    assert "Contoso" not in html
    assert service.registry.table.requests == before


def test_a_person_without_the_role_is_told_so(service: ApiService) -> None:
    """They are signed in, and know why they see nothing."""
    html = _page("/", principal(A, name="eve@contoso.example"))
    assert "eve@contoso.example" in html
    assert "not an operator" in html
    assert "Contoso" not in html


def test_where_nobody_can_sign_in_no_button_says_so(service: ApiService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform's sign-in is offered only where it is there and its word is taken."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "False")
    assert "/.auth/" not in _page()
    assert "Contoso" not in _page("/", operator(A))


@pytest.mark.parametrize(
    ("headers", "seen", "hidden"),
    [
        (operator(A), ["Contoso"], ["Fabrikam"]),
        (operator(B), ["Fabrikam"], ["Contoso"]),
        (operator(HOME), ["Contoso", "Fabrikam"], []),
        (PROGRAM, ["Contoso", "Fabrikam"], []),
        (operator("d" * 8 + A[8:]), ["No organisation is connected yet."], ["Contoso", "Fabrikam"]),
    ],
)
def test_operators_see_what_is_theirs(
    service: ApiService, headers: dict[str, str], seen: list[str], hidden: list[str]
) -> None:
    """An operator sees their organisation, the home tenant and a program with a key see all."""
    html = _page("/", headers)
    assert "<title>Overview" in html
    assert [word for word in seen if word not in html] == []
    assert [word for word in hidden if word in html] == []
    assert "<script" not in html


def test_only_a_person_can_sign_out(service: ApiService) -> None:
    """A program with a key has no session to end."""
    assert "/.auth/logout" in _page("/", operator(A))
    assert "/.auth/logout" not in _page("/", PROGRAM)


def test_problems_are_for_operators(service: ApiService) -> None:
    """What is wrong inside is shown, with its remedy, to those who can mend it, and to nobody else."""
    service.found = [Problem("key-vault", "The key is not there.", "Give the app the role.")]
    html = _page("/", PROGRAM)
    assert "The key is not there." in html
    assert "Give the app the role." in html
    assert "The key is not there." not in _page()


def test_the_page_stands_while_the_registry_does_not(service: ApiService, monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure is shown that is not known, and no error page takes the overview's place."""

    def fail(*_: object, **__: object) -> None:
        raise Temporary("The table cannot be reached.", remedy="Wait.", reason="storage-unreachable")

    monkeypatch.setattr(service.registry.table, "rows", fail)
    html = _page("/", PROGRAM)
    assert "The registry cannot be read." in html
    assert "The table cannot be reached." in html
    assert not re.search(r"\d accounts?\b", html)
    assert "No organisation" not in html


@pytest.mark.parametrize("after", ["x", "../..", "%00", A[:-1], f"{A}%0a", f"{A}&after={A}"])
def test_a_page_that_cannot_be_is_refused(service: ApiService, after: str) -> None:
    """A made-up place in the list is an error page, and reaches no table."""
    before = service.registry.table.requests
    html = _page(f"/?after={after}", PROGRAM, status=400)
    assert "Back to the start" in html
    assert service.registry.table.requests == before


def test_the_second_page_follows_the_first(service: ApiService) -> None:
    """The link at the end of a page leads to the others, and from there back."""
    for number in range(30):
        service.registry.tenants.save(None, Tenant(f"{number:08x}-0000-4000-8000-000000000000", f"Number {number}."))
    (link,) = re.findall(r'href="(/\?after=[^"]+)"', _page("/", PROGRAM))
    html = _page(link, PROGRAM)
    assert "Number 29." in html
    assert "Contoso" in html
    assert "Number 0." not in html
    assert '<a href="/">First organisations</a>' in html


def test_a_page_is_kept_by_nobody_and_loads_nothing_foreign(service: ApiService) -> None:
    """Pages carry the strict policy and stay in no cache."""
    sent = _get("/", PROGRAM).headers
    assert "default-src 'none'; style-src 'self'; img-src 'self'" in sent["Content-Security-Policy"]
    assert "unsafe" not in sent["Content-Security-Policy"]
    assert sent["Cache-Control"] == "no-store"


def test_files_are_kept_for_ever(service: ApiService) -> None:
    """A style sheet is asked for once, since another one has another name."""
    for name in re.findall(r'"/assets/([^"]+)"', _page()):
        response = _get(f"/assets/{name}", name=name)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        found = pages.asset(name)
        assert found is not None
        assert (response.get_body(), response.headers["Content-Type"]) == (found.body, found.content_type)


@pytest.mark.parametrize("name", ["app.css", "app.000000000000.css", "..", "../pages.py", "\x00"])
def test_no_other_file_is_served(service: ApiService, name: str) -> None:
    """Nothing but what pages of this version refer to: 404, as a page that no cache keeps."""
    response = _get("/assets/x", name=name)
    assert response.status_code == 404
    assert response.headers["Cache-Control"] == "no-store"
