"""`drivekeep backup` against the simulated Microsoft 365: what a shell, a program and a cron job see of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backup_core.backup.job import BackupJob, Components, Summary
from backup_core.backup.progress import Progress
from backup_core.cli.main import main
from backup_core.clock import Clock
from backup_core.errors import Usage
from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.faults import Slow, Status

Capture = pytest.CaptureFixture[str]

_ROOT = Path(__file__).parents[2]
_SUMMARY = {
    "message_type", "snapshot_id", "parent", "source", "mode", "account", "complete", "files_new", "files_changed",
    "files_unmodified", "files_deleted", "folders_new", "items_skipped", "items_failed", "bytes_downloaded",
    "bytes_added", "graph_requests", "store_requests", "throttled_seconds", "duration_seconds",
}  # fmt: skip


@pytest.fixture
def m365() -> Iterator[Simulation]:
    with Simulation() as simulation:
        simulation.users[0].drive.put_file("/Documents/a.txt", b"hello")
        simulation.users[0].drive.put_file("/b.txt", b"more")
        yield simulation


@pytest.fixture
def place(m365: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of a person who has signed in, and where their repository will lie."""
    for name, value in m365.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DRIVEKEEP_REPOSITORY", str(tmp_path / "repository"))
    monkeypatch.setenv("DRIVEKEEP_PASSWORD", "correct horse")
    return tmp_path / "repository"


