"""Requests to Graph: retries, throttling, tokens, and what is never let through."""

import gzip
import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests
import responses

from backup_core.errors import AccessDenied, DrivekeepError, Temporary
from backup_core.graph.attempts import NoAnswer
from backup_core.graph.links import ForeignLink
from backup_core.graph.refusals import Forbidden, Refused

ME = "https://graph.microsoft.com/v1.0/me"
Graph = responses.RequestsMock
Body = Callable[..., dict[str, object]]


def answer(graph: Graph, *statuses: int, **headers: str) -> None:
    """Announce answers in their order; 200 carries a small object."""
    for status in statuses:
        body = {"json": {"id": "x"}} if status == 200 else {"body": ""}
        graph.get(ME, status=status, headers=headers if status != 200 else {}, **body)


def test_what_every_request_says(world: Any, graph: Graph) -> None:
    """The token, a fresh request id, the decorated name and gzip go with each request."""
    answer(graph, 200, 200)
    client = world.client()
    assert client.get_json("/me") == {"id": "x"}
    client.get_json("/me")
    first, second = (call.request.headers for call in graph.calls)
    assert first["Authorization"] == "Bearer token-1"
    assert first["User-Agent"].startswith("ISV|drivekeep|drivekeep/")
    assert first["Accept-Encoding"] == "gzip"
    assert uuid.UUID(first["client-request-id"]) != uuid.UUID(second["client-request-id"])
    assert client.requests == 2


def test_parameters_and_links(world: Any, graph: Graph) -> None:
    """Parameters are encoded as Graph writes them; a link is called as it came."""
    graph.get("https://graph.microsoft.com/v1.0/me?$select=id,name", json={"id": "1"})
    link = "https://graph.microsoft.com/v1.0/drives/b!x/root/delta?$skiptoken=aTE09%2Fab%3D"
    graph.get(link, json={"id": "2"})
    client = world.client()
    assert client.get_json("/me", {"$select": "id,name"})["id"] == "1"
    assert client.get_json(link)["id"] == "2"
    assert ["/v1.0/me?$select=id,name", link.removeprefix("https://graph.microsoft.com")] == [
        call.request.path_url for call in graph.calls
    ]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 509])
def test_passing_trouble_is_retried(world: Any, graph: Graph, status: int) -> None:
    """Three failures, with waits that grow, and the fourth try brings the answer."""
    answer(graph, status, status, status, 200)
    assert world.client().get_json("/me") == {"id": "x"}
    assert world.clock.sleeps == [1, 2, 4]


@pytest.mark.parametrize("retries", [0, 1, 3, 5])
def test_retries_end(world: Any, graph: Graph, retries: int) -> None:
    """After exactly DRIVEKEEP_HTTP_RETRIES retries the call ends as temporary, with what happened."""
    for _ in range(retries + 1):
        answer(graph, 502)
    with pytest.raises(Temporary) as caught:
        world.client(retries=retries).get_json("/me")
    assert (caught.value.reason, caught.value.exit_code) == ("unreachable", 5)
    assert "GET /me failed: Microsoft answered 502" in str(caught.value)
    assert not isinstance(caught.value, NoAnswer)


@pytest.mark.parametrize("status", [400, 402, 404, 405, 406, 409, 410, 412, 415, 422, 423, 501, 507])
def test_other_refusals_are_not_retried(world: Any, graph: Graph, error_body: Body, status: int) -> None:
    """What asking again cannot change is reported at once, with Graph's code and words."""
    graph.get(ME, status=status, json=error_body("SomeCode", "It is so."), headers={"request-id": "r-17"})
    with pytest.raises(Refused) as caught:
        world.client().get_json("/me")
    assert (status, ("somecode",)) == (caught.value.refusal.status, caught.value.refusal.codes)
    for said in (str(status), "somecode", "It is so.", "r-17"):
        assert said in str(caught.value)
    assert world.clock.sleeps == []


