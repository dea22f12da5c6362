"""Nothing that opens a door is said, logged, named or stored in clear: a scan for every credential that was in use."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

import pytest
from support.commands import CommandLine, Ran, finished
from support.places import Place

from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.faults import Alter, Close, Fault, Reset, Status, Truncate
from backup_core.testing.m365.wire import Response

PASSWORD = "correct horse battery staple"
LEAKY = (
    "token eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL2dyYXBoIn0.c2lnbmF0dXJl refused at"
    " https://contoso-my.sharepoint.com/download.aspx?tempauth=v1.leaked.leaked"
)
ITEM = r"GET graph .*/items/[^/]+\?"  # of one file, before its content is asked for
TOO_SHORT = 12  # shorter words of a query are no credentials (`$top=999`)


class Secrets:
    """Every credential that the simulation has given out or seen, and those of the settings."""

    def __init__(self, m365: Simulation, settings: dict[str, str]) -> None:
        self._m365, self._settings = m365, settings

    def all(self) -> set[str]:
        book = self._m365.tokens
        found = {PASSWORD, self._m365.client_secret, *book._access, *book._refresh}
        found |= {token.split(".")[-1] for token in book._access}  # the signature alone is as telling
        connection = self._settings.get("AZURE_STORAGE_CONNECTION_STRING", "")
        found |= set(re.findall(r"AccountKey=([^;]+)", connection))
        for entry in self._m365.log:
            for name, value in parse_qsl(entry.query):
                if name in ("tempauth", "token", "$skiptoken", "$deltatoken", "deltatoken") and len(value) > TOO_SHORT:
                    found |= {value, value.split(".")[-1]}
        return {each for each in found if len(each) > TOO_SHORT}

    def assert_none_in(self, data: bytes | str, where: str) -> None:
        held = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        leaked = [each for each in self.all() if each.encode() in held]
        assert not leaked, f"{where} holds a credential"
        assert b"tempauth" not in held and b"Bearer " not in held, where


class Scene(NamedTuple):
    m365: Simulation
    place: Place
    command: CommandLine
    secrets: Secrets


@pytest.fixture
def scene(place: Place, home: Path) -> Iterator[Scene]:
    with Simulation() as m365:
        for number in range(12):
            m365.users[0].drive.put_file(f"/Folder/{number}.txt", b"content of file %d" % number)
        m365.switches.page_size = 4
        settings = {**m365.environment(), **place.settings}
        settings |= {"DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": PASSWORD}
        settings |= {"DRIVEKEEP_CLIENT_SECRET": m365.client_secret, "DRIVEKEEP_TENANT": m365.tenant.id}
        settings["DRIVEKEEP_HTTP_RETRIES"] = "0"
        yield Scene(m365, place, CommandLine(home, settings), Secrets(m365, settings))


def assert_silent(scene: Scene, ran: Ran, where: str) -> None:
    scene.secrets.assert_none_in(ran.out, f"stdout of {where}")
    scene.secrets.assert_none_in(ran.err, f"stderr of {where}")


def test_nothing_is_said_or_stored_in_clear(scene: Scene, tmp_path: Path) -> None:
    """Every command at -v -v, in words and in JSON, is silent about credentials; no object's name or bytes, and no file
    beside the token file, holds one.
    """
    user = scene.m365.users[0]
    commands: list[list[object]] = [
        ["backup", "-v", "-v"],
        ["backup", "--json", "-v", "-v", "--account", user.upn],
        ["backup", "-source", "onedrive", "-v", "-v", "-dry-run"],
        ["config", "show"],
        ["config", "show", "--json"],
        ["snapshots", "-v", "-v"],
        ["ls", "latest", "-v", "-v", "--json"],
        ["restore", "latest", "--target", tmp_path / "out", "-v", "-v"],
        ["unlock", "-v", "-v"],
        ["check", "--read-data", "-v", "-v"],
        ["backup", "-v", "-v", "--json"],
    ]
    for turn, words in enumerate(commands):
        scene.m365.users[0].drive.put_file("/Folder/0.txt", b"turn %d" % turn)
        ran = scene.command.run(*words)
        assert ran.code == 0, ran.err
        assert_silent(scene, ran, " ".join(map(str, words)))
    assert len(scene.secrets.all()) > 20, "the scan has found too little to look for"

    for name, data in scene.place.objects().items():
        scene.secrets.assert_none_in(name, "an object's name")
        scene.secrets.assert_none_in(data, name)
    for path in scene.command.home.rglob("*"):
        if path.is_file():
            scene.secrets.assert_none_in(path.read_bytes(), str(path))
    token_file = Path(scene.command.settings["ONEDRIVE_TOKEN_FILE"])
    assert token_file.stat().st_mode & 0o777 == 0o600


FAULTS: dict[str, tuple[str, Fault]] = {
    "graph-says-it": ("GET graph .*/delta", Status(403, {"error": {"code": "x", "message": LEAKY}})),
    "graph-says-it-as-text": ("GET graph", Status(400, LEAKY)),
    "content-says-it": ("GET content", Status(403, {"error": {"code": "accessDenied", "message": LEAKY}})),
    "content-resets": ("GET content", Reset(after=3)),
    "content-truncates": ("GET content", Truncate(after=1)),
    "content-closes": ("GET content", Close()),
    "graph-closes": ("GET graph .*/delta", Close()),  # its address holds the stored position
    "graph-resets": ("GET graph .*/delta", Reset(after=3)),
    "graph-500": ("GET graph .*/delta", Status(500, LEAKY)),
    "sign-in-says-it": ("POST login", Status(400, {"error": "invalid_grant", "error_description": LEAKY})),
    "sign-in-500": ("POST login", Status(500, LEAKY)),
    "no-json": ("GET graph .*/delta", Status(200, LEAKY)),
    "refused-token": ("GET graph", Status(401, {"error": {"code": "InvalidAuthenticationToken", "message": LEAKY}})),
    "foreign-link": (ITEM, Alter(lambda r: _linked(r, b"https://evil.example/?tempauth=v1.a.b"))),
    "broken-link": (ITEM, Alter(lambda r: _linked(r, b"https://[::1/?tempauth=v1.a.b"))),
    "nobody-there": (ITEM, Alter(lambda r: _linked(r, b"https://127.0.0.1:9/?tempauth=v1.a.b"))),
}


def _linked(response: Response, link: bytes) -> Response:
    """The answer with another download link."""
    pattern = rb'(downloadUrl": ?")[^"]*'
    response.body = re.sub(pattern, lambda found: found[1] + link, response.body)
    return response


@pytest.mark.parametrize("place", ["local"], indirect=True)
@pytest.mark.parametrize(("match", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_no_failure_tells_a_secret(match: str, fault: Fault, scene: Scene) -> None:
    """Whatever goes wrong, and whatever the other side's own error text says, no credential comes out, at -v -v too."""
    scene.command.ok("backup")
    scene.m365.users[0].drive.put_file("/Folder/0.txt", b"changed")
    scene.m365.faults.add(match, fault, times=None)
    ran = scene.command.run("backup", "--json", "-v", "-v")
    assert ran.code in (1, 3, 5, 13), ran.err
    assert_silent(scene, ran, f"a backup against {match}")
    for word in ("leaked", "eyJ0eXAi", "v1.a.b"):
        assert word not in ran.out + ran.err
    for name, data in scene.place.objects().items():
        scene.secrets.assert_none_in(data, name)


def test_no_secret_in_the_list_of_processes(scene: Scene) -> None:
    """While it runs, its command line and the files it has open tell other users of the machine nothing."""
    arrived, leave = threading.Event(), threading.Event()

    def hold(response: Response) -> Response:
        arrived.set()
        leave.wait(20)
        return response

    scene.m365.faults.add("GET graph .*/delta", Alter(hold))
    process = scene.command.start("backup", "--json")
    assert arrived.wait(30)
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    opened = [str(each.resolve()) for each in Path(f"/proc/{process.pid}/fd").iterdir()]
    leave.set()
    assert finished(process).code == 0
    scene.secrets.assert_none_in(shown, "the command line")
    assert not [path for path in opened if path.startswith(str(scene.command.home)) and "deleted" not in path]
