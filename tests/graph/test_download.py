"""Downloads over a real connection to a content host that misbehaves: whole and verified, or refused by name."""

import base64
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backup_core.errors import AccessDenied, Temporary
from backup_core.graph import download as download_module
from backup_core.graph.attempts import NoAnswer
from backup_core.graph.body import PIECE_BYTES
from backup_core.graph.quickxorhash import QuickXorHash

CONTENT = random.Random(5).randbytes(300_000)  # what the scene's item is
SIZE = len(CONTENT)
OK = f'HTTP/1.1 200 OK\nETag: "v1"\nContent-Length: {SIZE}'
BAD = "HTTP/1.1 {} X\nContent-Length: 0"
CHUNKED = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked"
Body = Callable[..., dict[str, object]]


def hashed(content: bytes) -> str:
    running = QuickXorHash()
    running.update(content)
    return running.base64()


def test_a_whole_file(scene: Any) -> None:
    """Size and hash agree: verified. The content host is sent no token, and asked for the bytes as they are."""
    scene.host.add(OK, CONTENT)
    content, body = scene.read()
    assert (content == CONTENT, body.verdict, body.mismatch_reason, body.item.name) == (
        True,
        "verified",
        None,
        "a.docx",
    )
    (asked,) = scene.host.asked
    assert (asked.path, asked.headers["accept"]) == ("/first?tempauth=CANARY", "*/*")
    assert asked.headers["accept-encoding"] == "identity"
    assert not {"authorization", "range", "cookie"} & set(asked.headers)


def test_a_hash_alone_verifies_nothing(scene: Any) -> None:
    """Two contents of different lengths that share a quickXorHash are still told apart."""
    reported, other = bytes(160), bytes(96) + b"\1" + bytes(64)
    assert hashed(reported) == hashed(other)
    scene.knows(scene.item(size=160, file={"hashes": {"quickXorHash": hashed(reported)}}))
    scene.host.add("HTTP/1.1 200 OK\nContent-Length: 161", other)
    assert scene.read()[1].mismatch_reason == "size-mismatch"


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_sizes(scene: Any, size: int) -> None:
    """Every size around a piece arrives whole, an empty file too."""
    content = random.Random(size).randbytes(size)
    scene.knows(scene.item(size=size, file={"hashes": {"quickXorHash": hashed(content)} if size else {}}))
    scene.host.add(f"HTTP/1.1 200 OK\nContent-Length: {size}", content)
    got, body = scene.read()
    assert (got == content, body.verdict) == (True, "verified")


def test_only_as_many_bytes_as_promised(scene: Any) -> None:
    """What a host sends beyond its Content-Length does not become content."""
    scene.host.add(OK, CONTENT + b"x")
    content, body = scene.read()
    assert (content == CONTENT, body.verdict) == (True, "verified")


@pytest.mark.parametrize("extra", [b"x", b"x" * 2207])
@pytest.mark.parametrize("framing", ["length", "chunked", "until closed"])
def test_whole_bytes_of_another_length_are_kept(scene: Any, framing: str, extra: bytes) -> None:
    """Whole, and longer than reported, as Office files come: every byte is kept, with what does not agree."""
    content = CONTENT + extra
    heads = {"length": f"HTTP/1.1 200 OK\nContent-Length: {len(content)}", "chunked": CHUNKED}
    chunked = f"{len(content):x}\r\n".encode() + content + b"\r\n0\r\n\r\n"
    scene.host.add(heads.get(framing, "HTTP/1.1 200 OK"), chunked if framing == "chunked" else content)
    got, body = scene.read()
    assert (got == content, body.verdict, body.mismatch_reason) == (True, "mismatch", "size-mismatch")


def test_a_length_beside_chunks_means_nothing(scene: Any) -> None:
    """Where a body comes in chunks, a Content-Length beside them is not believed."""
    body = f"{SIZE:x}\r\n".encode() + CONTENT + b"\r\n0\r\n\r\n"
    scene.host.add(f"{CHUNKED}\nContent-Length: 5", body)
    assert scene.read(retries=0)[1].verdict == "verified"


