"""The verb `simulate`, run as a user runs it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest
import requests

from backup_core.cli import main

ROOT = Path(__file__).parents[2]


@contextmanager
def _running(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
    }
    command = [sys.executable, "-m", "backup_core.cli.main", "simulate", *words]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def _exports(process: subprocess.Popen[str]) -> dict[str, str]:
    """The lines up to the password, as a shell would take them."""
    settings: dict[str, str] = {}
    while "DRIVEKEEP_PASSWORD" not in settings:
        line = _line(process.stdout)
        word, assignment = shlex.split(line)
        assert word == "export"
        name, _, value = assignment.partition("=")
        settings[name] = value
    return settings


def _get(url: str, token: str, ca_file: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, headers={"Authorization": f"Bearer {token}"}, verify=ca_file, timeout=20)


def test_json_is_one_line_with_everything(tmp_path: Path) -> None:
    """The line has exactly the promised keys, its values work at once, and SIGTERM ends it with 0 and no file left."""
    shown = tmp_path / "shown"
    (shown / "sub").mkdir(parents=True)
    (shown / "sub/ä b.txt").write_bytes(b"from the folder")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with _running(scratch, "--json", "--users", "2", "--folder", str(shown)) as process:
        said = json.loads(_line(process.stdout))
        assert list(said) == [
            "graph_url",
            "authority_url",
            "content_url",
            "proxy_url",
            "ca_file",
            "tenant",
            "client_id",
            "client_secret",
            "users",
        ]
        assert list(said["tenant"]) == ["id", "domain"]
        assert [list(user) for user in said["users"]] == [
            ["upn", "id", "drive_id", "access_token", "refresh_token"]
        ] * 2
        user = said["users"][0]
        link = f"{said['graph_url']}/v1.0/drives/{user['drive_id']}/root:/sub/%C3%A4%20b.txt"
        item = _get(link, user["access_token"], said["ca_file"]).json()
        assert (item["name"], item["size"]) == ("ä b.txt", 15)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, "")
    assert list(scratch.iterdir()) == []


def test_a_person_gets_lines_to_paste(tmp_path: Path) -> None:
    """stdout is nothing but export lines; the words on stderr say that it is a test tool; Ctrl-C ends it with 130."""
    with _running(tmp_path) as process:
        settings = _exports(process)
        assert set(settings) == {
            "DRIVEKEEP_GRAPH_URL",
            "DRIVEKEEP_AUTHORITY_URL",
            "DRIVEKEEP_ALLOWED_HOSTS",
            "REQUESTS_CA_BUNDLE",
            "DRIVEKEEP_CLIENT_ID",
            "DRIVEKEEP_CLIENT_SECRET",
            "ONEDRIVE_TOKEN_FILE",
            "DRIVEKEEP_REPOSITORY",
            "DRIVEKEEP_PASSWORD",
        }
        token_file = Path(settings["ONEDRIVE_TOKEN_FILE"])
        assert token_file.stat().st_mode & 0o777 == 0o600
        assert list(json.loads(token_file.read_text())) == ["refresh_token"]
        Path(settings["DRIVEKEEP_REPOSITORY"]).mkdir(parents=True)  # as a backup in the other window does
        process.send_signal(signal.SIGINT)
        rest, words = process.communicate(timeout=20)
    assert (process.returncode, rest) == (130, "")
    assert "test tool" in words
    assert list(tmp_path.iterdir()) == []


def test_ports_follow_the_one_that_is_given(tmp_path: Path) -> None:
    """Graph, sign-in, content, proxy and the managed identity take five ports in a row; a taken one is explained."""
    with _running(tmp_path, "--json") as finder:
        port = urlsplit(json.loads(_line(finder.stdout))["graph_url"]).port or 0
        with _running(tmp_path, "--json", "--port", str(port)) as refused:
            answer, words = refused.communicate(timeout=20)
        assert refused.returncode == 1
        assert json.loads(answer)["remedy"].startswith("Choose another --port")
        assert f"ports from {port}" in words
    wanted = 20_000 + os.getpid() % 20_000
    for _ in range(20):
        with _running(tmp_path, "--json", "--port", str(wanted)) as process:
            said = json.loads(_line(process.stdout))
            if "graph_url" in said:
                urls = (said["graph_url"], said["authority_url"], said["content_url"], said["proxy_url"])
                assert [urlsplit(url).port for url in urls] == [wanted, wanted + 1, wanted + 2, wanted + 3]
                return
        wanted += 50
    pytest.fail("no five free ports in a row")


def test_further_tenants_have_not_consented(tmp_path: Path) -> None:
    """`--tenants` adds organisations with users of their own, which the app enters after a visit to the page."""
    with _running(tmp_path, "--json", "--tenants", "2", "--users", "2") as process:
        said = json.loads(_line(process.stdout))
        [other] = said["tenants"]
        form = {
            "grant_type": "client_credentials",
            "client_id": said["client_id"],
            "client_secret": said["client_secret"],
            "scope": "https://graph.microsoft.com/.default",
        }
        with requests.Session() as session:
            session.trust_env, session.verify = False, said["ca_file"]
            token = f"{said['authority_url']}/{other['id']}/oauth2/v2.0/token"
            before = session.post(token, data=form, timeout=20).status_code
            query = {"client_id": said["client_id"], "scope": form["scope"], "redirect_uri": "http://localhost:1/back"}
            page = f"{said['authority_url']}/organizations/v2.0/adminconsent"
            back = session.get(page, params=query, allow_redirects=False, timeout=20).headers["location"]
            after = session.post(token, data=form, timeout=20).json()
            users = session.get(
                f"{said['graph_url']}/v1.0/users",
                headers={"Authorization": f"Bearer {after['access_token']}"},
                timeout=20,
            ).json()["value"]
    assert (before, f"tenant={other['id']}" in back) == (400, True)
    assert [user["id"] for user in users] == [user["id"] for user in other["users"]]
    assert not {user["id"] for user in users} & {user["id"] for user in said["users"]}


def test_a_personal_account_is_simulated(tmp_path: Path) -> None:
    """`--personal` gives personal ids in the tenant of all personal accounts."""
    with _running(tmp_path, "--json", "--personal") as process:
        said = json.loads(_line(process.stdout))
    assert said["tenant"]["id"] == "9188040d-6c67-4c5b-b112-36a304b66dad"
    assert re.fullmatch("[0-9a-f]{16}", said["users"][0]["drive_id"])


@pytest.mark.parametrize(
    "words",
    [
        ["--users", "0"],
        ["--tenants", "0"],
        ["--port", "65532"],
        ["--port", "-1"],
        ["--folder", "/nowhere/at/all"],
        ["--folder", __file__],
    ],
)
def test_what_cannot_be_simulated_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option is explained with a remedy and exit code 2, before anything starts."""
    assert main.main(["simulate", "--json", *words]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert (answer["message_type"], answer["reason"]) == ("error", "usage")
    assert answer["remedy"]


def test_it_is_ready_soon(tmp_path: Path) -> None:
    """Nobody waits long for a simulation: a whole process is serving within seconds, on a slow machine too."""
    started = time.monotonic()
    with _running(tmp_path, "--json", "--users", "500") as process:
        assert len(json.loads(_line(process.stdout))["users"]) == 500
    assert time.monotonic() - started < 20
