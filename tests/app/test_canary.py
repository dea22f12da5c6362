"""A scan for what must not come out: after a whole story with troubles, nothing that opens a door and nothing of
anybody's files lies in clear in the log, the registry, the storage, the histories or the pages.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import requests
from azure.data.tables import TableServiceClient
from azure.storage.blob import ContainerClient
from support.hosted import HopClock, Hosted, hosted
from support.served import API_KEY, SERVE_KEY, served

from backup_core.backup import batches
from backup_core.registry import keys
from backup_core.registry.table import Delete
from backup_core.service.service import table_name
from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation, Status

FOLDER, FILE, CONTENT, PERSON = "canaryfolder-71c2", "canaryfile-90ab", "canarycontent-55de", "Canaryname-13f7"
OF_FILES = (FOLDER, FILE, CONTENT)
LEAKED = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL2dyYXBoIn0.bGVha2VkIHNpZ25hdHVyZQ"
LEAKY = f"token {LEAKED} refused at https://contoso-my.sharepoint.com/{FOLDER}/{FILE}?tempauth=v1.leaked.leaked"
SHORTEST = 12  # shorter words of a query are no credentials


class Canaries:
    """Every credential that was in use until now, each in the forms in which it may be written."""

    def __init__(self, app: Hosted, azurite: Azurite) -> None:
        self._app, self._azurite = app, azurite
        self.codes: set[str] = set()

    def secrets(self) -> set[str]:
        app, book = self._app, self._app.m365.tokens
        found = {
            app.m365.client_secret,
            app.master_key,
            API_KEY,
            SERVE_KEY,
            self._azurite.account_key,
            LEAKED,
            "v1.leaked",
        }
        found |= {base64.b64decode(app.master_key).hex(), *self.codes}
        found |= {part for token in book._access for part in (token, token.split(".")[-1])}
        found |= {part for token in book._refresh for part in (token, token.split(".")[-1])}
        for entry in app.m365.log:
            for name, value in parse_qsl(entry.query):
                if name in ("tempauth", "token", "$skiptoken", "$deltatoken", "deltatoken"):
                    found |= {value, value.split(".")[-1]}
        for tenant in app.service.registry.tenants.page(None, 10):
            for account in app.service.registry.accounts.page(tenant.id, None, 100):
                found |= {*app.service.master.repository_passwords(tenant.id, account.id)}
        return {each for each in found if len(each) > SHORTEST}

    def assert_none_in(self, held: str | bytes, where: str, *also: str) -> None:
        """`also`: what else must not be there. Escaped forms count as the thing itself."""
        text = held.decode("latin-1") if isinstance(held, bytes) else held
        forms = {text, unquote(text), text.replace("\\/", "/")}
        for canary in (*self.secrets(), *also):
            assert not any(canary in form for form in forms), f"{where} holds {canary[:24]}"


@pytest.fixture
def story(azurite: Azurite, tmp_path: Path) -> Iterator[tuple[Hosted, Canaries, list[requests.Response]]]:
    """An app that has lived through all of it, and every answer that a browser got."""
    clock = HopClock()
    with Simulation(users=3, clock=clock) as m365:
        furnish(m365)
        with hosted(m365, tmp_path / "home", clock, azurite) as app:
            canaries = Canaries(app, azurite)
            pages = [app.onboard()]
            app.enrolled(m365.tenant.id, 3)
            m365.authorize.user = m365.add_personal().users[0]
            pages.append(app.connect())
            live_through(app)
            pages += [app.call("GET", "/"), app.call("GET", "/onboard"), app.call("GET", "/connect")]
            answers = [each for page in pages for each in (*page.history, page)]
            for answer in answers:
                query = dict(parse_qsl(urlsplit(answer.headers.get("Location", "")).query))
                canaries.codes |= {query["code"]} if "code" in query else set()
            yield app, canaries, answers


def furnish(m365: Simulation) -> None:
    for user in m365.users:
        user.entry.display_name = f"{PERSON} {user.upn[:3]}"
        for number in range(8):
            user.drive.put_file(f"/{FOLDER}/{FILE} {number}.txt", f"{CONTENT} {number} {user.upn}".encode() * 20)
        user.drive.set_malware(f"/{FOLDER}/{FILE} 0.txt")
        user.drive.set_locked(f"/{FOLDER}/{FILE} 1.txt")


def live_through(app: Hosted) -> None:
    """Failing files, throttling, refused tokens, a store of errors, and a person whose sign-in is revoked."""
    m365, tenant = app.m365, app.m365.tenant.id
    personal = m365.tenants[1]
    personal.users[0].drive.put_file(f"/{FILE}.txt", CONTENT.encode())
    told = {"error": {"code": "generalException", "message": LEAKY}}
    m365.faults.add("GET content", Status(403, told), times=2)
    m365.faults.add("GET graph .*/delta", Status(429, told, {"Retry-After": "1200"}))
    m365.faults.add("GET graph .*/delta", Status(500, LEAKY), times=2)
    m365.faults.add("GET graph .*/items/", Status(401, told), nth=3)
    app.run_of_tick(tenant)
    app.hop(1300)
    app.run_of_tick(tenant)
    app.settle()
    (run,) = app.items(f"/api/runs?tenant={personal.id}")
    app.ended(run["id"])

    m365.tokens.revoke_refresh(personal.users[0].id)
    m365.tokens.revoke_access()
    m365.faults.add("GET graph .*/users/", Status(403, told))
    m365.faults.add("POST login", Status(400, {"error": "invalid_grant", "error_description": LEAKY}))
    for user in m365.users:
        user.drive.put_file(f"/{FOLDER}/{FILE} later.txt", CONTENT.encode())
    app.ended(app.ask_run(tenant=tenant)["id"])
    refused = app.ended(app.ask_run(tenant=personal.id, account=personal.users[0].id)["id"])
    assert refused["results"][0]["error"]["reason"] == "sign-in-again"
    app.settle()
    m365.faults.clear()


def everything_of_table(app: Hosted, azurite: Azurite) -> str:
    with TableServiceClient.from_connection_string(azurite.connection_string) as service:
        rows = list(service.get_table_client(table_name(app.container)).list_entities())
    assert len(rows) > 10
    return json.dumps(rows, default=str)


def blobs(app: Hosted, azurite: Azurite) -> dict[str, bytes]:
    with ContainerClient.from_connection_string(azurite.connection_string, app.container) as container:
        return {name: container.download_blob(name).readall() for name in container.list_blob_names()}


def test_nothing_comes_out(
    story: tuple[Hosted, Canaries, list[requests.Response]], azurite: Azurite, tmp_path: Path
) -> None:
    """Neither from a process that lives through all troubles, nor from one that is killed and comes back."""
    app, canaries, answers = story
    assert len(canaries.secrets()) > 30, "the scan has found too little to look for"
    assert canaries.codes
    files_are_known_to_operators(app)
    canaries.assert_none_in(app.histories(), "a history", *OF_FILES, PERSON)
    ours = [answer for answer in answers if answer.url.startswith(app.url)]
    assert len(ours) > len(answers) / 2
    for answer in ours:
        canaries.assert_none_in(answer.text, answer.url.partition("?")[0], *OF_FILES)
        canaries.assert_none_in(str(answer.headers), "an answer's headers", *OF_FILES)
    assert_stored_is_sealed(app, canaries, azurite)
    canaries.assert_none_in(app.log.read_text(), "the log", *OF_FILES, PERSON)

    forget_pause(app)
    own = {"DRIVEKEEP_MASTER_KEY": app.master_key, "DRIVEKEEP_CONTAINER": app.container}
    with served(app.m365, azurite, tmp_path / "killed", "-v", "-v", **own) as again:
        logs = [again.log]
        asked = again.ask_run(tenant=app.m365.tenant.id, source="onedrive")
        again.kill()
        again.start()
        logs.append(again.log)
        again.tick()
        again.ended(asked["id"])
    assert_stored_is_sealed(app, canaries, azurite)
    for log in logs:
        assert log.read_text()
        canaries.assert_none_in(log.read_text(), "serve's log", *OF_FILES, PERSON)


def forget_pause(app: Hosted) -> None:
    """The clock of a process that comes now has not jumped over Microsoft's pause, as the first one's has."""
    app.service.registry.table.transact(keys.part(app.m365.tenant.id), [Delete(keys.THROTTLE, None)])


def assert_stored_is_sealed(app: Hosted, canaries: Canaries, azurite: Azurite) -> None:
    """People's names are in the registry, as they must be, and nowhere else."""
    canaries.assert_none_in(everything_of_table(app, azurite), "the registry", *OF_FILES)
    for name, data in blobs(app, azurite).items():
        canaries.assert_none_in(name, "a blob's name", *OF_FILES, PERSON)
        canaries.assert_none_in(data, name, *OF_FILES, PERSON)