def test_whole_bytes_shorter_than_reported_are_kept(scene: Any) -> None:
    """With a length that the host itself gives, shorter than reported is whole: a photo without its film."""
    scene.host.add("HTTP/1.1 200 OK\nContent-Length: 250000", CONTENT[:250_000])
    got, body = scene.read()
    assert (got == CONTENT[:250_000], body.mismatch_reason) == (True, "size-mismatch")


def test_other_bytes_of_the_right_length(scene: Any) -> None:
    """One bit that differs is a mismatch of the hash."""
    other = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    scene.host.add(OK, other)
    got, body = scene.read()
    assert (got == other, body.verdict, body.mismatch_reason) == (True, "mismatch", "hash-mismatch")


@pytest.mark.parametrize(
    ("size", "verdict", "reason"), [(SIZE, "unverifiable", None), (SIZE - 7, "mismatch", "size-mismatch")]
)
def test_without_a_hash(scene: Any, size: int, verdict: str, reason: str | None) -> None:
    """Where Microsoft gives no hash nothing is verified, but a size that differs is still seen."""
    scene.knows(scene.item(size=size, file={"hashes": {"sha1Hash": "AB"}}))
    scene.host.add(OK, CONTENT)
    _, body = scene.read()
    assert (body.verdict, body.mismatch_reason) == (verdict, reason)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 406, 410, 418])
def test_a_host_that_goes_on_refusing(scene: Any, status: int) -> None:
    """A second refusal, with the new link, is download-failed: two requests, not a storm."""
    scene.host.add(f"HTTP/1.1 {status} X\nContent-Length: 14", b"<html>no</html")
    assert scene.fails(retries=9) == "download-failed"
    assert len(scene.host.asked) == 2


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("X-Virus-Infected: Eicar", b"<html>"),
        ("X-ClientErrorCode: VirusError", b""),
        ("Content-Type: application/json", b'{"error": {"code": "malwareDetected"}}'),
    ],
)
def test_malware_found_at_the_host(scene: Any, header: str, body: bytes) -> None:
    """Told by a header or by JSON: malware, asked once."""
    scene.host.add(f"HTTP/1.1 403 X\n{header}\nContent-Length: {len(body)}", body)
    assert scene.fails() == "malware"
    assert len(scene.host.asked) == 1


def test_malware_known_to_graph(scene: Any) -> None:
    """A file that Graph marks is not even asked for."""
    scene.knows(scene.item(malware={"description": "x"}))
    assert scene.fails() == "malware"
    assert scene.host.asked == []


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"package": {"type": "oneNote"}}, "package"),
        ({"remoteItem": {}}, "remote-item"),
        ({"deleted": {}}, "gone"),
        ({"file": None, "folder": {}}, "invalid-item"),
        ({"file": None}, "invalid-item"),
    ],
)
def test_what_is_no_file(scene: Any, facts: dict[str, Any], reason: str) -> None:
    """Only files have content: nothing else is asked for."""
    scene.knows(scene.item(**facts))
    assert scene.fails() == reason
    assert scene.host.asked == []


def test_locked(scene: Any, error_body: Body) -> None:
    """423 for the item or for its content is a locked file; it is not retried."""
    scene.host.add(BAD.format(423))
    assert (scene.fails(), len(scene.host.asked)) == ("locked", 1)
    scene.forget()
    scene.graph.get(scene.ITEM_URL, status=423, json=error_body("resourceLocked"))
    assert scene.fails() == "locked"


