"""Links that lead elsewhere: a token goes to Graph alone, foreign hosts are not asked, and the run says so."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import CommandLine
from support.places import LocalPlace

from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.faults import Alter
from backup_core.testing.m365.wire import Response

PASSWORD = "foreign links"
FILES = 10
ITEM = r"GET graph .*/items/[^/]+\?"  # of one file, before its content is asked for


class Trap:
    """Somebody who listens at a port of this machine, under all its names, and counts who comes."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("", 0), backlog=50)
        self.port = self._socket.getsockname()[1]
        self.caught = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.caught += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.close()


@pytest.fixture
def m365() -> Iterator[Simulation]:
    with Simulation() as simulation:
        simulation.switches.page_size = 3
        for number in range(FILES):
            simulation.users[0].drive.put_file(f"/Folder/{number}.txt", b"content %d" % number)
        yield simulation


@pytest.fixture
def command(m365: Simulation, tmp_path: Path, home: Path) -> CommandLine:
    where = {"DRIVEKEEP_REPOSITORY": str(tmp_path / "repository"), "DRIVEKEEP_PASSWORD": PASSWORD}
    return CommandLine(home, {**m365.environment(), **where, "DRIVEKEEP_HTTP_RETRIES": "1"})


def answering(key: str, link: str) -> Callable[[Response], Response]:
    """Puts a link in the place of the one under a key of the answer; its own path and query stay."""

    def change(response: Response) -> Response:
        document: dict[str, Any] = json.loads(response.body)
        if key in document:
            document[key] = re.sub(r"^https://[^/]+", lambda _: link, document[key])
        return Response.of_json(document, response.status, response.headers)

    return change


def redirecting(link: str) -> Callable[[Response], Response]:
    return lambda _: Response(302, {"location": f"{link}/elsewhere?tempauth=v1.x.y"})


GRAPH_LINKS = [
    "https://127.0.0.2:{trap}",
    "https://localhost:{trap}",  # Graph's host, and another port of it
    "http://localhost:{graph}",  # without TLS
    "https://localhost:{graph}@127.0.0.2:{trap}",
    "https://127.0.0.1:{content}",  # the content host: a token must not go there either
    "https://localhost.evil.example:{graph}",
    "//127.0.0.2:{trap}",
]


@pytest.mark.parametrize(("key", "page_size"), [("@odata.nextLink", 3), ("@odata.deltaLink", 200)])
def test_a_foreign_page_is_not_asked_for(
    key: str, page_size: int, m365: Simulation, command: CommandLine, trap: Trap, tmp_path: Path
) -> None:
    """A next link or a stored position that leads to another scheme, host or port gets no request and no token."""
    m365.switches.page_size = page_size
    ports = {"trap": trap.port, "graph": m365.graph_url.split(":")[2], "content": m365.content_url.split(":")[2]}
    for link in GRAPH_LINKS:
        m365.faults.add("GET graph .*/delta", Alter(answering(key, link.format(**ports))), times=None)
        ran = command.run("backup", "--json")
        m365.faults.clear()
        assert (ran.code, ran.last["reason"]) == (1, "foreign-link"), (link, ran.err)
        assert "not followed" in ran.err and ran.last["remedy"]
    assert trap.caught == 0
    assert m365.log.of("content") == []
    assert not [name for name in LocalPlace(tmp_path / "repository").names() if name.startswith("snapshots/")]
    assert command.ok("backup")["complete"]


CONTENT_LINKS = [
    "https://127.0.0.2:{trap}",
    "https://localhost:{trap}",
    "http://127.0.0.1:{trap}",
    "https://127.0.0.1:{content}@127.0.0.2:{trap}",
    "https://127.0.0.1.evil.example:{trap}",
    "https://sharepoint.com.evil.example",
    "file:///etc/passwd?",
    "https://[::ffff:127.0.0.2]:{trap}",
]


@pytest.mark.parametrize("way", ["downloadUrl", "Location"])
def test_content_of_a_foreign_host_is_not_fetched(way: str, m365: Simulation, command: CommandLine, trap: Trap) -> None:
    """A download link, or a redirect of the content host, to a host that is not allowed is not followed: those files
    are `download-failed`, the others are saved, and the next run has all of them.
    """
    ports = {"trap": trap.port, "content": m365.content_url.split(":")[2]}
    for link in CONTENT_LINKS:
        target = link.format(**ports)
        if way == "downloadUrl":
            m365.faults.add(ITEM, Alter(answering("@microsoft.graph.downloadUrl", target)))
        else:
            m365.faults.add("GET content", Alter(redirecting(target)))
    ran = command.run("backup", "--json")
    assert (ran.code, ran.last["complete"]) == (3, False), ran.err
    assert [item["reason"] for item in ran.last["items_failed"]] == ["download-failed"] * len(CONTENT_LINKS)
    assert ran.last["files_new"] == FILES - len(CONTENT_LINKS)
    assert trap.caught == 0
    assert "v1.x.y" not in ran.out + ran.err
    assert command.ok("backup")["complete"]


def test_redirects_within_the_content_host_are_followed(m365: Simulation, command: CommandLine) -> None:
    """An allowed host may redirect to an allowed host, and no token goes along."""

    def around(response: Response) -> Response:
        return Response(307, {"location": f"{m365.content_url}{path}"})

    command.ok("backup", "-dry-run")
    drive = m365.users[0].drive
    from backup_core.testing.m365.download_urls import DownloadUrls

    urls = DownloadUrls(m365.content_url, m365.directory.url_key, m365.clock.now(), 3600)
    path = urls.url(drive, drive.item("/Folder/0.txt")).removeprefix(m365.content_url)
    for other in range(1, FILES):
        drive.delete(f"/Folder/{other}.txt")
    m365.faults.add("GET content", Alter(around))
    assert command.ok("backup")["files_new"] == 1
    assert [entry.status for entry in m365.log.of("content")] == [307, 200]


def test_a_token_goes_to_graph_alone(m365: Simulation, command: CommandLine, tmp_path: Path) -> None:
    """Over a first run, a delta, a scan and a run with expired links: no other origin has seen an Authorization header
    or a cookie, and Graph has seen no request without one.
    """
    command.ok("backup")
    m365.users[0].drive.put_file("/Folder/0.txt", b"changed")
    command.ok("backup")
    m365.users[0].drive.put_file("/Folder/1.txt", b"changed")
    m365.switches.expire_positions()
    command.ok("backup")
    m365.users[0].drive.put_file("/Folder/2.txt", b"changed")
    command.ok("backup", "-source", "onedrive")
    seen = {origin: [set(entry.headers) for entry in m365.log.of(origin)] for origin in ("graph", "login", "content")}  # type: ignore[arg-type]
    assert all(seen.values())
    assert all("authorization" in headers for headers in seen["graph"])
    for origin in ("login", "content"):
        assert not [headers for headers in seen[origin] if headers & {"authorization", "cookie"}]
