"""Downloads that break off, and how they go on: by Range, by a new link, never by a mixture of two versions."""

import random
from typing import Any

import pytest

from backup_core.graph import download as download_module
from backup_core.graph.download import Changed
from backup_core.graph.quickxorhash import QuickXorHash

CONTENT = random.Random(5).randbytes(300_000)  # what the scene's item is
SIZE = len(CONTENT)
OK = f'HTTP/1.1 200 OK\nETag: "v1"\nContent-Length: {SIZE}'
BAD = "HTTP/1.1 {} X\nContent-Length: 0"


def hashed(content: bytes) -> str:
    running = QuickXorHash()
    running.update(content)
    return running.base64()


def part(first: int, last: int = SIZE - 1, total: object = SIZE) -> str:
    place = f"bytes {first}-{last}/{total}"
    return f'HTTP/1.1 206 Partial\nETag: "v1"\nContent-Range: {place}\nContent-Length: {last - first + 1}'


FRAMINGS = {
    "length": (OK, CONTENT[:100_000]),
    "chunked": (
        'HTTP/1.1 200 OK\nETag: "v1"\nTransfer-Encoding: chunked',
        b"186A0\r\n" + CONTENT[:100_000] + b"\r\n186A0\r\n",
    ),
    "until closed": ('HTTP/1.1 200 OK\nETag: "v1"', CONTENT[:100_000]),
}


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_cut_body_is_resumed(scene: Any, framing: str, then: str) -> None:
    """However a body is framed and however it breaks off, the rest is fetched by Range and the whole is verified."""
    scene.host.add(*FRAMINGS[framing], then)
    scene.host.add_rest(CONTENT)
    content, body = scene.read()
    assert (content == CONTENT, body.verdict) == (True, "verified")
    first, again = scene.host.asked[0], scene.host.asked[-1]
    assert again.path == first.path
    if "range" in again.headers:  # a reset may overtake all that was sent before it
        assert again.headers["if-range"] == '"v1"'
    assert scene.world.clock.sleeps == [1]