def test_gone(scene: Any, error_body: Body) -> None:
    """404 of the item itself is gone, at the start and when the link is renewed."""
    scene.graph.get(scene.ITEM_URL, status=404, json=error_body("itemNotFound"))
    assert scene.fails() == "gone"
    scene.forget()
    scene.knows(scene.item())
    scene.graph.get(scene.ITEM_URL, status=404, json=error_body("itemNotFound"))
    scene.host.add(BAD.format(404))
    assert scene.fails() == "gone"


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 509])
def test_a_host_in_trouble(scene: Any, status: int) -> None:
    """What may pass is retried as often as the setting says, then the file has failed."""
    for _ in range(3):
        scene.host.add(BAD.format(status))
    scene.host.add(OK, CONTENT)
    assert scene.read()[1].verdict == "verified"
    assert scene.world.clock.sleeps == [1, 2, 4]
    scene.host.script.clear()
    scene.host.add(BAD.format(status))
    assert scene.fails() == "download-failed"


@pytest.mark.parametrize("status", [429, 503, 509])
def test_throttled(scene: Any, status: int) -> None:
    """Retry-After of a content host holds the whole tenant and spends no retry; beyond patience: throttled."""
    scene.host.add(BAD.format(status) + "\nRetry-After: 31")
    scene.host.add(OK, CONTENT)
    assert scene.read(retries=0)[1].verdict == "verified"
    assert scene.world.gate.throttled_seconds == 31
    scene.host.script.clear()
    scene.host.add(BAD.format(status) + "\nRetry-After: 1000")
    assert scene.fails() == "throttled"


@pytest.mark.parametrize(
    "link", ["https://evil.example/x?tempauth=CANARY", "http://127.0.0.1/x", "https://169.254.169.254/x"]
)
def test_a_foreign_link_is_not_followed(scene: Any, link: str) -> None:
    """A download link to a host that is not allowed is download-failed, and nothing is sent there."""
    scene.knows(scene.item(link))
    assert scene.fails() == "download-failed"
    assert {call.request.url.split("/")[2] for call in scene.graph.calls} == {"graph.microsoft.com"}


def test_redirects_of_the_content_host(scene: Any) -> None:
    """Up to three are followed, each checked; a circle, or one that leads away, is not."""
    moved = "HTTP/1.1 302 X\nContent-Length: 0\nLocation: {}"
    for target in (f"{scene.host.url}/second", "/third", f"{scene.host.url}/fourth"):
        scene.host.add(moved.format(target))
    scene.host.add(OK, CONTENT)
    assert scene.read()[1].verdict == "verified"
    assert [asked.path for asked in scene.host.asked][1:] == ["/second", "/third", "/fourth"]
    scene.host.script.clear()
    scene.host.add(moved.format(f"{scene.host.url}/again"))
    assert scene.fails() == "download-failed"
    for target in ("https://evil.example/x", "http://127.0.0.1/x"):
        scene.host.script.clear()
        scene.host.add(moved.format(target))
        assert scene.fails() == "download-failed"
    assert not [call for call in scene.graph.calls if "evil" in call.request.url or "/x" in call.request.url]


