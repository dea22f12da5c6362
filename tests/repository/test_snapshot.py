"""Snapshots: stored with restic's fields, read whoever wrote them, found as a person names them."""

import json

import pytest

from backup_core.errors import Damaged, NotFound, Usage
from backup_core.repository import layout
from backup_core.repository.repository import Repository
from backup_core.repository.snapshot import (
    Snapshot,
    find_snapshot,
    load_snapshot,
    load_snapshots,
    save_snapshot,
)

TREE = "5" * 64


def taken(time: str, **fields: object) -> Snapshot:
    return Snapshot(time=time, tree=TREE, paths=["/drive"], **fields)  # type: ignore[arg-type]


def test_a_snapshot_comes_back(memory_repository: Repository) -> None:
    """Every field is read as it was written, and the snapshot knows its id."""
    written = taken(
        "2026-11-02T08:00:00.5Z",
        parent="1" * 64,
        hostname="contoso.com",
        username="ann@contoso.com",
        uid=1,
        gid=2,
        excludes=["*.tmp"],
        tags=["Täg", "b,c"],
        original="2" * 64,
        program_version="drivekeep 1",
    )
    snapshot_id = save_snapshot(memory_repository, written)
    (read,) = load_snapshots(memory_repository)
    assert read.id == snapshot_id
    assert {**_fields(read), "id": ""} == _fields(written)


def _fields(snapshot: Snapshot) -> dict[str, object]:
    return {name: getattr(snapshot, name) for name in Snapshot.__struct_fields__}


def test_the_text_is_that_of_restic(memory_repository: Repository) -> None:
    """What is empty is left out, and the id is never stored."""
    copied = taken("2026-11-02T08:00:00Z", id="3" * 64)
    snapshot_id = save_snapshot(memory_repository, copied)
    assert json.loads(memory_repository.load_unpacked("snapshots", snapshot_id)) == {
        "time": "2026-11-02T08:00:00Z",
        "tree": TREE,
        "paths": ["/drive"],
    }


def test_fields_of_a_later_restic_are_passed_over(memory_repository: Repository) -> None:
    """A summary that a newer restic adds does not disturb."""
    document = {"time": "2026-01-01T00:00:00+02:00", "tree": TREE, "paths": [], "summary": {"files_new": 1}}
    snapshot_id = memory_repository.save_unpacked("snapshots", json.dumps(document).encode())
    assert load_snapshot(memory_repository, snapshot_id).time == "2026-01-01T00:00:00+02:00"


def test_the_oldest_comes_first(memory_repository: Repository) -> None:
    """Order is by moment, whatever the time zone and the number of digits."""
    times = [
        "2026-11-02T09:00:00+02:00",
        "2026-11-02T07:00:00.25Z",
        "2026-11-02T07:30:00Z",
        "2025-12-31T23:59:59.999999999Z",
    ]
    for time in reversed(times):
        save_snapshot(memory_repository, taken(time))
    found = load_snapshots(memory_repository)
    assert [snapshot.time for snapshot in found] == [times[3], times[0], times[1], times[2]]
    assert find_snapshot(found, "latest").time == times[2]
    assert find_snapshot(found[::-1], "latest").time == times[2]


@pytest.mark.parametrize(
    "document",
    [
        {"tree": TREE, "paths": []},
        {"time": "yesterday", "tree": TREE, "paths": []},
        {"time": "2026-13-02T07:30:00Z", "tree": TREE, "paths": []},
        {"time": "2026-11-02T07:30:00Z", "paths": []},
        {"time": "2026-11-02T07:30:00Z", "tree": "../../etc", "paths": []},
        {"time": "2026-11-02T07:30:00Z", "tree": TREE, "paths": "/drive"},
        [],
    ],
)
def test_a_strange_snapshot_is_damage(memory_repository: Repository, document: object) -> None:
    """What is no snapshot is damage, with its name, and hides no other one from somebody who needs a file back."""
    bad = memory_repository.save_unpacked("snapshots", json.dumps(document).encode())
    good = save_snapshot(memory_repository, taken("2026-11-02T08:00:00Z"))
    with pytest.raises(Damaged, match=bad):
        load_snapshots(memory_repository)
    reported: list[str] = []
    found = load_snapshots(memory_repository, lambda snapshot_id, error: reported.append(snapshot_id))
    assert ([snapshot.id for snapshot in found], reported) == ([good], [bad])


def test_one_forgotten_while_reading(memory_repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that is forgotten between listing and reading is left out."""
    good = save_snapshot(memory_repository, taken("2026-11-02T08:00:00Z"))
    monkeypatch.setattr(memory_repository, "ids", lambda folder: ["0" * 64, good])
    assert [snapshot.id for snapshot in load_snapshots(memory_repository)] == [good]


def test_no_two_snapshots_are_one(memory_repository: Repository) -> None:
    """Two runs with equal results have two snapshots: nothing is overwritten."""
    same = taken("2026-11-02T08:00:00Z")
    assert save_snapshot(memory_repository, same) != save_snapshot(memory_repository, same)
    assert len(memory_repository.ids("snapshots")) == 2


def test_a_person_names_a_snapshot() -> None:
    """`latest`, an id, or a beginning that is the only one; anything else says what is wrong."""
    ids = ["ab" + "0" * 62, "ab" + "1" * 62, "cd" + "0" * 62]
    snapshots = [taken(f"2026-11-0{day}T00:00:00Z", id=each) for day, each in enumerate(ids, 1)]
    assert find_snapshot(snapshots, "latest").id == ids[2]
    assert find_snapshot(snapshots, "c").id == ids[2]
    assert find_snapshot(snapshots, ids[0]).id == ids[0]
    with pytest.raises(Usage, match="2 snapshots"):
        find_snapshot(snapshots, "ab")
    for nothing in ("ef", "", "Latest", ids[0] + "0"):
        with pytest.raises(NotFound):
            find_snapshot(snapshots, nothing)
    with pytest.raises(NotFound, match="no snapshot"):
        find_snapshot([], "latest")


def test_names_of_stored_snapshots(memory_repository: Repository) -> None:
    """A snapshot lies under the hash of its bytes, where restic looks."""
    snapshot_id = save_snapshot(memory_repository, taken("2026-11-02T08:00:00Z"))
    assert [stored.name for stored in memory_repository.store.list()] == [layout.snapshot_name(snapshot_id)]
