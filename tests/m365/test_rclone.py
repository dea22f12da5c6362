"""A judge that nobody here wrote: Debian's rclone, unchanged, which believes it talks to Microsoft."""

import json
import os
import random
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest

from backup_core.clock import SystemClock
from backup_core.testing.m365 import Reset, Simulation, Status

RCLONE = shutil.which("rclone")
SOURCE_OF_CHANCE = random.Random(7)

FILES = {
    "top.txt": b"hello",
    "empty.bin": b"",
    "Documents/report.pdf": SOURCE_OF_CHANCE.randbytes(3_000_000),
    "Documents/deep/er/and/deeper/still/leaf.txt": b"leaf",
    "Ünïcode/日本語/emoji 🎉.md": "ünïcode".encode(),
    "Signs/50% off #1 & more + 'quotes' (1).txt": b"signs",
    "Signs/a%20b.txt": b"percent",
    "Signs/dots.in..the.name": b"dots",
    **{f"Many/file {number:03}.dat": SOURCE_OF_CHANCE.randbytes(number) for number in range(50)},
}


@pytest.fixture(autouse=True)
def _rclone_is_here() -> None:
    if RCLONE is None:
        if os.environ.get("CI") == "true":
            pytest.fail("rclone is not installed")
        pytest.skip("rclone is not installed")


def _fill(m365: Simulation) -> None:
    drive = m365.users[0].drive
    for path, content in FILES.items():
        drive.put_file(f"/{path}", content)
    drive.make_folder("/An empty folder/inside another")


def _rclone(m365: Simulation, folder: Path, *words: str, expired: bool = False) -> subprocess.CompletedProcess[str]:
    """rclone as a user of it would set it up: a config file, a proxy and a CA file."""
    user = m365.users[0]
    token = {
        "access_token": user.access_token,
        "token_type": "Bearer",
        "refresh_token": user.refresh_token,
        "expiry": "2020-01-01T00:00:00Z" if expired else f"{SystemClock().now().year + 1}-01-01T00:00:00Z",
    }
    config = folder / "rclone.conf"
    config.write_text(
        f"[remote]\ntype = onedrive\ntoken = {json.dumps(token)}\ndrive_id = {user.drive.id}\ndrive_type = business\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "HTTPS_PROXY": m365.proxy_url,
        "SSL_CERT_FILE": str(m365.ca_file),
        "SSL_CERT_DIR": str(folder),  # no certificates there: the CA file alone is trusted
    }
    command = [RCLONE or "", "--config", str(config), "--retries", "1", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def _read(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {unicodedata.normalize("NFC", str(path.relative_to(folder))): path.read_bytes() for path in files}


def test_rclone_gets_every_byte(tmp_path: Path) -> None:
    """Copy brings every file byte for byte with its time, and check agrees, by the reported hashes and by content."""
    with Simulation(strict_content=False) as m365:
        _fill(m365)
        m365.switches.page_size = 20
        copy = _rclone(m365, tmp_path, "copy", "--create-empty-src-dirs", "remote:", str(tmp_path / "out"))
        by_hash = _rclone(m365, tmp_path, "check", "remote:", str(tmp_path / "out"))
        by_content = _rclone(m365, tmp_path, "check", "--download", "remote:", str(tmp_path / "out"))
        modified = {path: item.modified for path, item in m365.users[0].drive.files()}
        assert m365.proxy.refused == []
    assert (copy.returncode, by_hash.returncode, by_content.returncode) == (0, 0, 0), (copy, by_hash, by_content)
    assert _read(tmp_path / "out") == FILES
    assert "0 differences found" in by_hash.stderr
    empty = sum(not content for content in FILES.values())  # Microsoft gives no hash of them
    assert f"{empty} hashes could not be checked" in by_hash.stderr
    assert (tmp_path / "out/An empty folder/inside another").is_dir()
    for path, moment in modified.items():
        assert (tmp_path / "out" / path.lstrip("/")).stat().st_mtime == pytest.approx(moment.timestamp(), abs=1)


def test_rclone_signs_in_again(tmp_path: Path) -> None:
    """With an expired token rclone refreshes it with its own client id and secret, and stores the new one."""
    with Simulation(strict_content=False) as m365:
        m365.users[0].drive.put_file("/a.txt", b"hello")
        listing = _rclone(m365, tmp_path, "lsf", "remote:", expired=True)
        stored = (tmp_path / "rclone.conf").read_text()
        assert [(entry.method, entry.status) for entry in m365.log.of("login")] == [("POST", 200)]
    assert (listing.returncode, listing.stdout) == (0, "a.txt\n")
    assert "2020-01-01" not in stored


def test_rclone_lives_through_faults(tmp_path: Path) -> None:
    """Throttling, a server's error and a reset in the middle of a body look to rclone as the real ones do."""
    with Simulation(strict_content=False) as m365:
        _fill(m365)
        m365.faults.add("GET graph .*/children", Status(429, headers={"Retry-After": "1"}))
        m365.faults.add("GET graph .*/content", Status(503))
        m365.faults.add("GET content", Reset(after=2))
        copy = _rclone(m365, tmp_path, "copy", "remote:", str(tmp_path / "out"))
    assert copy.returncode == 0, copy.stderr
    assert _read(tmp_path / "out") == FILES


def test_rclone_sees_a_corrupted_download(tmp_path: Path) -> None:
    """Had the simulator sent other bytes than it reports, rclone would say so: the judge is awake."""
    with Simulation(strict_content=False) as m365:
        m365.users[0].drive.put_file("/a.txt", b"hello")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.txt").write_bytes(b"hellO")
        check = _rclone(m365, tmp_path, "check", "remote:", str(tmp_path / "out"))
    assert check.returncode == 1
    assert "1 differences found" in check.stderr
