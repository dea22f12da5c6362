"""Requests that no sensible program sends: each is refused in the same way, and nothing breaks."""

import pytest
from support.api import ANN, HOME, PROGRAM, RUN_OF_A, A, Api, Reply, operator

from backup_core.triggers.routes import ROUTES, Route

PLACES = {"tenant": A, "account": ANN, "run": RUN_OF_A, "snapshot": "latest"}
JSON = {"content-type": "application/json"}


def url_of(route: Route) -> str:
    return "/" + route.path.format(**PLACES)


def check_problem(reply: Reply, route: Route, sent: object) -> None:
    """A refusal as the contract has it: its type, all of its members, and no word of the inside."""
    assert 400 <= reply.status < 500, (route.name, sent, reply)
    assert reply.headers["content-type"] == "application/problem+json", (route.name, sent)
    assert set(reply.document) == {"type", "title", "status", "detail", "reason", "instance"}
    assert reply.document["status"] == reply.status
    for word in (b"Traceback", b".py", b"backup_core", b"msgspec"):
        assert word not in reply.body


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_queries_that_no_route_takes(api: Api, route: Route) -> None:
    """Unknown, repeated, empty, endless, in another encoding, with control characters, too many."""
    queries = [
        "unknown=1", "limit=1&limit=2", "limit=", "limit=0", "limit=1001", "limit=-1", "limit=1.5", "limit=٣",
        "after=", "after=%00", "tenant=%00", "path=%00", "state=%ff", "x=%FF%FE", "tenant=" + "a" * 9000,
        "&".join(f"a{number}=1" for number in range(60)), "%00=1", "limit[]=1", "tenant=../..", "after=%0d%0aX:1",
    ]  # fmt: skip
    for query in queries:
        body = {"json_body": {"tenant": A}} if route.name == "start_run" else {}
        reply = api.send(route.method, f"{url_of(route)}?{query}", PROGRAM, **body)
        check_problem(reply, route, query)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_bodies_that_no_route_takes(api: Api, route: Route) -> None:
    """No JSON, half of it, other encodings, another shape, too long, of another type."""
    bodies: list[tuple[dict[str, str], bytes]] = [
        (JSON, b"{"), (JSON, b"nonsense"), (JSON, b"\x00"), (JSON, b"\xff\xfe{\x00}\x00"),
        (JSON, "{}".encode("utf-16")),
        (JSON, b"[]"), (JSON, b"7"), (JSON, b'"x"'), (JSON, b"null"), (JSON, b'{"unknown":1}'), (JSON, b"[" * 50_000),
        (JSON, b'{"tags":["' + b"x" * 70_000 + b'"]}'), (JSON, b" " * 10_000_000), (JSON, b'{"tenant":"a\\u0000"}'),
        (JSON, b'{"included":1,"paused":1,"tenant":1}'), (JSON, b'{"a":1}{"a":1}'), (JSON, b'{"a":"\\ud800"}'),
        ({}, b"{}"), ({"content-type": "text/plain"}, b"{}"),
        ({"content-type": "application/json;charset=utf-16"}, b"{}"),
        ({"content-type": "application/x-www-form-urlencoded"}, b"tenant=1"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x--"), ({"content-type": "application/jsonp"}, b"{}"),
    ]  # fmt: skip
    for headers, body in bodies:
        check_problem(api.send(route.method, url_of(route), {**PROGRAM, **headers}, body), route, body[:40])


@pytest.mark.parametrize("route", [each for each in ROUTES if each.writes], ids=lambda route: route.name)
def test_what_a_foreign_page_can_send_is_refused(api: Api, route: Route) -> None:
    """A form on another site, with or without a body, and a script there."""
    url, who = url_of(route), operator(HOME)
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert api.send(route.method, url, {**who, **form}, b"").status == 415
    for origin in ("https://evil.example", "null", "http://app.example.org", "https://app.example.org.evil.example"):
        reply = api.send(route.method, url, {**who, **JSON, "origin": origin}, b"{}")
        assert (reply.status, reply.document["reason"]) == (403, "origin"), origin
    for site in ("cross-site", "same-site"):
        assert api.send(route.method, url, {**who, **JSON, "sec-fetch-site": site}, b"{}").status == 403
    own = {**who, **JSON, "origin": "https://App.example.org", "sec-fetch-site": "same-origin"}
    assert api.send(route.method, url, own, b"{}").status != 403


@pytest.mark.parametrize("route", [each for each in ROUTES if "{" in each.path], ids=lambda route: route.name)
def test_places_that_nothing_has(api: Api, route: Route) -> None:
    """A path with tricks in it leads nowhere: 404, whatever it spells."""
    names = ["..", "%2e%2e", "%2e%2e%2f", "%00", "a%0d%0ab", "%F0%9F%92%A9", "*", "'", "a" * 3000, "%2F", "$metadata"]
    names += [A + "x", A[:-1], f"{RUN_OF_A}0", "latest%20", "@", "a@", "@b", "a@b@c", "%5c", "account:1", "counts"]
    for name in names:
        for place in PLACES:
            if f"{{{place}}}" in route.path and not (place == "snapshot" and name in ("a" * 3000,)):
                body = {"json_body": {}} if route.writes else {}
                reply = api.send(route.method, "/" + route.path.format(**{**PLACES, place: name}), PROGRAM, **body)
                assert reply.status == 404, (route.name, place, name)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_answer_is_guarded(api: Api, route: Route) -> None:
    """The security headers are on good answers and on refusals alike; nothing may be kept by a cache."""
    for headers in (PROGRAM, {}, operator(A)):
        reply = api.send(route.method, url_of(route), headers)
        assert reply.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["strict-transport-security"].startswith("max-age=")
        assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize("route", [each for each in ROUTES if each.who == "operator"], ids=lambda route: route.name)
def test_strangers_learn_nothing_of_a_route(api: Api, route: Route) -> None:
    """Who may not is told so before anything that they sent is looked at."""
    for headers in ({}, JSON):
        reply = api.send(route.method, f"{url_of(route)}?unknown=1", headers, b"{" if headers else b"")
        assert reply.status == 401
        check_problem(reply, route, "nobody")


def test_a_host_that_is_none_is_refused(api: Api) -> None:
    """A Host header that could end up in an address of ours, or be taken for our own origin, by whatever it holds."""
    for host in ("a@b", "a b", "a\\b", "a<b", "", "[::1", "ä"):
        api.root = f"https://{host}"
        assert api.get("/api/health").status == 200
        reply = api.send("PATCH", f"/api/accounts/{ANN}", {**PROGRAM, **JSON, "origin": f"https://{host}"}, b"{}")
        assert (reply.status, reply.document["reason"]) == (400, "host"), host


def test_too_much_is_refused_before_it_is_parsed(api: Api) -> None:
    """A body that would be good but for its length, and a query of endless fields."""
    reply = api.send("PATCH", f"/api/accounts/{ANN}", {**PROGRAM, **JSON}, b"{}" + b" " * 70_000)
    assert (reply.status, reply.document["reason"]) == (413, "too-large")
    reply = api.get("/api/runs?" + "&".join(f"a{number}=1" for number in range(60)))
    assert "too many fields" in reply.document["detail"]
