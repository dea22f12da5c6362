"""Commands that cannot be carried out: one clear message with a remedy, the contract's exit code, nothing written."""

import base64
import json
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.commands import CommandLine, Ran
from support.places import AzuritePlace, LocalPlace, Place

from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.faults import Status

PASSWORD = "the right one"
OTHER_KEY = base64.b64encode(b"k" * 64).decode()
MAX_LINES = 3  # what happened, why, what to do


class Scene(NamedTuple):
    """A repository that holds the drive of user 0, and everything that somebody may set wrongly."""

    m365: Simulation
    folder: Path
    app: dict[str, str]
    person: dict[str, str]
    azurite: Azurite


@pytest.fixture(scope="module")
def scene(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("refusals")
    with Simulation(users=3) as m365:
        for user in m365.users:
            user.drive.put_file("/Documents/a.txt", user.upn.encode())
        where = {"DRIVEKEEP_REPOSITORY": str(folder / "kept"), "DRIVEKEEP_PASSWORD": PASSWORD}
        quick = {"DRIVEKEEP_HTTP_RETRIES": "0", "DRIVEKEEP_THROTTLE_PATIENCE": "1"}
        app = {**m365.environment(None), **where, **quick}
        person = {**m365.environment(0), **where, **quick}
        CommandLine(folder, app).ok("backup", "--account", m365.users[0].upn)
        (folder / "photos").mkdir()
        (folder / "photos" / "beach.jpg").write_bytes(b"not a repository")
        (folder / "file").write_bytes(b"no folder")
        m365.users[2].entry.drive = None
        yield Scene(m365, folder, app, person, azurite)


@dataclass(frozen=True)
class Refusal:
    """`settings` are changed as `CommandLine.but` does. `{…}` in words and settings: something of the scene."""

    words: str
    code: int
    reason: str
    says: str  # in what a person reads
    settings: Mapping[str, str | None] = field(default_factory=dict)
    app_only: bool = True
    fault: tuple[str, Status] | None = None


BACKUP = "backup --account {upn}"
FOREIGN = {"DRIVEKEEP_REPOSITORY": "azure:box:/p"}
KEYED = {**FOREIGN, "AZURE_STORAGE_CONNECTION_STRING": "{wrong key}"}
NOBODY = {**FOREIGN, "AZURE_STORAGE_CONNECTION_STRING": "{closed port}"}
GONE = Status(404, {"error": {"code": "itemNotFound", "message": "Item not found"}})
FORBIDDEN = Status(403, {"error": {"code": "accessDenied", "message": "Access denied"}})
REFUSALS = {
    "unknown-source": Refusal(f"{BACKUP} -source dropbox", 2, "usage", "onedrive-changes"),
    "unknown-source-by-environment": Refusal(BACKUP, 2, "usage", "CLOUDSTIC_SOURCE", {"CLOUDSTIC_SOURCE": "gdrive"}),
    "no-location": Refusal(BACKUP, 2, "usage", "-r", {"DRIVEKEEP_REPOSITORY": None}),
    "location-not-built": Refusal(BACKUP, 2, "usage", "s3", {"DRIVEKEEP_REPOSITORY": "s3:bucket"}),
    "bad-container": Refusal(BACKUP, 2, "usage", "container", {"DRIVEKEEP_REPOSITORY": "azure:Not_A_Container:/x"}),
    "no-storage-credentials": Refusal(BACKUP, 2, "usage", "AZURE_ACCOUNT_NAME", FOREIGN),
    "wrong-storage-key": Refusal(BACKUP, 13, "access-denied", "key", KEYED),
    "wrong-storage-key-list": Refusal("snapshots", 13, "access-denied", "key", KEYED),
    "unreachable-storage": Refusal(BACKUP, 5, "storage-unreachable", "refused", NOBODY),
    "unreachable-storage-restore": Refusal(
        "restore latest --target {new}", 5, "storage-unreachable", "refused", NOBODY
    ),
    "below-a-file": Refusal(BACKUP, 2, "usage", "file", {"DRIVEKEEP_REPOSITORY": "{folder}/file/below"}),
    "wrong-password": Refusal(BACKUP, 12, "wrong-password", "password", {"DRIVEKEEP_PASSWORD": "guess"}),
    "wrong-password-restore": Refusal(
        "restore latest --target {new}", 12, "wrong-password", "password", {"DRIVEKEEP_PASSWORD": "guess"}
    ),
    "no-password": Refusal(BACKUP, 12, "wrong-password", "DRIVEKEEP_PASSWORD", {"DRIVEKEEP_PASSWORD": None}),
    "no-password-new": Refusal(
        "backup --account {upn} -r {folder}/new", 12, "wrong-password", "--password-file", {"DRIVEKEEP_PASSWORD": None}
    ),
    "not-a-repository": Refusal(f"{BACKUP} -r {{folder}}/photos", 10, "no-repository", "beach.jpg"),
    "not-a-repository-init": Refusal("init -r {folder}/photos", 10, "no-repository", "beach.jpg"),
    "not-a-repository-list": Refusal("snapshots -r {folder}/photos", 10, "no-repository", "photos"),
    "nothing-there": Refusal("restore latest --target {new} -r {folder}/none", 10, "no-repository", "none"),
    "another-drive": Refusal("backup --account {other}", 2, "usage", "another drive"),
    "another-drive-dry": Refusal("backup --account {other} -dry-run", 2, "usage", "another drive"),
    "another-folder": Refusal(f"{BACKUP} --path Documents", 2, "usage", "--path"),
    "folder-is-a-file": Refusal(f"{BACKUP} -r {{folder}}/new --path Documents/a.txt", 2, "usage", "no folder"),
    "folder-not-there": Refusal(f"{BACKUP} -r {{folder}}/new --path No/Such", 1, "not-found", "No/Such"),
    "no-client-id": Refusal(BACKUP, 2, "usage", "DRIVEKEEP_CLIENT_ID", {"DRIVEKEEP_CLIENT_ID": None}),
    "no-client-secret": Refusal(BACKUP, 2, "usage", "DRIVEKEEP_CLIENT_SECRET", {"DRIVEKEEP_CLIENT_SECRET": None}),
    "no-tenant": Refusal(BACKUP, 2, "usage", "--tenant", {"DRIVEKEEP_TENANT": None}),
    "wrong-client-secret": Refusal(
        BACKUP, 13, "", "oauth2: cannot fetch token", {"DRIVEKEEP_CLIENT_SECRET": "not-the-secret"}
    ),
    "never-signed-in": Refusal(
        "backup", 13, "", "no-token.json", {"ONEDRIVE_TOKEN_FILE": "{folder}/no-token.json"}, app_only=False
    ),
    "session-ended": Refusal(
        "backup", 13, "", "token expired and refresh failed", {"ONEDRIVE_TOKEN_FILE": "{revoked}"}, app_only=False
    ),
    "token-file-is-nonsense": Refusal(
        "backup", 13, "", "beach.jpg", {"ONEDRIVE_TOKEN_FILE": "{folder}/photos/beach.jpg"}, app_only=False
    ),
    "no-access": Refusal(BACKUP, 13, "access-denied", "403 Forbidden", fault=("GET graph", FORBIDDEN)),
    "throttled-for-ever": Refusal(
        BACKUP, 5, "throttled", "429 Too Many Requests", fault=("GET graph", Status(429, b"", {"Retry-After": "600"}))
    ),
    "unreachable-graph": Refusal(
        BACKUP, 5, "unreachable", "network", {"DRIVEKEEP_GRAPH_URL": "https://localhost:{port}"}
    ),
    "unreachable-sign-in": Refusal(
        BACKUP, 5, "unreachable", "network", {"DRIVEKEEP_AUTHORITY_URL": "https://localhost:{port}"}
    ),
    "foreign-certificate": Refusal(BACKUP, 5, "unreachable", "certificate", {"REQUESTS_CA_BUNDLE": None}),
    "unknown-account": Refusal("backup --account nobody@contoso.com", 1, "", "nobody@contoso.com"),
    "account-without-drive": Refusal("backup --account {driveless}", 1, "no-drive", "licence"),
    "unknown-drive": Refusal(f"{BACKUP} --drive Music", 1, "not-found", "Music"),
    "unknown-snapshot": Refusal("restore abcdef12 --target {new}", 1, "not-found", "abcdef12"),
    "unknown-snapshot-ls": Refusal("ls abcdef12", 1, "not-found", "abcdef12"),
    "unknown-verb": Refusal("back-up", 2, "usage", "backup"),
    "unknown-option": Refusal(f"{BACKUP} --fast", 2, "usage", "--fast"),
    "setting-out-of-range": Refusal(
        BACKUP, 2, "usage", "DRIVEKEEP_MAX_CONCURRENT_THREADS", {"DRIVEKEEP_MAX_CONCURRENT_THREADS": "0"}
    ),
}


@pytest.fixture
def fill(scene: Scene) -> Callable[[str], str]:
    """Puts what the scene has into the braces of a text."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    string = scene.azurite.connection_string
    blob_port = scene.azurite.blob_url.split(":")[2].split("/")[0]
    upns = [user.upn for user in scene.m365.users]
    known = {
        "folder": str(scene.folder),
        "new": str(scene.folder / "restored"),
        "upn": upns[0],
        "other": upns[1],
        "driveless": upns[2],
        "port": str(port),
        "closed port": string.replace(f":{blob_port}/", f":{port}/"),
        "wrong key": string.replace(scene.azurite.account_key, OTHER_KEY),
        "revoked": str(scene.folder / "revoked.json"),
    }
    return lambda text: text.format(**known)


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_refused_with_a_remedy_and_nothing_written(refusal: Refusal, scene: Scene, fill: Callable[[str], str]) -> None:
    """A person gets three lines on stderr at most, a program one JSON object; the exit code is the contract's, and not
    a byte has changed in any repository, container or folder.
    """
    (scene.folder / "revoked.json").write_text(json.dumps({"refresh_token": "1.AXQArevoked-long-ago"}))
    base = CommandLine(scene.folder, scene.app if refusal.app_only else scene.person)
    command = base.but(**{name: fill(value) if value else value for name, value in refusal.settings.items()})
    words = fill(refusal.words).split()
    before = _everything(scene)
    if refusal.fault:
        scene.m365.faults.add(refusal.fault[0], refusal.fault[1], times=None)
    plain, as_json = command.run(*words), command.run(*words, "--json")
    scene.m365.faults.clear()

    _assert_for_a_person(plain, refusal, fill(refusal.says))
    _assert_for_a_program(as_json, refusal)
    assert _everything(scene) == before


def _assert_for_a_person(ran: Ran, refusal: Refusal, says: str) -> None:
    assert ran.code == refusal.code, ran.err
    lines = ran.err.strip().splitlines()
    problems = [line for line in lines if line.startswith("drivekeep: ")]
    assert len(problems) == 1 and len(lines) - lines.index(problems[0]) <= MAX_LINES, ran.err
    assert says.lower() in ran.err.lower()
    assert "Traceback" not in ran.err and "fault in drivekeep" not in ran.err
    assert ran.out == ""


def _assert_for_a_program(ran: Ran, refusal: Refusal) -> None:
    error: dict[str, Any] = ran.documents[-1]
    assert (ran.code, error["message_type"], error["code"]) == (refusal.code, "error", refusal.code)
    assert set(error) == {"message_type", "code", "reason", "message", "remedy"}
    assert error["reason"] == refusal.reason if refusal.reason else error["reason"]
    assert error["message"] and error["remedy"]


def _everything(scene: Scene) -> Any:
    """Every file below the scene's folder with its bytes, and every object in Azurite."""
    files = {path: path.read_bytes() for path in scene.folder.rglob("*") if path.is_file()}
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(scene.azurite.connection_string) as service:
        containers = sorted(
            each.name for each in service.list_containers() if not each.name.startswith(("e2e", "test"))
        )
    return files, sorted(path for path in scene.folder.rglob("*") if path.is_dir()), containers


def test_not_a_repository_in_a_container(scene: Scene) -> None:
    """A prefix on Azure under which something else lies is left alone, as a folder of other files is."""
    place: Place = AzuritePlace(scene.azurite)
    command = CommandLine(scene.folder, {**scene.app, **place.settings, "DRIVEKEEP_REPOSITORY": place.location})
    from azure.storage.blob import ContainerClient

    container, prefix = place.location.split(":")[1], place.location.split(":")[2].strip("/")
    with ContainerClient.from_connection_string(scene.azurite.connection_string, container) as client:
        client.create_container()
        client.upload_blob(f"{prefix}/holiday/beach.jpg", b"x")
    ran = command.run("backup", "--account", scene.m365.users[0].upn, "--json")
    assert (ran.code, ran.last["reason"]) == (10, "no-repository")
    assert place.names() == ["holiday/beach.jpg"]


def test_another_drive_in_a_container(scene: Scene) -> None:
    """A repository on Azure that holds one drive refuses another, and stays as it was to the last object."""
    place: Place = AzuritePlace(scene.azurite)
    command = CommandLine(scene.folder, {**scene.app, **place.settings, "DRIVEKEEP_REPOSITORY": place.location})
    command.ok("backup", "--account", scene.m365.users[0].upn)
    before = place.objects()
    ran = command.run("backup", "--account", scene.m365.users[1].upn, "--json")
    assert (ran.code, ran.last["reason"]) == (2, "usage")
    assert place.objects() == before


def test_a_repository_without_its_keys(scene: Scene, tmp_path: Path) -> None:
    """Where the key files are gone, nobody makes new ones over what is there."""
    shutil.copytree(scene.folder / "kept", tmp_path / "kept")
    place = LocalPlace(tmp_path / "kept")
    for name in place.names():
        if name.startswith("keys/"):
            (place.path / name).unlink()
    before = place.objects()
    command = CommandLine(scene.folder, {**scene.app, "DRIVEKEEP_REPOSITORY": place.location})
    for words in (["backup", "--account", scene.m365.users[0].upn], ["snapshots"], ["init"]):
        ran = command.run(*words, "--json")
        assert ran.code in (1, 10, 14), ran.err
        assert ran.last["remedy"]
    assert place.objects() == before