def _backup(capsys: Capture, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the last line of stdout."""
    code = main(["backup", "--json", *words])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def _wait_for(condition: Callable[[], object]) -> None:
    """For what another process does."""
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _files(place: Path) -> dict[str, int]:
    return {str(path.relative_to(place)): path.stat().st_size for path in place.rglob("*") if path.is_file()}


def test_everything_by_environment(place: Path, capsys: Capture) -> None:
    """With settings alone, a bare `backup` makes the repository and ends with the contract's summary."""
    code, summary = _backup(capsys)
    assert code == 0
    assert set(summary) >= _SUMMARY
    assert (summary["message_type"], summary["mode"], summary["files_new"]) == ("summary", "full", 2)
    assert main(["snapshots", "--json"]) == 0
    (snapshot,) = json.loads(capsys.readouterr().out)
    assert snapshot["id"] == summary["snapshot_id"]


def test_app_only(m365: Simulation, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """--tenant and --account back up somebody's drive with the app's own access; the token file is not touched."""
    for name, value in m365.environment(None).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DRIVEKEEP_TENANT")
    monkeypatch.setenv("ONEDRIVE_TOKEN_FILE", "/nowhere/token.json")
    user = m365.users[0]
    code, summary = _backup(capsys, "--tenant", m365.tenant.id, "--account", user.id)
    assert (code, summary["account"], summary["files_new"]) == (0, user.upn, 2)


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["--account", "nobody@contoso.com"], 1, "account-gone"),
        (["--account", "{upn}", "--drive", "Music"], 1, "not-found"),
        (["--account", "{upn}", "--path", "No/Such"], 1, "not-found"),
    ],
)
def test_whose_drive_must_be_there(
    words: list[str],
    code: int,
    reason: str,
    m365: Simulation,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """An account, a drive or a folder that is not there ends with 1 and makes no snapshot."""
    for name, value in m365.environment(None).items():
        monkeypatch.setenv(name, value)
    ended, error = _backup(capsys, *(word.format(upn=m365.users[0].upn) for word in words))
    assert (ended, error["reason"]) == (code, reason)
    assert not (place / "snapshots").exists()


def test_an_account_that_is_not_there_makes_no_repository(
    m365: Simulation, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The repository is made only once the drive has answered."""
    for name, value in m365.environment(None).items():
        monkeypatch.setenv(name, value)
    assert _backup(capsys, "--account", "nobody@contoso.com")[0] == 1
    assert not place.exists()


def test_dry_run_without_a_repository(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """It reports a first backup with 0, needs no password, and leaves no trace."""
    monkeypatch.delenv("DRIVEKEEP_PASSWORD")
    code, summary = _backup(capsys, "-dry-run")
    assert (code, summary["snapshot_id"], summary["mode"], summary["files_new"]) == (0, None, "full", 2)
    assert not place.exists()


def test_dry_run_of_a_repository(m365: Simulation, place: Path, capsys: Capture) -> None:
    """It tells what is new since the last snapshot and changes no object; the backup after it finds the same."""
    assert _backup(capsys)[0] == 0
    m365.users[0].drive.put_file("/c.txt", b"new")
    before = _files(place)
    code, summary = _backup(capsys, "--dry-run")
    assert (code, summary["files_new"], summary["files_unmodified"]) == (0, 1, 2)
    assert _files(place) == before
    assert _backup(capsys)[1]["files_new"] == 1


def test_tags_and_source_as_given(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Tags keep their text and order, in both spellings of the option; the flag beats the environment's source."""
    monkeypatch.setenv("CLOUDSTIC_SOURCE", "onedrive-changes")
    code, summary = _backup(capsys, "-source", "onedrive", "-tag", "weekly $(date)", "--tag=ä,b")
    assert (code, summary["source"]) == (0, "onedrive")
    assert main(["snapshots", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["tags"] == ["weekly $(date)", "ä,b"]


def test_what_was_asked_for_reaches_the_run(
    m365: Simulation, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Folder, tags, threads and the limit (KiB/s) are handed on; what a dry run works with cannot be changed at all."""
    assert _backup(capsys, "--path", "/Documents/")[1]["files_new"] == 1
    seen: list[Any] = []
    limits: list[float] = []

    def back_up(job: BackupJob, parts: Components, progress: Progress) -> Summary:
        seen.append((job, parts))
        return Summary(source=job.source, mode="delta", account="ada", suspicious=True)

    def rate_limit(bytes_per_second: float, clock: Clock) -> None:
        limits.append(bytes_per_second)

    monkeypatch.setattr("backup_core.backup.runner.back_up", back_up)
    monkeypatch.setattr("backup_core.graph.rate_limit.RateLimit", rate_limit)
    monkeypatch.setenv("DRIVEKEEP_MAX_CONCURRENT_THREADS", "3")
    words = ["-dry-run", "--path", "/A/B/", "-tag", "x", "-tag", "y", "--limit-download", "2.5"]
    assert _backup(capsys, *words)[0] == 4
    (job, parts), *_ = seen
    assert (job.root_path, job.tags, job.threads, job.dry_run) == ("A/B", ("x", "y"), 3, True)
    assert job.drive.id == m365.users[0].drive.id
    assert limits == [2560.0]
    for store in (parts.repository.store, parts.repository.content_store):
        with pytest.raises(Usage):
            store.put_new("data/aa/aa", b"")


def test_a_failed_item_is_three_and_is_named(m365: Simulation, place: Path, capsys: Capture) -> None:
    """A file that cannot be had makes the run incomplete: 3, with the item in JSON and in words."""
    m365.users[0].drive.put_file("/bad.exe", b"x")
    m365.users[0].drive.set_malware("/bad.exe")
    code, summary = _backup(capsys)
    assert (code, summary["complete"]) == (3, False)
    assert [(item["path"], item["reason"]) for item in summary["items_failed"]] == [("bad.exe", "malware")]
    assert main(["backup"]) == 3
    out = capsys.readouterr().out
    assert "INCOMPLETE, 1 items failed" in out and "bad.exe (malware)" in out


def test_in_words(place: Path, capsys: Capture) -> None:
    """A person reads whose drive it was, what came, and how much; the data is on stdout, with -q nothing beside it."""
    assert main(["backup", "-q"]) == 0
    out, err = capsys.readouterr()
    assert "2 new, 0 changed, 0 unmodified, 0 deleted" in out and "complete" in out
    assert err == ""


def test_ls_tells_every_item(m365: Simulation, place: Path, capsys: Capture) -> None:
    """`ls` lists what was backed up, recursively and with all fields of the contract; of one folder with a path."""
    m365.users[0].drive.make_folder("/Empty")
    assert _backup(capsys)[0] == 0
    assert main(["ls", "latest", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    by_path = {line["path"]: line for line in lines}
    assert sorted(by_path) == ["Documents", "Documents/a.txt", "Empty", "b.txt"]
    item = m365.users[0].drive.item("/Documents/a.txt")
    assert by_path["Documents/a.txt"] == {
        "message_type": "node",
        "path": "Documents/a.txt",
        "type": "file",
        "size": 5,
        "mtime": by_path["Documents/a.txt"]["mtime"],
        "item_id": item.id,
        "quickxorhash": by_path["Documents/a.txt"]["quickxorhash"],
        "verdict": "verified",
    }
    assert by_path["Documents/a.txt"]["quickxorhash"]
    empty = by_path["Empty"]
    assert (empty["type"], empty["size"], empty["quickxorhash"], empty["verdict"]) == ("dir", 0, None, None)
    assert main(["ls", "latest", "Documents"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[-2:] == ["5", "Documents/a.txt"]
    assert main(["ls", "latest", "Nowhere"]) == main(["ls", "abcdef"]) == 1


def test_restore_brings_every_byte_back(place: Path, tmp_path: Path, capsys: Capture) -> None:
    """`restore` fills the target itself and ends with the contract's summary; a second one finds all of it there."""
    assert _backup(capsys)[0] == 0
    target = tmp_path / "out"
    words = ["restore", "latest", "--target", str(target), "--json"]

    def restore(*more: str) -> tuple[int, ...]:
        assert main([*words, *more]) == 0
        summary = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (summary["message_type"], summary["files_failed"]) == ("summary", [])
        return summary["files_restored"], summary["bytes_restored"], summary["files_skipped"]

    assert restore("--dry-run") == (2, 9, 0)
    assert not target.exists()
    assert restore() == (2, 9, 0)
    assert (target / "Documents" / "a.txt").read_bytes() == b"hello"
    assert restore() == (0, 0, 2)


def test_restore_options_are_handed_on(place: Path, tmp_path: Path, capsys: Capture) -> None:
    """Path, include, exclude and conflict reach the plan; a file that differs is left, listed and makes 3."""
    assert _backup(capsys)[0] == 0
    target = tmp_path / "out"
    target.mkdir()
    (target / "b.txt").write_bytes(b"mine")
    words = ["restore", "latest", "--target", str(target)]
    assert main([*words, "--exclude", "*.txt"]) == 0
    assert not list(target.glob("**/a.txt"))
    assert main([*words, "--path", "/Documents/"]) == 0
    assert [path.name for path in target.rglob("*.txt")].count("a.txt") == 1
    assert main([*words, "--include", "b.txt"]) == 3
    assert (target / "b.txt").read_bytes() == b"mine"
    assert "FAILED: b.txt (exists)" in capsys.readouterr().out
    assert main([*words, "--conflict", "fail"]) == 1
    assert main([*words, "--conflict", "overwrite", "--verify"]) == 0
    assert (target / "b.txt").read_bytes() == b"more"


@pytest.mark.parametrize(
    ("words", "read"), [([], False), (["--read-data"], True), (["--read-data-subset", "100%"], True)]
)
def test_check_finds_damage(words: list[str], read: bool, place: Path, capsys: Capture) -> None:
    """A sound repository is 0. A flipped byte in a pack is 14, but only where packs are read; a lost one always."""
    assert _backup(capsys)[0] == 0
    command = ["check", "--json", *words]
    assert main(command) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["message_type"], summary["ok"], summary["files"]) == ("summary", True, 2)
    assert (summary["packs_read"] > 0) == read
    packs = [path for path in (place / "data").rglob("*") if path.is_file()]
    pack = min(packs, key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[3] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    if read:
        assert main(command) == 14
    pack.unlink()
    assert main(command) == 14
    assert main(["check", *words]) == 14
    assert "Damage was found." in capsys.readouterr().out


def test_restore_into_a_zip_is_refused_by_name(place: Path, tmp_path: Path, capsys: Capture) -> None:
    """What this version does not build is told, and no folder of that name is made."""
    assert main(["restore", "latest", "--target", str(tmp_path / "out.zip")]) == 2
    assert "zip" in capsys.readouterr().err
    assert not (tmp_path / "out.zip").exists()


@pytest.mark.parametrize(
    ("status", "code", "text"), [(403, 13, "403 Forbidden"), (429, 5, "429 Too Many Requests"), (500, 5, "")]
)
def test_refusals_of_graph_have_their_codes(
    status: int, code: int, text: str, m365: Simulation, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """No access is 13, throttling without end and an outage are 5, each with its text and a remedy."""
    monkeypatch.setenv("DRIVEKEEP_HTTP_RETRIES", "0")
    monkeypatch.setenv("DRIVEKEEP_THROTTLE_PATIENCE", "0")
    headers = {"Retry-After": "30"} if status == 429 else {}
    m365.faults.add("GET graph /v1.0/me", times=None, fault=Status(status, {"error": {"code": "x"}}, headers))
    ended, error = _backup(capsys)
    assert ended == code
    assert text in error["message"] and error["remedy"]
    assert not place.exists()


def test_nothing_secret_is_said(m365: Simulation, place: Path, capsys: Capture) -> None:
    """Neither -v -v nor --json lets a token, a password or a secret out."""
    main(["backup", "-v", "-v", "--json"])
    said = "".join(capsys.readouterr())
    token_file = Path(os.environ["ONEDRIVE_TOKEN_FILE"]).read_text()
    secrets = [m365.client_secret, "correct horse", json.loads(token_file).get("refresh_token")]
    tokens = json.loads(token_file).get("RefreshToken", {})
    secrets += [entry["secret"] for entry in tokens.values()]
    assert len([secret for secret in secrets if secret]) >= 3
    assert not [secret for secret in secrets if secret and secret in said]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_lock_and_the_next_run_goes_on(
    number: signal.Signals, code: int, m365: Simulation, place: Path, capsys: Capture
) -> None:
    """A backup that is stopped while a download hangs ends soon, removes its lock, and the next one completes."""
    m365.faults.add("GET content ", fault=Slow(40))
    process = subprocess.Popen(
        [sys.executable, "-m", "backup_core.cli.main", "backup", "--json"],
        cwd=_ROOT,
        env={**os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for(m365.faults.fired)
    process.send_signal(number)
    out, err = process.communicate(timeout=15)
    error = json.loads(out.splitlines()[-1])
    assert (process.returncode, error["code"], error["reason"]) == (code, code, "interrupted"), err
    assert not list((place / "locks").glob("*"))
    assert _backup(capsys)[0] == 0
