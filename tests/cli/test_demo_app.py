"""The demo's browser and program, against a server that answers what a test wants."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from backup_core.cli.demo.app import App, Browser, Hop, Keys
from backup_core.errors import DrivekeepError
from backup_core.testing.fake_clock import FakeClock

_START = '<h1>\nStart &amp; go </h1><a href="/x">other</a><a class="button" href="/go?a=1&amp;b=2">Go</a>'


class _Handler(BaseHTTPRequestHandler):
    """Notes what was asked with which cookie and keys."""

    asked: list[tuple[str, Any]]

    def do_GET(self) -> None:
        self.asked.append((f"GET {self.path}", self.headers.get("cookie") or self.headers.get("x-drivekeep-key")))
        if self.path == "/":
            self._answer(200, _START, {"Set-Cookie": "seen=yes; Path=/; HttpOnly; SameSite=Lax"})
        elif self.path.startswith("/go"):
            self._answer(302, "", {"Location": "/end?state=secret"})
        elif self.path.startswith("/end"):
            self._answer(200, "<h1>The end</h1>")
        elif self.path.startswith("/list"):
            following = None if "after" in self.path else "/list?after=1"
            self._answer(200, json.dumps({"items": [self.path], "next": following}))
        else:
            self._answer(404, "no")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.asked.append((f"POST {self.path} {body.decode()}", self.headers.get("x-functions-key")))
        self._answer(202, "{}", {"Location": "/api/runs/7"})

    def _answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    """Where the server is."""
    _Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _app(address: str, folder: Path) -> App:
    log = folder / "log"
    log.write_text("last words")
    return App(address, Keys("for-programs", "for-admins"), log, FakeClock())


def test_a_browser_follows_what_it_is_shown(address: str, tmp_path: Path) -> None:
    """It reads headline and button as a person does, keeps cookies, and tells its way without the queries."""
    browser = Browser(address, tmp_path)
    page = browser.open("/")
    assert (page.headline, page.button) == ("Start & go", "/go?a=1&b=2")
    end = browser.open(page.button)
    assert end.hops == [Hop(302, f"{address}/go"), Hop(200, f"{address}/end")]
    assert (end.headline, end.button) == ("The end", "")
    assert _Handler.asked[1:] == [("GET /go?a=1&b=2", "seen=yes"), ("GET /end?state=secret", "seen=yes")]


def test_a_program_shows_its_keys(address: str, tmp_path: Path) -> None:
    """The key for programs goes to the JSON routes and that of the admin route to it; lists are read to their end."""
    app = _app(address, tmp_path)
    assert list(app.items("/list")) == ["/list", "/list?after=1"]
    app.tick()
    assert app.start_run({"tenant": "t"}) == "/api/runs/7"
    assert _Handler.asked == [
        ("GET /list", "for-programs"),
        ("GET /list?after=1", "for-programs"),
        ("POST /admin/functions/tick {}", "for-admins"),
        ('POST /api/runs {"tenant": "t"}', None),
    ]
    assert "for-" not in repr(Keys("for-programs", "for-admins"))


def test_another_answer_ends_the_demo(address: str, tmp_path: Path) -> None:
    """What is not answered as it should be is told without the query, for a browser and for a program."""
    for ask in (Browser(address, tmp_path).open, _app(address, tmp_path).get):
        with pytest.raises(DrivekeepError, match=r"GET http\S+/lost was answered with 404 instead of 200") as told:
            ask("/lost?state=secret")
        assert "secret" not in str(told.value)


def test_silence_ends_the_demo(tmp_path: Path) -> None:
    """An app that has died is told in our words, which hold no address."""
    with pytest.raises(DrivekeepError, match="The app does not answer: ConnectionError") as told:
        _app("http://127.0.0.1:9", tmp_path).get("/x?state=secret")
    assert "secret" not in str(told.value)


def test_patience_has_an_end(address: str, tmp_path: Path) -> None:
    """What does not come about is named after some minutes, with the app's last words; else it is returned."""
    app = _app(address, tmp_path)
    answers = iter([None, None, 0])
    assert app.wait_for(lambda: next(answers), "It") == 0
    with pytest.raises(DrivekeepError, match=r"The run did not come about within 180 seconds.*last words"):
        app.wait_for(lambda: None, "The run")
