"""The local host as a browser or a program meets it: functions by HTTP, the admin route, and nothing else."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.sample_hub import SAMPLE_APP

from backup_core.clock import SystemClock
from backup_core.testing.durable_host.host_json import read_host_json
from backup_core.testing.durable_host.host_thread import HostThread
from backup_core.testing.durable_host.local_host import LocalHost
from backup_core.testing.durable_host.thin_worker import ThinWorker

_SCHEDULE = {"SAMPLE_SCHEDULE": "0 0 0 1 1 *"}


class _Site:
    """The sample app, served on a free port; without proxies of this machine."""

    def __init__(self, *, easy_auth: bool = False) -> None:
        settings = read_host_json(SAMPLE_APP, _SCHEDULE)
        worker = ThinWorker(SAMPLE_APP, 16)
        self.host = LocalHost(worker, settings, _SCHEDULE, SystemClock(), key="the key", easy_auth=easy_auth)
        self.thread = HostThread(self.host)
        self.root = f"http://127.0.0.1:{self.thread.start()}"
        self.session = requests.Session()
        self.session.trust_env = False

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self.root + path, timeout=20, allow_redirects=False, **more)

    def output(self, instance_id: str) -> Any:
        """What an orchestration came to, asked for as a person would ask."""
        for _ in range(200):
            status = self.ask("GET", f"/status/{instance_id}").json()
            if status["status"] not in ("Running", "Pending"):
                return status["output"]
            time.sleep(0.05)
        raise AssertionError("it never ended")

    def close(self) -> None:
        self.session.close()
        self.thread.stop()


@pytest.fixture
def site() -> Iterator[_Site]:
    site = _Site()
    yield site
    site.close()


def test_what_a_function_is_told(site: _Site) -> None:
    """Method, whole URL, decoded route, joined headers and query, and the body, byte for byte."""
    answer = site.ask("POST", "/echo/a%20%C3%A4?x=1&x=2&empty=&y=%2B", data=bytes(range(256)), headers={"X-Own": "1"})
    told = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert "Server" not in answer.headers
    assert told["method"] == "POST"
    assert told["url"] == f"{site.root}/echo/a%20%C3%A4?x=1&x=2&empty=&y=%2B"
    assert told["route"] == {"name": "a ä"}
    assert told["query"] == {"x": "1,2", "y": "+"}
    assert told["headers"]["x-own"] == "1"
    assert told["body"].encode("latin-1") == bytes(range(256))


def test_answers_keep_every_cookie(site: _Site) -> None:
    """Several Set-Cookie headers stay several, with all their attributes; a redirect is passed on as it is."""
    answer = site.ask("GET", "/cookies")
    cookies = answer.raw.headers.getlist("Set-Cookie")
    assert (answer.status_code, answer.headers["Location"], answer.headers["X-Own"]) == (302, "/elsewhere", "1")
    assert [set(cookie.split("; ")) for cookie in cookies] == [
        {"__Host-a=1.x_y-z", "Path=/", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age=60"},
        {"b=2", "Path=/"},
    ]


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/", 200, "home"),
        ("GET", "/echo/literal", 200, "literal"),
        ("HEAD", "/cookies", 302, ""),
        ("HEAD", "/", 404, ""),
        ("PUT", "/cookies", 404, ""),
        ("DELETE", "/", 404, ""),
        ("GET", "/nowhere", 404, ""),
        ("GET", "/echo/%00", 400, ""),
        ("GET", "/guarded", 401, ""),
        ("GET", "/guarded?code=the%20key", 200, "inside"),
        ("GET", "/guarded?code=wrong", 401, ""),
        ("GET", "/broken", 500, ""),
        ("GET", "/admin", 404, ""),
        ("GET", "/admin/host/status", 404, ""),
        ("GET", "/runtime/webhooks/durabletask/instances", 404, ""),
        ("GET", "/durabletask/instances", 404, ""),
    ],
)
def test_what_answers_and_how(site: _Site, method: str, path: str, status: int, text: str) -> None:
    """404 for a method too, as in Azure; a failing function says nothing of its inside; the hub is not here."""
    answer = site.ask(method, path)
    assert (answer.status_code, answer.text) == (status, text)


def test_a_principal_from_outside_is_dropped() -> None:
    """Headers that only App Service may set reach a function nowhere but under easy auth."""
    headers = {"X-MS-CLIENT-PRINCIPAL": "me", "x-ms-client-principal-id": "1", "X-MS-TOKEN-AAD-ID-TOKEN": "t"}
    for easy_auth, reach in ((False, set()), (True, {name.lower() for name in headers})):
        site = _Site(easy_auth=easy_auth)
        try:
            told = site.ask("GET", "/echo/x", headers=headers).json()["headers"]
        finally:
            site.close()
        assert {name for name in told if name.startswith("x-ms-")} == reach


def test_a_body_may_be_large(site: _Site) -> None:
    """Up to 100 MB, as in Azure; more is refused before the function is called."""
    assert site.ask("POST", "/size", data=bytes(30_000_000)).text == "30000000"
    assert site.ask("POST", "/size", data=bytes(100 * 1024 * 1024 + 1)).status_code == 413


def test_a_function_has_its_time(site: _Site) -> None:
    """One that outlives functionTimeout is answered with 500; the host goes on."""
    started = time.monotonic()
    assert site.ask("GET", "/slow").status_code == 500
    assert 4 < time.monotonic() - started < 15
    assert site.ask("GET", "/").status_code == 200


def test_orchestrations_through_the_real_client(site: _Site) -> None:
    """Started, asked for, refused while running and found missing, as the SDK's own client does these."""
    assert site.ask("POST", "/start/one?id=a", json=21).text == "a"
    assert site.output("a") == 42
    assert site.ask("POST", "/start/patient?id=p").status_code == 202
    assert site.ask("POST", "/start/patient?id=p").status_code == 500
    assert site.ask("POST", "/start/nowhere").status_code == 500
    assert site.ask("GET", "/status/nowhere").status_code == 404


def test_a_timer_is_run_by_hand(site: _Site, notes: Path) -> None:
    """With the key it is 202 and it runs; without it nobody learns whether there is such a timer."""
    key = {"x-functions-key": "the key"}
    assert site.ask("POST", "/admin/functions/tick").status_code == 401
    assert site.ask("POST", "/admin/functions/nowhere", headers={"x-functions-key": "ключ".encode()}).status_code == 401
    assert site.ask("POST", "/admin/functions/nowhere", headers=key).status_code == 404
    assert site.ask("POST", "/admin/functions/one", headers=key).status_code == 404
    assert site.ask("GET", "/admin/functions/tick", headers=key).status_code == 404
    assert not notes.exists()
    assert site.ask("POST", "/admin/functions/tick", headers=key).status_code == 202
    for _ in range(100):
        if notes.exists() and notes.read_text():
            break
        time.sleep(0.05)
    assert notes.read_text().startswith("tick False ")


def test_the_hub_answers_only_those_who_know_its_path(site: _Site) -> None:
    """Its own port is on loopback, and without the path that workers are told it answers nothing."""
    told = json.loads(site.host.binding())
    assert told["rpcBaseUrl"].startswith("http://127.0.0.1:")
    root, _, _ = told["rpcBaseUrl"].removeprefix("http://").partition("/")
    assert site.session.get(f"{told['rpcBaseUrl']}instances/", timeout=5).json() == []
    for path in ("durabletask/instances/", "instances/", "runtime/webhooks/durabletask/instances", ""):
        assert site.session.get(f"http://{root}/{path}", timeout=5).status_code == 404
