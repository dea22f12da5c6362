"""A real process that is killed without warning, again and again, in the middle of a first backup and of later ones."""

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import CommandLine, finished
from support.judge import Judge
from support.places import Place
from support.traffic import fetched

from backup_core.backup.run_log import RunLog
from backup_core.repository.crypto import Keys
from backup_core.repository.key import open_keys
from backup_core.storage.memory import MemoryStore
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.drive import Drive
from backup_core.testing.restored_folder import compare

PASSWORD = "killed"
FILES = 700  # three batches, two of which are saved at one time
# Each kill comes when so much of what was left has been asked for; of the first batches, nothing is saved before 0.7.
MOMENTS = [0.03, 0.4, 0.85, 0.5, 0.93, 0.97, 1.0, 1.0]
SECONDS = 60


@pytest.fixture(scope="module")
def m365() -> Iterator[Simulation]:
    with Simulation(users=2) as simulation:
        yield simulation


def furnish(drive: Drive) -> None:
    content = random.Random(5)
    for number in range(FILES):
        drive.put_file(f"/Folder {number % 9}/file {number}.bin", content.randbytes(300 + number))
    drive.make_folder("/Empty")


class Victim:
    """Backs a drive up in processes that are killed; knows what their batches had saved by then."""

    def __init__(self, m365: Simulation, place: Place, command: CommandLine, words: list[str], seed: int) -> None:
        self.m365, self.place, self.command, self.words = m365, place, command, words
        self.random = random.Random(seed)
        self.saved: set[str] = set()
        self.kills = 0
        self._keys: Keys | None = None

    def run_and_kill(self, after_requests: int) -> bool:
        """Kill it shortly after it has sent so many; False where it came to its end before that."""
        self.m365.log.clear()
        process = self.command.start("backup", *self.words, "--json")
        end = time.monotonic() + SECONDS
        while len(self.m365.log) <= after_requests and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.002)
        if process.poll() is None:  # the last requests are not the last moments: trees and state are still to come
            time.sleep(self.random.random() * 0.15)
        return not self._kill(process)

    def assert_nothing_twice(self) -> None:
        assert not self.saved.intersection(fetched(self.m365)), "what a batch had saved was fetched again"

    def _kill(self, process: "subprocess.Popen[str]") -> bool:
        """Whether it had ended well before."""
        process.kill()
        ran = finished(process)
        assert ran.code in (0, -9), ran.err
        self.kills += ran.code == -9
        self.assert_nothing_twice()
        self._look_what_is_saved()
        return ran.code == 0

    def _look_what_is_saved(self) -> None:
        store = MemoryStore(FakeClock())
        for name, data in self.place.objects().items():
            if name.startswith(("keys/", "state/runs/")):
                store.put_new(name, data)
        if not any(store.list("state/runs/")):
            return
        self._keys = self._keys or open_keys(store, PASSWORD)
        for run in {entry.name.split("/")[2] for entry in store.list("state/runs/")}:
            log = RunLog(store, self._keys, run)
            for number in log.numbers()["saved"]:
                self.saved.update(each.planned.id for each in log.saved(number).files)


def test_first_backup_killed_again_and_again(
    m365: Simulation, place: Place, home: Path, tmp_path: Path, judge: type[Judge]
) -> None:
    """Eight kills in a row: nothing that a batch had saved is fetched again, and the next run ends complete; what the
    kills leave is removed by `unlock`, and the repository is clean.
    """
    user = m365.users[0] if "azure" in place.location else m365.users[1]
    furnish(user.drive)
    settings = {**m365.environment(None), **place.settings}
    settings |= {"DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": PASSWORD}
    command, words = CommandLine(home, settings), ["--account", user.upn]
    victim = Victim(m365, place, command, words, seed=len(place.location))
    for share in MOMENTS:
        left = FILES - len(victim.saved)
        if not victim.run_and_kill(after_requests=round(share * (2 * left + 5))):  # an item, then its content
            break
    assert victim.kills >= 3  # how far a run comes before its kill is the machine's to say
    assert victim.saved

    m365.log.clear()
    summary = command.ok("backup", *words)
    victim.assert_nothing_twice()
    assert summary["complete"]
    command.ok("restore", "latest", "--target", tmp_path / "out")
    assert compare(tmp_path / "out", user.drive.snapshot()).differences == []
    assert 0 < len(command.ok("unlock")["removed"]) <= victim.kills, "a kill may come before the lock is written"
    assert command.ok("unlock")["removed"] == []
    judge(place.folder(tmp_path), PASSWORD).check()


def test_later_backups_killed(m365: Simulation, place: Place, home: Path, tmp_path: Path, judge: type[Judge]) -> None:
    """So it is with a run that finds changes: the snapshot before it stays whole, and the run after it is right."""
    user = m365.users[0] if "azure" in place.location else m365.users[1]
    drive = user.drive
    drive.put_file("/Other/first.txt", b"first")
    settings = {**m365.environment(None), **place.settings}
    settings |= {"DRIVEKEEP_REPOSITORY": place.location, "DRIVEKEEP_PASSWORD": PASSWORD}
    command, words = CommandLine(home, settings), ["--account", user.upn, "--path", "Other"]
    first = command.ok("backup", *words)
    victim = Victim(m365, place, command, words, seed=1)
    for turn in range(4):
        for number in range(12):
            drive.put_file(f"/Other/{turn}/{number}.txt", b"%d in turn %d" % (number, turn))
        victim.run_and_kill(after_requests=(3, 15, 26, 29)[turn])
    summary = command.ok("backup", *words)
    assert summary["complete"]
    command.ok("restore", summary["snapshot_id"], "--target", tmp_path / "out")
    inside = {path.removeprefix("Other/"): entry for path, entry in drive.snapshot().items() if path[:6] == "Other/"}
    assert compare(tmp_path / "out", inside).differences == []
    command.ok("restore", first["snapshot_id"], "--target", tmp_path / "first")
    assert [path.name for path in (tmp_path / "first").iterdir()] == ["first.txt"]
    command.ok("unlock")
    judge(place.folder(tmp_path), PASSWORD).check()