def test_a_silent_host_is_a_cut(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that stops in the middle and keeps the connection open is given up after the read timeout."""
    monkeypatch.setattr(download_module, "READ_SECONDS", 0.2)
    scene.host.add(OK, CONTENT[:100_000], "hang")
    scene.host.add_rest(CONTENT)
    assert scene.read()[0] == CONTENT


@pytest.mark.parametrize("kept", [SIZE - 1, SIZE // 2, 0])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_body_that_stays_short_is_refused(scene: Any, framing: str, kept: int) -> None:
    """Short by one byte, by half or by all, try after try: download-failed, and never a verdict."""
    head = FRAMINGS[framing][0]
    body = f"{kept:x}\r\n".encode() + CONTENT[:kept] + b"\r\n" if framing == "chunked" and kept else CONTENT[:kept]
    end = b"0\r\n\r\n" if framing == "chunked" else b""  # well framed, and shorter than reported all the same
    scene.host.add(head, body + end)
    scene.host.add("HTTP/1.1 206 Partial\nContent-Length: 0\nContent-Range: bytes */300000")
    assert scene.fails() == "download-failed"
    assert len(scene.host.asked) == 4


@pytest.mark.parametrize(
    "head",
    [
        part(100_001),
        part(99_999),
        part(0),
        part(100_000, SIZE - 1, 250_000),
        "HTTP/1.1 206 Partial\nContent-Length: 200000",
        f"HTTP/1.1 206 Partial\nContent-Length: 5\nContent-Range: bytes 100000-{SIZE - 1}/{SIZE}",
        f"HTTP/1.1 206 Partial\nContent-Length: 200000\nContent-Range: items 100000-{SIZE - 1}/{SIZE}",
        f"HTTP/1.1 206 Partial\nContent-Length: 200000\nContent-Range: bytes {SIZE - 1}-100000/{SIZE}",
        f"HTTP/1.1 206 Partial\nContent-Length: 200000\nContent-Range: bytes 100000-{SIZE + 1}/{SIZE}",
        "HTTP/1.1 200 OK\nContent-Length: -3",
        f"HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: {SIZE}",
    ],
)
def test_a_part_that_was_not_asked_for_is_not_spliced_in(scene: Any, head: str) -> None:
    """A resume that is answered with anything but exactly the rest is refused; an honest answer then goes on."""
    scene.host.add(*FRAMINGS["length"])
    scene.host.add(head, CONTENT)
    scene.host.add_rest(CONTENT)
    content, body = scene.read()
    assert (content == CONTENT, body.verdict) == (True, "verified")
    assert len(scene.host.asked) == 3


def test_more_than_the_part_that_was_promised(scene: Any) -> None:
    """A part that goes on beyond its own range is refused where it does, and its excess never becomes content."""
    head = part(100_000).replace("Content-Length: 200000", "Transfer-Encoding: chunked")
    too_much = CONTENT[100_000:] + b"excess"
    scene.host.add(*FRAMINGS["length"])
    scene.host.add(head, f"{len(too_much):x}\r\n".encode() + too_much + b"\r\n0\r\n\r\n")
    scene.host.add_rest(CONTENT)
    content, body = scene.read()
    assert (content == CONTENT, body.verdict) == (True, "verified")


def test_a_part_where_the_whole_was_asked_for(scene: Any) -> None:
    """206 to a request without Range is refused."""
    scene.host.add(part(0), CONTENT)
    assert scene.fails(retries=1) == "download-failed"


def test_a_host_that_ignores_ranges(scene: Any) -> None:
    """200 to a Range: the bytes that are there are read over, and the rest fits."""
    scene.host.add(*FRAMINGS["length"])
    scene.host.add(OK, CONTENT)
    content, body = scene.read()
    assert (content == CONTENT, body.verdict) == (True, "verified")


def test_a_host_that_knows_no_ranges(scene: Any) -> None:
    """416 to a Range: the whole is asked for again, and read over."""
    scene.host.add(*FRAMINGS["length"])
    scene.host.add(BAD.format(416))
    scene.host.add(OK, CONTENT)
    content, body = scene.read()
    assert (content == CONTENT, body.verdict) == (True, "verified")
    assert "range" not in scene.host.asked[-1].headers


def test_a_host_that_sends_small_parts(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that end before the content does are continued, one after the other."""
    monkeypatch.setattr(download_module, "PROGRESS_BYTES", 50_000)
    scene.host.add(*FRAMINGS["length"])
    scene.host.add_rest(CONTENT, most=60_000)
    content, body = scene.read(retries=1)
    assert (content == CONTENT, body.verdict) == (True, "verified")


@pytest.mark.parametrize(
    "head",
    [
        f'HTTP/1.1 200 OK\nETag: "v2"\nContent-Length: {SIZE}',
        f'HTTP/1.1 200 OK\nETag: "v1"\nContent-Length: {SIZE + 1}',
        part(100_000).replace("v1", "v2"),
        f"HTTP/1.1 206 Partial\nContent-Length: 200001\nContent-Range: bytes 100000-{SIZE}/{SIZE + 1}",
    ],
)
def test_two_versions_are_never_mixed(scene: Any, head: str) -> None:
    """A resume that meets another version, by its tag or by its length, begins anew at the caller's."""
    scene.host.add(*FRAMINGS["length"])
    scene.host.add(head, CONTENT + b"x")
    with pytest.raises(Changed):
        scene.read()


def test_parts_without_proof_are_checked_with_graph(scene: Any) -> None:
    """Parts joined without a hash count only if the item was the same at the end as at the start."""
    no_hash = {"file": {}}
    scene.knows(scene.item(**no_hash), scene.item(**no_hash, eTag='"{G},2"'))
    scene.host.add(*FRAMINGS["length"])
    scene.host.add_rest(CONTENT)
    with pytest.raises(Changed):
        scene.read()


def test_parts_of_an_unchanged_item(scene: Any) -> None:
    """The same item at the end: the joined parts stand, unverifiable as they are."""
    scene.knows(scene.item(file={}))
    scene.host.add(*FRAMINGS["length"])
    scene.host.add_rest(CONTENT)
    content, body = scene.read()
    assert (content == CONTENT, body.verdict) == (True, "unverifiable")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_expired_link_is_renewed(scene: Any, status: int) -> None:
    """One new link is free of retries, at the start and in the middle; the rest comes from it."""
    second = f"{scene.host.url}/second?tempauth=CANARY"
    scene.knows(scene.item(), scene.item(second))
    scene.host.add(*FRAMINGS["length"])
    scene.host.add(BAD.format(status))
    scene.host.add_rest(CONTENT)
    content, body = scene.read(retries=1)
    assert (content == CONTENT, body.verdict) == (True, "verified")
    assert [asked.path.partition("?")[0] for asked in scene.host.asked] == ["/first", "/first", "/second"]
    assert scene.host.asked[-1].headers["range"] == "bytes=100000-"


def test_a_link_may_expire_again_and_again(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer of many hours outlives many links: after each stretch of progress the next new one is free too."""
    monkeypatch.setattr(download_module, "PROGRESS_BYTES", 90_000)
    scene.host.add(*FRAMINGS["length"])
    for _ in range(2):
        scene.host.add(BAD.format(401))
        scene.host.add_rest(CONTENT, most=100_000)
    assert scene.read(retries=1)[1].verdict == "verified"
    monkeypatch.setattr(download_module, "PROGRESS_BYTES", 1 << 30)
    scene.forget()
    scene.host.add(*FRAMINGS["length"])
    for _ in range(2):
        scene.host.add(BAD.format(401))
        scene.host.add_rest(CONTENT, most=100_000)
    assert scene.fails(retries=9) == "download-failed"


def test_a_link_that_has_expired_before_the_first_byte(scene: Any) -> None:
    """Before anything was delivered, a changed item is simply the one that is read."""
    scene.knows(scene.item(eTag='"{G},0"', size=7, file={}), scene.item(f"{scene.host.url}/second"))
    scene.host.add(BAD.format(401))
    scene.host.add(OK, CONTENT)
    content, body = scene.read(retries=0)
    assert (content == CONTENT, body.verdict, body.item.size) == (True, "verified", SIZE)


def test_a_renewed_link_to_another_version(scene: Any) -> None:
    """A file that was edited when its link is renewed is not resumed; one that was renamed is."""
    scene.knows(scene.item(), scene.item(name="b.docx", eTag='"{G},2"'))
    scene.host.add(*FRAMINGS["length"])
    scene.host.add(BAD.format(401))
    scene.host.add_rest(CONTENT)
    assert scene.read()[1].verdict == "verified"
    scene.forget()
    scene.knows(scene.item(), scene.item(eTag='"{G},3"', file={"hashes": {"quickXorHash": hashed(b"other")}}))
    scene.host.add(*FRAMINGS["length"])
    scene.host.add(BAD.format(401))
    with pytest.raises(Changed):
        scene.read()


def test_retries_begin_anew_after_progress(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that breaks off twenty times, with progress between, arrives with a single retry allowed; without: not."""
    scene.host.add(OK, CONTENT[:15_000])
    scene.host.add_rest(CONTENT, most=15_000)
    monkeypatch.setattr(download_module, "PROGRESS_BYTES", 15_000)
    assert scene.read(retries=1)[0] == CONTENT
    assert len(scene.host.asked) == 20
    monkeypatch.setattr(download_module, "PROGRESS_BYTES", 15_001)
    scene.host.script.clear()
    scene.host.add(OK, CONTENT[:15_000])
    scene.host.add_rest(CONTENT, most=15_000)
    assert scene.fails(retries=2) == "download-failed"
