"""The app as `drivekeep serve` runs it, with a simulated Microsoft 365 and Azurite, seen by a browser or a program."""

import base64
import contextlib
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation
from support.commands import CommandLine

API_KEY = "key-of-the-tests-0123456789"
SERVE_KEY = "serve-key-of-the-tests"
ENDED = ("complete", "incomplete", "failed")


@dataclass
class Served:
    """`person`: a command line with the service's settings. `url` changes when the app is started again."""

    m365: Simulation
    person: CommandLine
    container: str
    master_key: str
    words: tuple[str, ...] = ()
    url: str = ""
    process: "subprocess.Popen[str] | None" = None
    log: Path = field(default_factory=Path)

    # -- the process

    def start(self) -> None:
        self.log = self.person.home / f"serve-{secrets.token_hex(3)}.log"
        with self.log.open("w") as stderr:
            self.process = self.person.start(
                "serve", "--port", 0, "--no-timer", *self.words, stderr=stderr, start_new_session=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Listening on "), self.log.read_text()[-3000:]
        self.url = line.split()[-1]

    def kill(self) -> None:
        """As a machine that loses its power: every process of it."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._close()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self._close()

    def _close(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()

    # -- a program

    def call(self, method: str, path: str, json: Any = None, **more: Any) -> requests.Response:
        headers = {"x-drivekeep-key": API_KEY, **more.pop("headers", {})}
        return requests.request(method, urljoin(self.url, path), json=json, headers=headers, timeout=60, **more)

    def get(self, path: str) -> Any:
        response = self.call("GET", path)
        assert response.status_code == 200, (path, response.status_code, response.text)
        return response.json()

    def items(self, path: str) -> list[Any]:
        """Every item of a list, page after page."""
        found: list[Any] = []
        following: str | None = path
        while following:
            page = self.get(following)
            found += page["items"]
            following = page["next"]
        return found

    def tick(self) -> None:
        response = requests.post(
            f"{self.url}/admin/functions/tick", json={}, headers={"x-functions-key": SERVE_KEY}, timeout=60
        )
        assert response.status_code == 202, response.text

    def ask_run(self, **body: Any) -> Any:
        response = self.call("POST", "/api/runs", json=body)
        assert response.status_code == 202, response.text
        return response.json()

    def wait_for(self, look: Any, seconds: float = 120) -> Any:
        """What `look` finds as soon as it finds something."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(f"nothing came of it; the log ends with:\n{self.log.read_text()[-4000:]}")

    def ended(self, run_id: str, seconds: float = 120) -> Any:
        """The run, when it has ended."""

        def look() -> Any:
            run = self.get(f"/api/runs/{run_id}")
            return run if run["state"] in ENDED else None

        return self.wait_for(look, seconds)

    def results(self, run: Any) -> list[Any]:
        found, following = list(run["results"]), run["results_next"]
        while following:
            page = self.get(following)
            found += page["results"] if "results" in page else page["items"]
            following = page.get("results_next") or page.get("next")
        return found

    # -- a browser

    def onboard(self, **choice: Any) -> requests.Response:
        """An administrator opens the start page, follows its button, and consents; the page at the end."""
        return self._led("/onboard")

    def connect(self) -> requests.Response:
        """The person who sits before the sign-in page connects their own drive; the page at the end."""
        return self._led("/connect")

    def _led(self, way: str) -> requests.Response:
        browser = requests.Session()
        browser.verify = str(self.m365.ca_file)
        browser.trust_env = False
        start = browser.get(urljoin(self.url, way), timeout=60)
        assert start.status_code == 200
        link = re.search(rf'href="({way}/start[^"]*)"', start.text)
        assert link is not None, start.text
        return browser.get(urljoin(self.url, link[1]), timeout=60)

    def accounts(self, tenant: str) -> dict[str, Any]:
        """By user principal name."""
        return {each["upn"]: each for each in self.items(f"/api/tenants/{tenant}/accounts")}

    def enrolled(self, tenant: str, count: int, seconds: float = 60) -> dict[str, Any]:
        def look() -> Any:
            response = self.call("GET", f"/api/tenants/{tenant}")
            if response.status_code != 200:
                return None
            found = self.accounts(tenant)
            return found if len(found) >= count else None

        return dict(self.wait_for(look, seconds))

    def recovery(self, tenant: str, account: str) -> Any:
        return self.person.ok("accounts", "recovery", account, "--tenant", tenant)


@contextlib.contextmanager
def served(
    m365: Simulation, azurite: Azurite, home: Path, *words: str, start: bool = True, **settings: str
) -> Iterator[Served]:
    """The app, running. `settings` on top of the service's own."""
    master_key = base64.b64encode(secrets.token_bytes(32)).decode()
    container = f"served-{secrets.token_hex(6)}"
    own = {
        **m365.service_environment(),
        "DRIVEKEEP_STORAGE": azurite.connection_string,
        "AzureWebJobsStorage": azurite.connection_string,
        "DRIVEKEEP_CONTAINER": container,
        "DRIVEKEEP_MASTER_KEY": master_key,
        "DRIVEKEEP_API_KEY": API_KEY,
        "DRIVEKEEP_SERVE_KEY": SERVE_KEY,
        **settings,
    }
    home.mkdir(parents=True, exist_ok=True)
    app = Served(m365, CommandLine(home, own), container, master_key, words)
    if start:
        app.start()
    try:
        yield app
    finally:
        if app.process is not None and app.process.poll() is None:
            app.stop()


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