def files_are_known_to_operators(app: Hosted) -> None:
    """Otherwise the scan would look for what was never there: the API tells operators which files failed."""
    runs = app.items(f"/api/runs?tenant={app.m365.tenant.id}")
    results = [result for run in runs for result in app.get(f"/api/runs/{run['id']}")["results"]]
    failed = [item for each in results for item in (each["summary"] or {"items_failed": []})["items_failed"]]
    assert {"malware", "locked"} <= {item["reason"] for item in failed}
    assert any(FILE in item["path"] for item in failed)


def test_unexpected_error_tells_where_and_not_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an error says that nobody has foreseen may be anything: log and history get its kind and its place alone."""

    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError(LEAKY)

    monkeypatch.setattr(batches, "save_content", broken)
    clock = HopClock()
    with Simulation(clock=clock) as m365, hosted(m365, tmp_path, clock) as app:
        m365.users[0].drive.put_file(f"/{FOLDER}/{FILE}.txt", b"x")
        app.onboard()
        app.enrolled(m365.tenant.id, 1)
        run = app.run_of_tick(m365.tenant.id)
        assert run["results"][0]["error"]["reason"] == "internal"
        said = app.log.read_text()
        assert "ValueError" in said and "batches.py" in said
        for canary in (LEAKED, *OF_FILES, "tempauth"):
            assert canary not in said
            assert canary not in app.histories()
            assert canary not in json.dumps(run)