@pytest.mark.parametrize(
    ("header", "waited"),
    [("1", 1), ("31", 31), ("315", 315), ("2.128", 3), ("0.2", 1), (" 7 ", 7), ("1e1", 10)],
)
@pytest.mark.parametrize("status", [429, 503, 509])
def test_retry_after_is_honoured(world: Any, graph: Graph, status: int, header: str, waited: int) -> None:
    """Never less than Microsoft asks for, fractions rounded up; no retry is spent on it."""
    answer(graph, status, **{"Retry-After": header})
    answer(graph, 200)
    world.client(retries=0).get_json("/me")
    assert [waited] == world.clock.sleeps
    assert (waited, [waited]) == (world.gate.throttled_seconds, world.waits)


def test_retry_after_as_a_date(world: Any, graph: Graph) -> None:
    """A date is measured on the server's own clock, however wrong ours is."""
    answer(graph, 429, **{"Date": "Thu, 01 Jan 1998 10:00:00 GMT", "Retry-After": "Thu, 01 Jan 1998 10:01:30 GMT"})
    answer(graph, 200)
    world.client().get_json("/me")
    assert world.clock.sleeps == [90]


@pytest.mark.parametrize("header", ["0", "-5", "abc", "", "nan", "Thu, 99 Jan", "Thu, 01 Jan 1998 10:01:30 GMT"])
def test_senseless_retry_after(world: Any, graph: Graph, header: str) -> None:
    """A 429 that does not say how long backs off, growing: never a crash, never a hot loop."""
    answer(graph, 429, 429, 429, **{"Retry-After": header})
    answer(graph, 200)
    world.client(retries=0).get_json("/me")
    assert world.clock.sleeps == [1, 2, 4]


@pytest.mark.parametrize("header", ["1000000000", "inf", "901"])
def test_a_wait_beyond_patience_is_not_begun(world: Any, graph: Graph, header: str) -> None:
    """The call ends at once with the text of the contract; the gate stays closed for everybody else."""
    answer(graph, 429, **{"Retry-After": header})
    client = world.client()
    with pytest.raises(Temporary) as caught:
        client.get_json("/me")
    assert (caught.value.reason, world.clock.sleeps) == ("throttled", [])
    assert "429 Too Many Requests" in str(caught.value)
    with pytest.raises(Temporary):
        client.get_json("/me")
    assert client.requests == 1


def test_patience_is_a_sum(world: Any, graph: Graph) -> None:
    """Twelve demands for 100 seconds: nine are waited for, the tenth would be more than 900."""
    for _ in range(10):
        answer(graph, 429, **{"Retry-After": "100"})
    with pytest.raises(Temporary):
        world.client(patience=900).get_json("/me")
    assert world.clock.monotonic() == 900


