"""What goes wrong on the way, as the network and Microsoft do it; each costs time, and nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.commands import CommandLine
from support.places import AzuritePlace, LocalPlace, Place

from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.faults import Alter, Close, Fault, Reset, Slow, Status, Truncate, WithoutLength
from backup_core.testing.m365.wire import Response
from backup_core.testing.restored_folder import compare

BUSY = {"error": {"code": "activityLimitReached", "message": "The request has been throttled"}}


class Mishap(NamedTuple):
    """`match` and `fault`: as a fault plan has them. `waits`: seconds of throttling that the summary must show."""

    match: str
    fault: Fault
    nth: int = 1
    times: int = 1
    waits: float = 0.0


def _only_a_page(response: Response) -> Response:
    return Response(200, {"content-type": "text/html"}, b"<html>Sign in to this airport's network</html>")


MISHAPS = {
    "throttled-feed": Mishap("GET graph .*/delta", Status(429, BUSY, {"Retry-After": "1"}), nth=2, waits=0.9),
    "throttled-item": Mishap("GET graph .*/items/", Status(429, BUSY, {"Retry-After": "1.5"}), nth=3, waits=1.4),
    "throttled-content": Mishap("GET content", Status(429, b"", {"Retry-After": "1"}), nth=2, times=2, waits=0.9),
    "throttled-sign-in": Mishap("POST login", Status(429, b"", {"Retry-After": "1"})),
    "busy": Mishap("GET graph .*/delta", Status(503, b"", {"Retry-After": "1"}), waits=0.9),
    "server-error": Mishap("GET graph", Status(502, "<html>Bad gateway</html>"), nth=2),
    "reset-in-a-body": Mishap("GET content", Reset(after=700_000)),
    "reset-twice": Mishap("GET content", Reset(after=300_000), times=2),
    "truncated-body": Mishap("GET content", Truncate(after=1_000_000)),
    "truncated-by-one-byte": Mishap("GET content", Truncate(after=-1)),
    "cut-without-length": Mishap("GET content", WithoutLength(after=900_000)),
    "closed-without-a-word": Mishap("GET (graph|content)", Close(), nth=4, times=2),
    "truncated-page": Mishap("GET graph .*/delta", Truncate(after=-7), nth=2),
    "page-without-length": Mishap("GET graph .*/delta", WithoutLength(after=100), nth=1),
    "airport": Mishap("GET graph .*/delta", Alter(_only_a_page), nth=2),
    "airport-for-content": Mishap("GET content", Alter(_only_a_page)),
    "refused-once": Mishap("GET graph", Status(401, {"error": {"code": "InvalidAuthenticationToken"}}), nth=3),
    "odd-refusal": Mishap("GET graph .*/delta", Status(400, {"error": {"code": "invalidRequest"}})),
    "slow": Mishap("GET content", Slow(0.5, after=10_000)),
}


@pytest.fixture(scope="module")
def m365() -> Iterator[Simulation]:
    with Simulation() as simulation:
        simulation.switches.page_size = 3
        furnish(simulation.users[0].drive)
        yield simulation


def furnish(drive: Drive) -> None:
    for number in range(3):
        drive.put_synthetic(f"/Films/{number}.bin", 1_200_000 + number, number)  # nothing is smaller than a cut
    drive.make_folder("/Nothing/here")


@pytest.fixture
def disturb(m365: Simulation, home: Path, tmp_path: Path) -> Iterator[Callable[[list[Mishap], Place], None]]:
    def run(mishaps: list[Mishap], place: Place) -> None:
        for each in mishaps:
            m365.faults.add(each.match, each.fault, nth=each.nth, times=each.times)
        where = {"DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": "mishap"}
        command = CommandLine(home, {**m365.environment(), **place.settings, **where})
        summary = command.ok("backup")
        m365.faults.clear()  # fails where one of them has not come
        assert (summary["complete"], summary["files_new"], summary["items_failed"]) == (True, 3, [])
        assert summary["throttled_seconds"] >= max(each.waits for each in mishaps)
        command.ok("restore", "latest", "--target", tmp_path / "out")
        assert compare(tmp_path / "out", m365.users[0].drive.snapshot()).differences == []

    yield run


USUAL = ("throttled-feed", "throttled-content", "reset-in-a-body", "truncated-body", "cut-without-length", "airport")


@pytest.mark.parametrize(
    "mishap",
    [
        pytest.param(mishap, id=name, marks=[] if name in USUAL else pytest.mark.soak)
        for name, mishap in MISHAPS.items()
    ],
)
def test_a_mishap_is_lived_through(
    mishap: Mishap, disturb: Callable[[list[Mishap], Place], None], tmp_path: Path
) -> None:
    """The run ends with 0, complete, and every byte is there."""
    disturb([mishap], LocalPlace(tmp_path / "repository"))


def test_all_at_once(disturb: Callable[[list[Mishap], Place], None], azurite: Azurite) -> None:
    """So it does where many things go wrong in one run, into Azure."""
    names = ("throttled-feed", "reset-in-a-body", "truncated-body", "refused-once", "truncated-page")
    disturb([MISHAPS[name] for name in names], AzuritePlace(azurite))


def test_download_links_that_expire(m365: Simulation, home: Path, tmp_path: Path) -> None:
    """A link that has expired by the time it is used is fetched anew, as often as one file needs it."""
    with Simulation() as expiring:
        drive = expiring.users[0].drive
        furnish(drive)
        expiring.switches.download_url_seconds = 1
        expiring.faults.add("GET content", Slow(2.1), times=3)
        place = LocalPlace(tmp_path / "repository")
        where = {"DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": "mishap"}
        command = CommandLine(home, {**expiring.environment(), **where})
        summary = command.ok("backup")
        assert [each.status for each in expiring.log.of("content")].count(401) == 3
        assert (summary["complete"], summary["files_new"]) == (True, 3)
        command.ok("restore", "latest", "--target", tmp_path / "out")
        assert compare(tmp_path / "out", drive.snapshot()).differences == []


def test_tokens_that_are_revoked_on_the_way(home: Path, tmp_path: Path) -> None:
    """An access token that ends in the middle of a run is renewed, and no request is lost for it."""
    with Simulation() as m365:
        furnish(m365.users[0].drive)

        def revoke(response: Response) -> Response:
            m365.tokens.revoke_access()
            return response

        m365.faults.add("GET graph .*/delta", Alter(revoke))
        m365.faults.add("GET graph .*/items/", Alter(revoke))
        where = {"DRIVEKEEP_REPOSITORY": str(tmp_path / "repository"), "DRIVEKEEP_PASSWORD": "mishap"}
        summary = CommandLine(home, {**m365.environment(), **where}).ok("backup")
        assert (summary["complete"], summary["files_new"]) == (True, 3)
        assert len(m365.log.of("login")) >= 2
