"""The demo's second part, with an app that only pretends: an honest one is believed, and every lie is noticed."""

import contextlib
import copy
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from backup_core.cli.demo import organisation as part
from backup_core.cli.demo.app import Hop, Page
from backup_core.cli.demo.organisation import WholeOrganisation
from backup_core.cli.demo.stage import Stage
from backup_core.cli.demo.story import Story
from backup_core.cli.output import Output
from backup_core.cli.shell import Ran
from backup_core.testing import demo_organisation
from backup_core.testing.demo_organisation import Organisation
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365 import Simulation

Lie = Callable[["Pretence"], None]
_MOMENTS = {"requested_at": "2026-11-25T10:00:00.000Z", "finished_at": "2026-11-25T10:00:02.500Z"}


class Pretence:
    """What the app and its commands would say; a lie changes it before anybody asks."""

    def __init__(self, built: Organisation) -> None:
        self.built = built
        self.headline = "Your organisation is connected"
        self.accounts = [{"upn": each.user.upn, "state": each.state} for each in built.members]
        self.by_schedule = self._run([self._result(each, new=True) for each in built.protected])
        self.by_hand = self._run([self._result(built.protected[0], new=False)])
        self.spoil: Callable[[Path], None] = lambda file: None

    def _result(self, member: Any, *, new: bool) -> dict[str, Any]:
        drive = member.user.drive
        files = len(drive.files())
        counts = (files, 0, 0, 0) if new else (0, 1, files - 1, 0)
        kinds = ("files_new", "files_changed", "files_unmodified", "files_deleted")
        summary: dict[str, Any] = dict(zip(kinds, counts, strict=True))
        summary |= {"files_total": files, "bytes_total": drive.root.size, "bytes_added": 100, "store_requests": 10}
        return {"account": member.user.id, "state": "complete", "summary": {**summary, "duration_seconds": 1}}

    def _run(self, results: list[Any]) -> dict[str, Any]:
        progress = {"drives_done": len(results), "drives_total": len(results), "bytes_done": 5}
        return {**_MOMENTS, "state": "complete", "progress": progress, "results": results, "results_next": None}


class PretendedApp:
    """`part.App` and `part.Browser` in one."""

    address = "http://127.0.0.1:1"

    def __init__(self, said: Pretence) -> None:
        self._said, self._looks = said, 0

    def open(self, link: str) -> Page:
        if link == "/onboard":
            return Page([Hop(200, "http://127.0.0.1:1/onboard")], "Connect your organisation", "/onboard/start")
        assert link == "/onboard/start"
        return Page([Hop(302, "https://localhost:2/adminconsent"), Hop(200, "there")], self._said.headline, "")

    def items(self, path: str) -> Iterator[Any]:
        if path.startswith("/api/runs?tenant="):
            yield {"id": "by-schedule"}
            return
        self._looks += 1
        yield from self._said.accounts if self._looks > 1 else self._said.accounts[:2]

    def tick(self) -> None:
        pass

    def start_run(self, wanted: Any) -> str:
        assert wanted["account"] == self._said.built.protected[0].user.upn
        return "/api/runs/by-hand"

    def get(self, path: str) -> Any:
        return copy.deepcopy(self._said.by_hand if path.endswith("by-hand") else self._said.by_schedule)

    def wait_for(self, look: Callable[[], Any], what: str) -> Any:
        return next(found for _ in range(5) if (found := look()) is not None)


class PretendedShell:
    def __init__(self, said: Pretence, folder: Path) -> None:
        self._said, self._folder = said, folder

    @contextlib.contextmanager
    def serving(self, *words: str, log: Path) -> Iterator[str]:
        assert words[0] == "serve"
        yield "Listening on http://127.0.0.1:1"

    def run(self, *words: str, unseen: Sequence[str] = ()) -> Ran:
        if words[0] == "accounts":
            return Ran([json.dumps({"repository": "azure:c:/t/a", "password": "p"})], 0.1)
        path, target = words[words.index("--path") + 1], self._folder / words[words.index("--target") + 1]
        drive = self._said.built.protected[0].user.drive
        file = target / path
        file.parent.mkdir(parents=True)
        body = drive.item(path).body
        assert body is not None
        file.write_bytes(body.read(0, body.size))
        for place in (file, *(target / above for above in Path(path).parents if above.name)):
            moment = drive.item(place.relative_to(target).as_posix()).modified.timestamp()
            os.utime(place, (moment, moment))
        self._said.spoil(file)
        return Ran(["1 files restored"], 0.2)


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., WholeOrganisation]]:
    """Play the part once, with an app that tells this lie, or none."""
    with Simulation() as m365:
        built = demo_organisation.build(m365, 8)
        said = Pretence(built)
        app = PretendedApp(said)
        monkeypatch.setattr(part, "App", lambda *arguments: app)
        monkeypatch.setattr(part, "Browser", lambda *arguments: app)
        monkeypatch.setattr(demo_organisation, "build", lambda m365, users: built)
        monkeypatch.setattr(Stage, "shell", lambda stage, settings: PretendedShell(said, tmp_path))

        def once(lie: Lie = lambda said: None, *, quiet: bool = False) -> WholeOrganisation:
            lie(said)
            stage = Stage(Story(Output(quiet=quiet), colour=False), m365, "storage", tmp_path, FakeClock())
            whole = WholeOrganisation(stage, 8)
            whole.play()
            return whole

        yield once