def test_nobody_sends_while_one_was_told_to_wait(world: Any, graph: Graph) -> None:
    """What Microsoft told one thread holds for every thread of the tenant."""
    graph.get(ME, status=429, headers={"Retry-After": "30"}, body="")
    sent_at: list[float] = []

    def good(_: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        sent_at.append(world.clock.monotonic())
        return 200, {}, '{"id": "x"}'

    graph.add_callback("GET", ME, good)
    client = world.client()
    client.get_json("/me")
    world.gate.close_for(30)
    threads = [threading.Thread(target=client.get_json, args=("/me",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent_at) == 7
    assert sent_at[0] >= 30
    assert min(sent_at[1:]) >= 60


def test_rate_limit_headers_slow_down(world: Any, graph: Graph) -> None:
    """With nothing left of the budget the next request waits until it is new, before a 429 comes."""
    graph.get(
        ME, json={"id": "x"}, headers={"RateLimit-Limit": "1200", "RateLimit-Remaining": "0", "RateLimit-Reset": "5"}
    )
    client = world.client()
    client.get_json("/me")
    client.get_json("/me")
    assert world.clock.sleeps == [5]


def test_a_refused_token_is_renewed_once(world: Any, graph: Graph) -> None:
    """401 brings one new token, free of retries; the request is repeated with it."""
    answer(graph, 401, 200)
    world.client(retries=0).get_json("/me")
    assert [call.request.headers["Authorization"] for call in graph.calls] == ["Bearer token-1", "Bearer token-2"]


def test_a_second_refusal_ends(world: Any, graph: Graph, error_body: Body) -> None:
    """401 to the new token too: sign in again, exit code 13, and no storm of requests."""
    for _ in range(2):
        graph.get(ME, status=401, json=error_body("InvalidAuthenticationToken", "Access token has expired."))
    with pytest.raises(AccessDenied) as caught:
        world.client().get_json("/me")
    assert (caught.value.exit_code, world.tokens.renewals, len(graph.calls)) == (13, 1, 2)


def test_many_threads_renew_one_token(world: Any, graph: Graph) -> None:
    """Eight threads that hold the same expired token cost one new token, not eight."""
    barrier = threading.Barrier(8, timeout=10)

    def by_token(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        if request.headers["Authorization"] == "Bearer token-1":
            barrier.wait()
            return 401, {}, ""
        return 200, {}, '{"id": "x"}'

    graph.add_callback("GET", ME, by_token)
    client = world.client()
    threads = [threading.Thread(target=client.get_json, args=("/me",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (world.tokens.renewals, client.requests) == (1, 16)


def test_forbidden(world: Any, graph: Graph, error_body: Body) -> None:
    """403 says which three things to check, and is not retried."""
    graph.get(ME, status=403, json=error_body("accessDenied", "Access denied"))
    with pytest.raises(Forbidden) as caught:
        world.client().get_json("/me")
    assert caught.value.exit_code == 13
    for said in ("403 Forbidden", "permissions that were granted", "API permissions", "administrator has consented"):
        assert said in str(caught.value)


def test_odd_refusal_of_a_sound_request(world: Any, graph: Graph, error_body: Body) -> None:
    """400 invalidRequest may pass by itself: two more tries, then it is reported as what it is."""
    for _ in range(3):
        graph.get(ME, status=400, json=error_body("invalidRequest", "Invalid request"))
    with pytest.raises(Refused) as caught:
        world.client(retries=9).get_json("/me")
    assert caught.value.refusal.status == 400
    assert len(graph.calls) == 3


def test_odd_refusal_spends_retries(world: Any, graph: Graph, error_body: Body) -> None:
    """Without retries a 400 is not asked for again either."""
    graph.get(ME, status=400, json=error_body("invalidRequest"))
    with pytest.raises(Refused):
        world.client(retries=0).get_json("/me")


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Sign in to the airport</body></html>",
        b"",
        b'{"id": "x"',
        b"[1, 2]",
        b'"text"',
        b"null",
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
    ],
)
def test_an_answer_that_is_no_answer(world: Any, graph: Graph, body: bytes) -> None:
    """200 with anything but a JSON object is asked for again, and never taken for an empty answer."""
    graph.get(ME, body=body)
    graph.get(ME, json={"id": "x"})
    assert world.client().get_json("/me") == {"id": "x"}


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb'{"id": "\ud83d alone"}', "\ufffd alone"),
        (rb'{"id": "\udc00\ud83d"}', "\ufffd\ufffd"),
        (rb'{"id": "\ud83d\ude00 and \ud83d"}', "\U0001f600 and \ufffd"),
        (b'\xef\xbb\xbf{"id": "\\ud83d \xc3\xa9"}', "\ufffd \u00e9"),
    ],
)
def test_half_a_surrogate_pair_is_no_broken_answer(world: Any, graph: Graph, sent: bytes, read: str) -> None:
    """UTF-16 names may hold what no UTF-8 can; one such name does not keep its whole drive from being read."""
    graph.get(ME, body=sent)
    assert world.client().get_json("/me") == {"id": read}
    assert len(graph.calls) == 1


def test_an_answer_of_another_shape(world: Any, graph: Graph) -> None:
    """The caller says what makes an answer; one without it is asked for again, then the call ends."""
    graph.get(ME, json={"wrong": 1})
    with pytest.raises(Temporary):
        world.client(retries=2).get_json("/me", valid=lambda json: "id" in json)
    assert len(graph.calls) == 3


def test_odd_json_is_read(world: Any, graph: Graph) -> None:
    """A byte order mark, keys given twice, huge numbers and unknown facets are no reason to fail."""
    graph.get(ME, body=b'\xef\xbb\xbf{"id": 1, "id": "x", "n": 123456789012345678901234567890, "new": {"a": [null]}}')
    assert world.client().get_json("/me")["id"] == "x"


def test_packed_answers(world: Any, graph: Graph) -> None:
    """gzip is unpacked; a bomb of it is given up at 64 MiB and holds no more than that."""
    graph.get(ME, body=gzip.compress(b'{"id": "x"}'), headers={"Content-Encoding": "gzip"})
    assert world.client().get_json("/me") == {"id": "x"}
    bomb = gzip.compress(b'{"id": "' + bytes(80 << 20))
    graph.replace("GET", ME, body=bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(Temporary, match="larger than 64 MiB"):
        world.client(retries=0).get_json("/me")


@pytest.mark.parametrize("location", ["https://evil.example/", "http://graph.microsoft.com/v1.0/me", ME])
def test_redirects_are_not_followed(world: Any, graph: Graph, location: str) -> None:
    """Graph does not redirect its answers; whoever does is not followed, and the token stays here."""
    graph.get(ME, status=302, headers={"Location": location}, json={"id": "not an answer"})
    with pytest.raises(Temporary):
        world.client(retries=1).get_json("/me")
    assert {"graph.microsoft.com"} == {call.request.url.split("/")[2] for call in graph.calls}


def test_a_foreign_link_is_not_called(world: Any, graph: Graph) -> None:
    """A link to another host ends the call before anything is sent."""
    for link in ("https://evil.example/v1.0/me", "http://graph.microsoft.com/v1.0/me"):
        with pytest.raises(ForeignLink):
            world.client().get_json(link)
    assert len(graph.calls) == 0


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("url?token=SECRET"),
        requests.ReadTimeout("SECRET"),
        requests.exceptions.ChunkedEncodingError(),
    ],
)
def test_no_connection(world: Any, graph: Graph, error: Exception) -> None:
    """The network's trouble spends the same retries, and its text, which holds the address, goes nowhere."""
    graph.get(ME, body=error)
    with pytest.raises(NoAnswer) as caught:
        world.client().get_json("/me?token=SECRET")
    assert len(graph.calls) == 4
    assert "SECRET" not in str(caught.value) + repr(caught.value)
    assert caught.value.__context__ is None or "SECRET" not in repr(caught.value.__context__)


def test_a_second_answer_after_a_lost_connection(world: Any, graph: Graph) -> None:
    """A connection that broke once costs one retry."""
    graph.get(ME, body=requests.ConnectionError())
    answer(graph, 200)
    assert world.client(retries=1).get_json("/me") == {"id": "x"}


def test_nothing_secret_in_any_log_or_error(
    world: Any, graph: Graph, error_body: Body, caplog: pytest.LogCaptureFixture
) -> None:
    """At debug level, and in every refusal, neither a token nor a link's query nor Graph's own echo of it appears."""
    caplog.set_level(logging.DEBUG)
    link = f"{ME}/drive(token='CANARY-function')/delta?token=CANARY-query"
    echo = "Bad token CANARYCANARYCANARYCANARYCANARYCANARYCANARYCANARY at https://x/?t=CANARY\r\nForged: line"
    seen = ""
    for status in (400, 403, 404, 410, 500, 401):
        graph.get(link, status=status, json=error_body("code\x1b[31m", echo))
        with pytest.raises(DrivekeepError) as caught:
            world.client(retries=0).get_json(link)
        seen += str(caught.value) + repr(caught.value)
        graph.remove("GET", link)
    seen += caplog.text
    for secret in ("CANARY", "token-1", "token-2", "\x1b", "\r", "\nForged"):
        assert secret not in seen, secret


def test_errors_in_every_spelling(world: Any, graph: Graph) -> None:
    """innerError and innererror, nested, in any case, with or without codes: the outermost comes first."""
    error = {"code": "Outer", "message": "m", "innererror": {"date": "d", "innerError": {"code": "quotaLimitReached"}}}
    graph.get(ME, status=507, json={"error": error})
    with pytest.raises(Refused) as caught:
        world.client().get_json("/me")
    assert caught.value.refusal.codes == ("outer", "quotalimitreached")


def test_where_a_download_link_comes_from(world: Any, graph: Graph) -> None:
    """The redirect's target is handed over, and the token stays with Graph."""
    graph.get(f"{ME}/content", status=302, headers={"Location": "https://a.sharepoint.com/x?tempauth=1"})
    assert world.client().get_redirect("/me/content") == "https://a.sharepoint.com/x?tempauth=1"
    assert len(graph.calls) == 1
