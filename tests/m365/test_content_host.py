"""The content host: ranges, expiry, credentials, and what it refuses."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Sent = Callable[[Any], bytes]


def test_content_is_one_redirect_away(graph: Any, sent: Sent) -> None:
    """`/content` answers 302 to another origin, which sends the bytes without a token."""
    graph.drive.put_file("a.txt", b"hello")
    redirect = graph.ask(graph.on_drive("/root:/a.txt:/content"))
    assert redirect.status == 302 and redirect.headers["location"].startswith("https://127.0.0.1:2/")
    answer = graph.download(redirect.headers["location"])
    assert (answer.status, sent(answer)) == (200, b"hello")
    assert answer.headers["content-type"] == "text/plain" and answer.headers["accept-ranges"] == "bytes"


def test_the_url_of_a_feed_is_as_good(graph: Any, sent: Sent) -> None:
    """`@microsoft.graph.downloadUrl` in delta and listing leads to the same bytes."""
    graph.drive.put_file("a.txt", b"hello")
    for link in ("/root/delta", "/root/children", "/root:/a.txt"):
        shown = graph.get(graph.on_drive(link))
        item = shown["value"][-1] if "value" in shown else shown
        assert sent(graph.download(item["@microsoft.graph.downloadUrl"])) == b"hello"


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=5-2", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("pages=1", 200, b"0123456789", None),
    ],
)
def test_ranges(graph: Any, sent: Sent, asked: str, status: int, body: bytes, content_range: str | None) -> None:
    """One range is 206 with Content-Range; what is no single range brings the whole file."""
    graph.drive.put_file("a", b"0123456789")
    answer = graph.download(graph.url_of("a"), range=asked)
    assert (answer.status, sent(answer)) == (status, body)
    assert answer.headers.get("content-range") == content_range


@pytest.mark.parametrize(("content", "asked"), [(b"0123456789", "bytes=10-"), (b"", "bytes=0-"), (b"12", "bytes=-0")])
def test_a_range_beyond_the_end_is_416(graph: Any, content: bytes, asked: str) -> None:
    """Nothing to send: 416 with the size, also for an empty file."""
    graph.drive.put_file("a", content)
    answer = graph.download(graph.url_of("a"), range=asked)
    assert answer.status == 416 and answer.headers["content-range"] == f"bytes */{len(content)}"


def test_ranges_may_be_ignored(graph: Any, sent: Sent) -> None:
    """With the switch a range brings the whole file and 200."""
    graph.drive.put_file("a", b"0123456789")
    graph.switches.ignore_range = True
    answer = graph.download(graph.url_of("a"), range="bytes=4-")
    assert (answer.status, sent(answer)) == (200, b"0123456789") and "content-range" not in answer.headers


def test_a_resume_sees_that_the_file_changed(graph: Any, sent: Sent) -> None:
    """The URL leads to the newest content; `If-Range` with the old ETag then brings the whole of it."""
    graph.drive.put_file("a", b"0123456789")
    url = graph.url_of("a")
    etag = graph.download(url).headers["etag"]
    assert graph.download(url, range="bytes=4-", if_range=etag).status == 206
    graph.drive.put_file("a", b"other content")
    answer = graph.download(url, range="bytes=4-", if_range=etag)
    assert (answer.status, sent(answer)) == (200, b"other content") and answer.headers["etag"] != etag


def test_a_url_expires_by_the_simulations_clock(graph: Any) -> None:
    """It works up to its last second, then it is 401, and a new one works again."""
    graph.drive.put_file("a", b"1")
    url = graph.url_of("a")
    graph.clock.advance(3599)
    assert graph.download(url).status == 200
    graph.clock.advance(1)
    assert graph.download(url).status == 401
    graph.switches.download_url_seconds = 5
    url = graph.url_of("a")
    graph.clock.advance(5)
    assert graph.download(url).status == 401


@pytest.mark.parametrize("spoil", ["signature", "claims", "nothing", "shape"])
def test_a_forged_url_is_401(graph: Any, spoil: str) -> None:
    """A changed, cut or missing tempauth opens nothing and crashes nothing."""
    graph.drive.put_file("a", b"1")
    head, _, rest = graph.url_of("a").partition("tempauth=")
    tempauth, _, tail = rest.partition("&")
    version, claims, signature = tempauth.split(".")
    spoilt = {
        "signature": f"{version}.{claims}.{signature[:-1]}é",
        "claims": f"{version}.{claims[:-2]}.{signature}",
        "nothing": "",
        "shape": "v2..",
    }[spoil]
    assert graph.download(f"{head}tempauth={spoilt}&{tail}").status == 401


def test_a_token_is_refused_on_personal_and_in_strict_mode(graph: Any, personal: Any) -> None:
    """Business bears an Authorization header unless strict; personal never does."""
    for world in (graph, personal):
        world.drive.put_file("a", b"1")
    mine = personal.download(personal.get("/v1.0/me/drive/root:/a")["@microsoft.graph.downloadUrl"], authorization="x")
    assert mine.status == 401
    assert graph.download(graph.url_of("a"), authorization="Bearer x").status == 200
    graph.switches.strict_content = True
    assert graph.download(graph.url_of("a"), authorization="Bearer x").status == 401
    assert graph.download(graph.url_of("a")).status == 200


@pytest.mark.parametrize("as_html", [False, True])
def test_malware_is_refused_at_both_hosts(graph: Any, as_html: bool) -> None:
    """403 with the headers that name the find, as JSON or as a page; the item comes back when it is lifted."""
    graph.drive.put_file("bad", b"1")
    url = graph.url_of("bad")
    graph.drive.set_malware("bad", "Eicar")
    graph.switches.malware_as_html = as_html
    for answer in (graph.download(url), graph.ask(graph.on_drive("/root:/bad:/content"))):
        assert answer.status == 403 and answer.headers["x-virus-infected"] == "Eicar"
        assert answer.headers["x-clienterrorcode"] == "VirusError"
        if as_html:
            assert answer.headers["content-type"].startswith("text/html") and answer.body.startswith(b"<html>")
        else:
            assert json.loads(answer.body)["error"]["code"] == "malwareDetected"
    graph.drive.set_malware("bad", None)
    assert graph.download(url).status == 200


def test_a_locked_file_is_423_and_no_change(graph: Any) -> None:
    """A lock refuses the content at both hosts, and the feed does not tell of it."""
    graph.drive.put_file("a", b"1")
    url = graph.url_of("a")
    link = graph.delta()[1]
    graph.drive.set_locked("a")
    assert graph.download(url).status == 423
    assert graph.refused(graph.on_drive("/root:/a:/content")) == (423, "resourceLocked")
    assert graph.delta(link)[0] == []


def test_a_deleted_file_is_404_on_its_old_url(graph: Any) -> None:
    """The URL outlives the item and then leads nowhere."""
    graph.drive.put_file("a", b"1")
    url = graph.url_of("a")
    graph.drive.delete("a")
    assert graph.download(url).status == 404


def test_a_url_holds_no_token_of_graph(graph: Any) -> None:
    """What leaves for the content host is its own credential."""
    graph.drive.put_file("a", b"1")
    assert "good" not in graph.url_of("a")


def test_a_strange_name_makes_a_plain_header(graph: Any) -> None:
    """Header values stay within ASCII and one line, whatever the file is called."""
    item = graph.drive.put_file("a", b"1")
    graph.drive.rename("a", 'ü"\r\nx: y\u2603.txt')
    location = graph.ask(graph.on_drive(f"/items/{item.id}/content")).headers["location"]
    for value in graph.download(location).headers.values():
        assert value.isascii() and value.isprintable()