def test_an_honest_app_is_believed(play: Callable[..., WholeOrganisation], capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing differs; states, results and figures are those of the organisation, and the story shows them."""
    whole = play()
    assert whole.differences == []
    assert whole.states == {"protected": 4, "no-drive": 3, "guest": 1}
    assert [(row["account"], row["state"]) for row in whole.results] == [
        (name, "complete") for name in ("alex", "blake", "mallory", "shared.room")
    ]
    files = sum(row["files"] for row in whole.results)
    scheduled, by_hand, restored = whole.figures
    assert (scheduled.files, scheduled.bytes_stored, scheduled.store_requests) == (files, 400, 40)
    assert scheduled.seconds == 2.5
    assert (by_hand.run, restored.run, restored.files) == ("ad-hoc run", "restored file", 1)
    said = capsys.readouterr().out
    assert "  302  https://localhost:2/adminconsent" in said
    assert [line.split()[2] for line in said.splitlines() if line.startswith("no-drive")] == ["ivy", "juno", "kim"]


def test_quiet_tells_nothing_in_between(
    play: Callable[..., WholeOrganisation], capsys: pytest.CaptureFixture[str]
) -> None:
    """With -q no line and no table of this part is shown."""
    play(quiet=True)
    assert capsys.readouterr().out == ""


def _one_byte(file: Path) -> None:
    before = file.stat().st_mtime_ns
    file.write_bytes(b"X" + file.read_bytes()[1:])
    os.utime(file, ns=(before, before))


def _drive(said: Pretence, number: int) -> Any:
    return said.by_schedule["results"][number]


def _add_another(file: Path) -> None:
    file.with_name("z").touch()


# What the app pretends, and what is told of it.
LIES: dict[str, tuple[Lie, str]] = {
    "headline": (lambda said: setattr(said, "headline", "Consent was declined"), "the page after the consent"),
    "state": (lambda said: said.accounts[7].update(state="protected"), "the state of lou"),
    "stranger": (lambda said: said.accounts.append({"upn": "x@y", "state": "left"}), "the number of accounts"),
    "missing drive": (lambda said: said.by_schedule["results"].pop(), "the drives of the scheduled run"),
    "failed drive": (lambda said: _drive(said, 1).update(state="failed"), "the backup of blake"),
    "no summary": (lambda said: _drive(said, 1).update(summary=None), "the backup of blake"),
    "files": (lambda said: _drive(said, 2)["summary"].update(files_total=1), "the backup of mallory"),
    "bytes": (lambda said: _drive(said, 2)["summary"].update(bytes_total=1), "the backup of mallory"),
    "run": (lambda said: said.by_schedule.update(state="incomplete"), "the state of the run"),
    "run by hand": (lambda said: said.by_hand.update(state="failed"), "the state of the run"),
    "no change": (lambda said: said.by_hand["results"][0]["summary"].update(files_changed=0), "of the ad-hoc run"),
    "other content": (lambda said: setattr(said, "spoil", _one_byte), "has other content"),
    "not restored": (lambda said: setattr(said, "spoil", Path.unlink), "the file is missing"),
    "one more": (lambda said: setattr(said, "spoil", _add_another), "z: was not in the drive"),
}


@pytest.mark.parametrize("name", LIES)
def test_every_lie_is_noticed(name: str, play: Callable[..., WholeOrganisation]) -> None:
    """What the app says is compared with the organisation, and what comes back with the drive, byte by byte."""
    lie, told = LIES[name]
    differences = play(lie).differences
    assert any(told in difference for difference in differences), differences
