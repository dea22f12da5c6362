"""The verbs over a repository in a folder: exit codes, documents, and that a refused command writes nothing."""

import io
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backup_core import wiring
from backup_core.cli.main import main
from backup_core.clock import SystemClock
from backup_core.graph.items import DriveItem
from backup_core.repository import times
from backup_core.repository.index import save_index
from backup_core.repository.lock import RepositoryLock
from backup_core.repository.packer import Packer
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import Snapshot, save_snapshot
from backup_core.repository.tree import Origin, Tree, item_key, top_node, tree_id
from backup_core.settings import read_settings

Capture = pytest.CaptureFixture[str]
PASSWORD = "correct horse"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings say that the repository lies; its password is set."""
    monkeypatch.setenv("DRIVEKEEP_REPOSITORY", str(tmp_path / "repository"))
    monkeypatch.setenv("DRIVEKEEP_PASSWORD", PASSWORD)
    return tmp_path / "repository"


@pytest.fixture
def repository(place: Path) -> Repository:
    settings = read_settings()
    return wiring.make_repository(wiring.place_for(settings, SystemClock()), SystemClock(), lambda: PASSWORD)


def _files(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def _snapshot(repository: Repository, minute: int, origin: Origin | None, tags: Sequence[str] = ()) -> str:
    """A snapshot of an empty drive; without `origin` as stock restic would leave it."""
    packer = Packer(repository, tree=True, pack_bytes=1 << 20, in_flight=1)

    def save(tree: Tree) -> str:
        data = b"".join(tree.parts())
        packer.add(bytes.fromhex(tree_id([data])), data)
        return tree_id([data])

    root = Tree()
    if origin:
        item = DriveItem("root-id", name="root", kind="folder")
        root.insert(item_key(item.id), top_node(item, "OneDrive", save(Tree()), origin), "OneDrive")
    tree = save(root)
    save_index(repository, packer.finish())
    moment = datetime(2026, 11, 2, 8, minute, tzinfo=UTC)
    account = origin.account if origin else "ada"
    snapshot = Snapshot(
        time=times.to_text(moment),
        tree=tree,
        paths=["/OneDrive"],
        hostname="contoso.com",
        username=account,
        tags=list(tags),
    )
    return save_snapshot(repository, snapshot)


def _run(words: Sequence[str], capsys: Capture) -> tuple[int, Any]:
    """The exit code and the last document on stdout."""
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


# -- init ------------------------------------------------------------------------------------------------------------


def test_init_makes_a_repository_that_opens(place: Path, capsys: Capture) -> None:
    """`init` answers with the repository's id, and the password opens what it made."""
    code, document = _run(["init"], capsys)
    opened = wiring.open_repository(wiring.place_for(read_settings(), SystemClock()), lambda: PASSWORD)
    assert (code, document["message_type"], document["id"]) == (0, "initialized", opened.id)
    assert document["repository"] == str(place)


def test_init_leaves_what_is_there(repository: Repository, place: Path, capsys: Capture) -> None:
    """Over a repository, and over anything else, `init` changes nothing; it ends with 1 and with 10."""
    before = _files(place)
    assert _run(["init"], capsys)[0] == 1
    assert _files(place) == before
    (place.parent / "other").mkdir()
    (place.parent / "other" / "holiday.jpg").write_bytes(b"x")
    code, error = _run(["init", "-r", str(place.parent / "other")], capsys)
    assert (code, error["reason"]) == (10, "no-repository")
    assert _files(place.parent / "other") == ["holiday.jpg"]


# -- where and with which password -----------------------------------------------------------------------------------

_OPENING = [
    ["snapshots"],
    ["ls", "latest"],
    ["check"],
    ["unlock"],
    ["restore", "latest", "--target", "/nowhere/at/all"],
]


