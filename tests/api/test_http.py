"""A request and its answer: cookies, addresses, and what becomes of errors."""

import asyncio
import json
import logging
from http.cookies import SimpleCookie
from pathlib import Path

import azure.functions as func
import pytest
from support.api import ApiService, environment

from backup_core.errors import AccessDenied, Damaged, DrivekeepError, Locked, NotFound, Temporary, Usage
from backup_core.registry.table import Conflict
from backup_core.service import current
from backup_core.testing.fake_clock import FakeClock
from backup_core.triggers import http
from backup_core.triggers.http import Answer, Refusal, Request, answer, answer_async, set_cookie
from backup_core.triggers.rate_limit import RateLimit

HOSTILE = "a\r\nb\x1b[31m\u2028\ud800"


@pytest.fixture(autouse=True)
def used(service: ApiService) -> None:
    current.use(service)


def incoming(url: str = "https://app.example.org/x", method: str = "GET", body: bytes = b"", **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return func.HttpRequest(method, url, headers=named, body=body)


def wanted(url: str = "https://app.example.org/x", **headers: str) -> Request:
    return Request(incoming(url, **headers))


@pytest.mark.parametrize(
    ("url", "headers", "prefixed"),
    [
        ("https://app.example.org/x", {}, True),
        ("http://app.example.org/x", {"x_forwarded_proto": "https"}, True),
        ("http://app.example.org/x", {"x_forwarded_proto": "HTTPS "}, True),
        ("https://app.example.org/x", {"x_forwarded_proto": "http"}, False),
        ("http://127.0.0.1:7071/x", {}, False),
    ],
)
def test_cookies_are_tied_to_the_host_where_they_can_be(url: str, headers: dict[str, str], prefixed: bool) -> None:
    """`Secure` and the prefix exactly where the request came by https; what is set can be read again."""
    cookie = set_cookie(wanted(url, **headers), "state", "v-1", 900)
    name = "__Host-state" if prefixed else "state"
    assert cookie.startswith(f"{name}=v-1; Max-Age=900; Path=/; HttpOnly; SameSite=Lax")
    assert cookie.endswith("; Secure") == prefixed and "domain" not in cookie.lower()
    (morsel,) = SimpleCookie(cookie).values()
    sent = f"other=1; {morsel.key}={morsel.value}"
    assert wanted(url, **headers, cookie=sent).cookie("state") == "v-1"
    assert wanted(url, **headers).cookie("state") is None
    other = "state" if prefixed else "__Host-state"
    assert wanted(url, **headers, cookie=f"{other}=v-1").cookie("state") is None


@pytest.mark.parametrize("cookie", ["", ";", "=", "a", "state", "state=a; state=b; ;;", "\x00=\x01", "x" * 100_000])
def test_odd_cookies_break_nothing(cookie: str) -> None:
    """What a browser would never send is no cookie, or one of those that it names."""
    assert wanted(cookie=cookie).cookie("state") in (None, "a", "b")


def test_the_base_url_is_the_setting_or_the_request(service: ApiService, tmp_path: Path) -> None:
    """Behind a front end that ends https, too; a setting beats whatever Host says."""
    seen: list[str] = []

    def handle(request: Request) -> Answer:
        seen.append(request.base_url)
        return Answer()

    for url, headers in (("https://a.example/x?y", {}), ("http://a.example:8080/x", {"x_forwarded_proto": "https"})):
        answer(incoming(url, **headers), handle)
    current.use(ApiService(environment(DRIVEKEEP_BASE_URL="https://public.example/"), tmp_path, FakeClock()))
    answer(incoming("http://evil.example/x"), handle)
    assert seen == ["https://a.example", "https://a.example:8080", "https://public.example"]


def test_a_page_of_the_public_address_is_our_own(tmp_path: Path) -> None:
    """Origin may be the address in the setting or the one of the request, and no other."""
    own, foreign = (
        Request(incoming("http://inner:80/x", origin=origin), "https://public.example/")
        for origin in ("https://public.example", "https://public.example.evil")
    )
    own.refuse_foreign_origin()
    with pytest.raises(Refusal) as refused:
        foreign.refuse_foreign_origin()
    assert refused.value.status == 403


def test_query_and_parameters() -> None:
    """Each value is kept in its order; a parameter that is wanted once and given twice is refused."""
    request = wanted("https://a.example/x?a=1&b=%C3%A4&a=2&c=")
    assert request.query == {"a": ["1", "2"], "b": ["ä"], "c": [""]}
    assert (request.param("b"), request.param("c"), request.param("d")) == ("ä", "", None)
    with pytest.raises(Refusal):
        request.param("a")
    assert Request(func.HttpRequest("GET", "/x", params={"a": "1"}, body=b"")).param("a") == "1"


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Refusal(418, "teapot", "No coffee."), 418, "teapot"),
        (NotFound("secret thing"), 404, "not-found"),
        (Temporary("secret thing", reason="storage-unreachable"), 503, "storage-unreachable"),
        (Locked("secret thing"), 503, "locked"),
        (AccessDenied("secret thing", reason="sign-in-again"), 503, "sign-in-again"),
        (Usage("secret thing", reason="key-vault"), 503, "key-vault"),
        (Damaged("secret thing"), 500, "damaged"),
        (Conflict("secret thing"), 409, "conflict"),
        (DrivekeepError("secret thing", reason="wrong-key"), 503, "wrong-key"),
        (DrivekeepError("secret thing"), 500, "internal"),
        (KeyError("secret thing"), 500, "internal"),
        (RecursionError("secret thing"), 500, "internal"),
    ],
)
@pytest.mark.parametrize("page", [False, True])
def test_every_error_is_an_answer(
    caplog: pytest.LogCaptureFixture, error: Exception, status: int, reason: str, page: bool
) -> None:
    """Of the inside only the class shows; from 500 on a correlation id leads to the one line of the log."""

    def handle(_request: Request) -> Answer:
        raise error

    with caplog.at_level(logging.DEBUG):
        response = answer(incoming(), handle, page=page)
    body = response.get_body().decode()
    assert response.status_code == status
    assert "secret" not in body and "Traceback" not in body and ".py" not in body
    expected = "text/html; charset=utf-8" if page else "application/problem+json"
    assert response.headers["content-type"] == expected
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "backup_core.http"]
    assert len(lines) == (status >= 500)
    for line in lines:
        assert line["correlation"] in body
        assert (line["message"] == "secret thing") == isinstance(error, DrivekeepError)
    if not page:
        assert json.loads(body)["reason"] == reason