def test_the_body_of_a_redirect_is_not_waited_for(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect is followed when its head is there: what comes behind it, however much, is nobody's content."""
    monkeypatch.setattr(download_module, "READ_SECONDS", 0.3)
    scene.host.add(f"HTTP/1.1 302 X\nContent-Length: 1000000000\nLocation: {scene.host.url}/second", b"x", "hang")
    scene.host.add(OK, CONTENT)
    assert scene.read(retries=0)[1].verdict == "verified"


@pytest.mark.parametrize("framing", ["length", "until closed"])
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json"])
def test_an_error_page_is_no_content(scene: Any, kind: str, framing: str) -> None:
    """A page that comes with status 200 in place of a document, longer or shorter, does not become its content."""
    for page in (b"<html>Sign in</html>", b"<html>" + b"x" * SIZE):
        length = f"\nContent-Length: {len(page)}" if framing == "length" else ""
        scene.host.script.clear()
        scene.host.add(f"HTTP/1.1 200 OK\nContent-Type: {kind}{length}", page)
        assert scene.fails(retries=1) == "download-failed"


def test_a_page_once(scene: Any) -> None:
    """A page with a length of its own costs one retry, and the content may come after it."""
    scene.host.add("HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Length: 6", b"<html>")
    scene.host.add(OK, CONTENT)
    assert scene.read(retries=1)[1].verdict == "verified"


def test_a_page_that_is_the_content(scene: Any) -> None:
    """A file that is a page, rewritten by SharePoint or not, is content like any other."""
    page = b"<html>" + b"x" * 100
    scene.knows(scene.item(name="index.html", size=50, file={}))
    scene.host.add(f"HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Length: {len(page)}", page)
    assert scene.read()[0] == page


def test_nothing_in_place_of_the_content(scene: Any) -> None:
    """An empty 200 for a file that is not empty is refused."""
    scene.host.add("HTTP/1.1 200 OK\nContent-Length: 0")
    assert scene.fails() == "download-failed"


def test_no_link_in_the_item(scene: Any, error_body: Body) -> None:
    """Without a link in the item Graph is asked for a redirect, whose host is checked just so."""
    scene.knows(scene.item(link=None))
    scene.graph.get(f"{scene.ITEM_URL}/content", status=302, headers={"Location": f"{scene.host.url}/first"})
    scene.host.add(OK, CONTENT)
    assert scene.read()[1].verdict == "verified"
    for reply, reason in (
        ({"status": 403, "json": error_body("malwareDetected")}, "malware"),
        ({"status": 403, "json": error_body("accessDenied")}, "download-failed"),
        ({"status": 404, "json": error_body("itemNotFound")}, "download-failed"),
        ({"status": 302, "headers": {"Location": "https://evil.example/x"}}, "download-failed"),
    ):
        scene.graph.replace("GET", f"{scene.ITEM_URL}/content", **reply)
        assert scene.fails() == reason


def test_trouble_that_is_more_than_one_files(scene: Any, error_body: Body) -> None:
    """A refused sign-in and a dead network end the run; a Graph that answers badly for one item fails that item."""
    scene.graph.get(scene.ITEM_URL, status=401, json=error_body("InvalidAuthenticationToken"))
    with pytest.raises(AccessDenied):
        scene.read()
    scene.graph.replace("GET", scene.ITEM_URL, body=ConnectionError())
    with pytest.raises(NoAnswer):
        scene.read()
    scene.graph.replace("GET", scene.ITEM_URL, status=502)
    assert scene.fails() == "download-failed"
    scene.graph.replace("GET", scene.ITEM_URL, status=403, json=error_body("accessDenied"))
    assert scene.fails() == "download-failed"
    scene.graph.replace("GET", scene.ITEM_URL, status=429, headers={"Retry-After": "1000"})
    assert scene.fails() == "throttled"


def test_a_certificate_that_is_not_trusted(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS that says no is not argued with: one try, no bytes sent, and the remedy names the setting."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    scene.host.add(OK, CONTENT)
    with pytest.raises(Temporary, match="REQUESTS_CA_BUNDLE") as caught:
        scene.read()
    assert caught.value.exit_code == 5
    assert scene.host.asked == []
    assert scene.world.clock.sleeps == []


def test_no_bytes_fit(scene: Any) -> None:
    """An empty buffer is a mistake of the caller's: 0 would look like the end of the file."""
    scene.knows(scene.item())
    with scene.downloads().open("b!x", "01F") as body, pytest.raises(ValueError, match="room"):
        body.readinto(memoryview(b""))


def test_nothing_of_the_machine_leaks_in(scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """No password from ~/.netrc, no cookie of an earlier answer goes to the host; no link goes into a log."""
    caplog.set_level(logging.DEBUG)
    (Path.home() / ".netrc").write_text("machine 127.0.0.1 login me password CANARY\n")
    scene.host.add(f"{OK}\nSet-Cookie: id=CANARY; Path=/", CONTENT[:5])
    scene.host.add_rest(CONTENT)
    scene.read()
    for asked in scene.host.asked:
        assert not {"authorization", "cookie"} & set(asked.headers)
    assert "CANARY" not in caplog.text
    assert base64.b64encode(b"me:CANARY").decode() not in str(scene.host.asked)