@pytest.mark.parametrize("words", _OPENING)
def test_no_repository_is_ten_and_asks_for_no_password(
    words: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A place without a repository is told by name before a password is missed, and is left as it is."""
    monkeypatch.delenv("DRIVEKEEP_PASSWORD")
    code, error = _run(words, capsys)
    assert (code, error["reason"]) == (10, "no-repository")
    assert str(place) in error["message"]
    assert not place.exists()


@pytest.mark.parametrize("words", _OPENING)
@pytest.mark.parametrize("password", ["wrong", None])
def test_a_wrong_or_missing_password_is_twelve(
    words: list[str],
    password: str | None,
    repository: Repository,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """A password that does not open, or none and no terminal, ends with 12 and changes nothing."""
    monkeypatch.setenv("DRIVEKEEP_PASSWORD", password or "")
    monkeypatch.setattr(sys, "stdin", io.StringIO(PASSWORD))
    before = _files(place)
    code, error = _run(words, capsys)
    assert (code, error["reason"]) == (12, "wrong-password")
    assert _files(place) == before


@pytest.mark.parametrize("words", [*_OPENING, ["init"], ["backup"]])
@pytest.mark.parametrize(
    ("location", "named"),
    [("", "-r"), ("s3:bucket", "s3"), ("onedrive:/A", "onedrive"), ("destination:X", "destination")],
)
def test_a_location_that_cannot_be_served_is_two(
    words: list[str], location: str, named: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """No location, and every kind that is not built, is refused by name."""
    monkeypatch.setenv("DRIVEKEEP_REPOSITORY", location)
    code, error = _run(words, capsys)
    assert (code, error["reason"]) == (2, "usage")
    assert named in error["message"] + error["remedy"]


def test_cloudstic_names_of_a_store_are_refused_by_name_too(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """The reference product's CLOUDSTIC_STORE=s3 is answered with what to use instead."""
    monkeypatch.setenv("CLOUDSTIC_STORE", "s3")
    monkeypatch.setenv("CLOUDSTIC_STORE_PATH", "my-backup-bucket")
    code, error = _run(["backup"], capsys)
    assert code == 2
    assert "s3" in error["message"] and "azure:" in error["remedy"]


def test_azure_without_credentials_is_two(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """A location on Azure without any credentials is a matter of settings, not of the network."""
    monkeypatch.setenv("DRIVEKEEP_REPOSITORY", "azure:backups:/ada")
    code, error = _run(["snapshots"], capsys)
    assert code == 2
    assert "AZURE_ACCOUNT_NAME" in error["remedy"]


@pytest.mark.parametrize(
    ("content", "code"), [(PASSWORD, 0), (f"  {PASSWORD}\r\n", 0), ("", 12), ("\n", 12), ("other", 12), (None, 12)]
)
def test_a_password_file_counts_above_the_environment(
    content: str | None, code: int, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--password-file beats DRIVEKEEP_PASSWORD; white space around the password does not count, as in restic."""
    monkeypatch.setenv("DRIVEKEEP_PASSWORD", "not this one" if code == 0 else PASSWORD)
    if content is not None:
        (tmp_path / "password").write_bytes(content.encode())
    assert main(["snapshots", "--password-file", str(tmp_path / "password")]) == code


@pytest.mark.parametrize(("answers", "code"), [(["a", "a"], 0), (["a", "b"], 12), ([""], 12), ([EOFError], 12)])
def test_a_new_password_is_asked_twice(
    answers: list[Any], code: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal `init` asks twice; two that differ, an empty one and Ctrl-D make no repository."""
    monkeypatch.delenv("DRIVEKEEP_PASSWORD")
    _answer(monkeypatch, answers)
    assert main(["init"]) == code
    assert place.exists() == (code == 0)
    assert answers == []


def test_a_known_repository_asks_once(repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """To open what is there, the password is asked once, and never shown."""
    monkeypatch.delenv("DRIVEKEEP_PASSWORD")
    answers = [PASSWORD]
    _answer(monkeypatch, answers)
    assert main(["snapshots"]) == 0
    assert answers == []
    assert PASSWORD not in "".join(capsys.readouterr())


def _answer(monkeypatch: pytest.MonkeyPatch, answers: list[Any]) -> None:
    def getpass(prompt: str) -> str:
        answer = answers.pop(0)
        if answer is EOFError:
            raise EOFError
        return str(answer)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", getpass)


# -- snapshots -------------------------------------------------------------------------------------------------------

_ADA = Origin("onedrive-changes", "ada@contoso.com", "drive-1")


def test_snapshots_tell_source_and_state(repository: Repository, capsys: Capture) -> None:
    """Each snapshot has all fields of the contract, oldest first; what stock restic made has no source."""
    ids = [
        _snapshot(repository, 1, _ADA, ["friday", "a,b"]),
        _snapshot(repository, 2, Origin("onedrive", "ada@contoso.com", "drive-1", "Documents/Tax", True, 3)),
        _snapshot(repository, 3, None),
    ]
    code, documents = _run(["snapshots"], capsys)
    assert code == 0
    first, second, third = documents
    assert [each["id"] for each in documents] == ids
    assert first == {
        "id": ids[0],
        "short_id": ids[0][:8],
        "time": "2026-11-02T08:01:00Z",
        "hostname": "contoso.com",
        "username": "ada@contoso.com",
        "paths": ["/OneDrive"],
        "tags": ["friday", "a,b"],
        "tree": first["tree"],
        "parent": None,
        "source": {"type": "onedrive-changes", "account": "ada@contoso.com", "path": "onedrive://"},
        "complete": True,
        "suspicious": False,
    }
    assert second["source"]["path"] == "onedrive://Documents/Tax"
    assert (second["complete"], second["suspicious"]) == (False, True)
    assert (third["source"], third["complete"], third["suspicious"]) == (None, None, False)


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        ([], [1, 2, 3]),
        (["--tag", "friday"], [1, 3]),
        (["-tag", "friday", "-tag", "monday"], [1, 2, 3]),
        (["--account", "ADA@contoso.com"], [1, 2]),
        (["--latest", "2"], [2, 3]),
        (["--latest", "1", "--account", "ada@contoso.com"], [2]),
        (["--tag", "fri"], []),
    ],
)
def test_snapshots_filtered(words: list[str], minutes: list[int], repository: Repository, capsys: Capture) -> None:
    """Filters narrow the list together; --latest counts among those that the others leave."""
    bob = Origin("onedrive-changes", "bob@contoso.com", "drive-2")
    _snapshot(repository, 1, _ADA, ["friday"])
    _snapshot(repository, 2, _ADA, ["monday"])
    _snapshot(repository, 3, bob, ["friday"])
    code, documents = _run(["snapshots", *words], capsys)
    assert (code, [times.from_text(each["time"]).minute for each in documents]) == (0, minutes)


def test_snapshots_in_words(repository: Repository, capsys: Capture) -> None:
    """A person sees one line a snapshot, with a state that hides nothing."""
    _snapshot(repository, 2, Origin("onedrive", "ada@contoso.com", "drive-1", "", True, 3), ["a\x1b[31mb"])
    assert main(["snapshots"]) == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split()[0] == "ID"
    for part in (
        "2026-11-02 08:02:00",
        "ada@contoso.com",
        "onedrive",
        "incomplete (3 failed), suspicious",
        "\\x1b[31m",
    ):
        assert part in line


def test_snapshots_latest_must_be_positive(repository: Repository, capsys: Capture) -> None:
    """--latest 0 would list nothing and look like an empty repository."""
    assert _run(["snapshots", "--latest", "0"], capsys)[0] == 2


def test_a_damaged_snapshot_does_not_hide_the_others(repository: Repository, place: Path, capsys: Capture) -> None:
    """What can be read is listed, and the command still ends with 14 and names what is damaged."""
    good, bad = _snapshot(repository, 1, _ADA), _snapshot(repository, 2, _ADA)
    path = place / "snapshots" / bad
    path.chmod(0o600)
    path.write_bytes(b"x" * 40)
    assert main(["snapshots", "--json"]) == 14
    listed, error = capsys.readouterr().out.splitlines()
    assert [each["id"] for each in json.loads(listed)] == [good]
    assert json.loads(error)["reason"] == "damaged" and bad in json.loads(error)["message"]


# -- unlock ----------------------------------------------------------------------------------------------------------


def test_unlock_spares_a_lock_in_use(repository: Repository, capsys: Capture) -> None:
    """Only --remove-all takes a lock from a program that is at work."""
    with RepositoryLock(repository, SystemClock(), "run-1"):
        assert _run(["unlock"], capsys) == (0, {"removed": []})
        code, document = _run(["unlock", "--remove-all"], capsys)
        assert (code, len(document["removed"])) == (0, 1)
    assert repository.ids("locks") == []


# -- backup: what is refused before anything is opened ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "environment", "named"),
    [
        (["-source", "dropbox"], {}, "onedrive-changes"),
        (["--source", "dropbox"], {}, "onedrive-changes"),
        ([], {"CLOUDSTIC_SOURCE": "dropbox"}, "CLOUDSTIC_SOURCE"),
        (["-exclude", "*.tmp"], {}, "-exclude"),
        (["-exclude-file", "list"], {}, "-exclude-file"),
        (["--tenant", "t"], {}, "--account"),
        (["--account", "ada@contoso.com"], {}, "--tenant"),
        (["--account", "a", "--tenant", "t"], {"DRIVEKEEP_CLIENT_SECRET": "s"}, "DRIVEKEEP_CLIENT_ID"),
        (["--account", "a", "--tenant", "t"], {"DRIVEKEEP_CLIENT_ID": "c"}, "DRIVEKEEP_CLIENT_SECRET"),
        (
            ["--account", "a", "--tenant", "t"],
            {"DRIVEKEEP_CLIENT_ID": "c", "DRIVEKEEP_CLIENT_SECRET": "s", "DRIVEKEEP_MANAGED_IDENTITY": "m"},
            "exactly one",
        ),
        ([], {"DRIVEKEEP_HTTP_VERSION": "2"}, "DRIVEKEEP_HTTP_VERSION=2 is not supported"),
        ([], {"DRIVEKEEP_HTTP_RETRIES": "many"}, "DRIVEKEEP_HTTP_RETRIES"),
        ([], {"DRIVEKEEP_CLOUD": "mars"}, "DRIVEKEEP_CLOUD"),
        ([], {"DRIVEKEEP_GRAPH_URL": "ftp://graph"}, "DRIVEKEEP_GRAPH_URL"),
        (["--limit-download", "0"], {}, "--limit-download"),
        (["--limit-download", "inf"], {}, "--limit-download"),
        (["--limit-download", "fast"], {}, "--limit-download"),
    ],
)
def test_backup_refuses_by_name_and_writes_nothing(
    words: list[str],
    environment: dict[str, str],
    named: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """An option or a setting that cannot be followed ends with 2, is named, and leaves the place untouched."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, error = _run(["backup", *words], capsys)
    assert (code, error["reason"]) == (2, "usage")
    assert named in " ".join((error["message"], error["remedy"]))
    assert not place.exists()


@pytest.mark.parametrize("words", [[], ["-dry-run"]])
def test_backup_without_sign_in_writes_nothing(words: list[str], place: Path, capsys: Capture) -> None:
    """Where nobody has signed in, a first backup ends with 13 and has made no repository."""
    code, error = _run(["backup", *words], capsys)
    assert code == 13
    assert "oauth2: cannot fetch token" in error["message"]
    assert not place.exists()


def test_backup_with_a_wrong_password_is_told_before_signing_in(
    repository: Repository, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The nearer mistake is reported: 12, although the sign-in is missing as well."""
    monkeypatch.setenv("DRIVEKEEP_PASSWORD", "wrong")
    before = _files(place)
    assert _run(["backup"], capsys)[0] == 12
    assert _files(place) == before