def test_nobody_forges_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks and terminal sequences in a path or in an error's words stay inside one line of plain JSON."""

    def handle(_request: Request) -> Answer:
        raise DrivekeepError(HOSTILE)

    def refuse(_request: Request) -> Answer:
        raise Refusal(409, "odd", HOSTILE)

    answer(incoming(f"https://a.example/{HOSTILE}?code=secret"), handle)
    assert answer(incoming(f"https://a.example/{HOSTILE}"), refuse, page=True).status_code == 409
    (record,) = caplog.records
    line = record.getMessage()
    assert line.isascii() and line.isprintable() and "secret" not in line
    assert json.loads(line)["message"] == HOSTILE


def test_a_page_has_its_own_policy(service: ApiService) -> None:
    """Own styles and pictures, forms to the sign-in host; JSON may load nothing at all."""
    policy = answer(incoming(), lambda _: Answer.page("<p>"), page=True).headers["content-security-policy"]
    assert policy == (
        "default-src 'none'; style-src 'self'; img-src 'self'; "
        "form-action 'self' https://login.microsoftonline.com; base-uri 'none'; frame-ancestors 'none'"
    )
    json_policy = answer(incoming(), lambda _: Answer.json({}), page=True).headers["content-security-policy"]
    assert json_policy == "default-src 'none'; frame-ancestors 'none'"


def test_a_redirect_cannot_smuggle_headers() -> None:
    """A line break in an address ends the request, not the header."""
    with pytest.raises(AssertionError):
        answer(incoming(), lambda _: Answer.redirect("/\r\nset-cookie: a=b"))
    response = answer(incoming(), lambda _: Answer.redirect("/next", cookie="a=b"))
    assert (response.status_code, response.headers["location"], response.headers["set-cookie"]) == (302, "/next", "a=b")


def test_hsts_only_where_https() -> None:
    """On one machine without https the header would lock a browser out."""
    assert "strict-transport-security" not in answer(incoming("http://localhost:1/x"), lambda _: Answer()).headers
    assert "strict-transport-security" in answer(incoming(), lambda _: Answer()).headers


def test_what_comes_after_runs_only_after_success() -> None:
    """A refused request starts nothing; the handler runs in a thread, not in the loop."""
    done: list[int] = []

    async def after(made: Answer) -> None:
        done.append(made.status)

    def refuse(_request: Request) -> Answer:
        raise Refusal(409, "paused", "Paused.")

    def accept(_request: Request) -> Answer:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return Answer(202)

    assert asyncio.run(answer_async(incoming(), refuse, after=after)).status_code == 409
    assert asyncio.run(answer_async(incoming(), accept, after=after)).status_code == 202
    assert done == [202]


def test_too_many_requests_are_told_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """429 with Retry-After, for that client alone; it is known by the platform's word, not by its own."""
    clock = FakeClock()
    monkeypatch.setattr(http, "_limits", RateLimit(clock, per_second=20, burst=5))

    def send(client: str) -> func.HttpResponse:
        return answer(incoming(x_forwarded_for=client), lambda _: Answer())

    statuses = [send(f"9.9.9.{number}, 1.1.1.1").status_code for number in range(6)]
    assert statuses == [200] * 5 + [429]
    assert send("1.1.1.1").headers["retry-after"] == "1"
    assert send("2.2.2.2").status_code == 200
    clock.advance(1)
    assert send("1.1.1.1").status_code == 200


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("", "local"),
        ("1.2.3.4", "1.2.3.4"),
        ("9.9.9.9, 1.2.3.4:50123", "1.2.3.4"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_a_client_is_an_address_without_its_port(forwarded: str, client: str) -> None:
    """App Service adds the port, which is another one for every connection."""
    assert wanted(x_forwarded_for=forwarded).client == client
