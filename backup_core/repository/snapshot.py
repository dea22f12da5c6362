"""Snapshots: one moment of one drive, a small sealed JSON object that names a root tree. It does not read the tree."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import msgspec

from backup_core.errors import Damaged, NotFound, Usage
from backup_core.repository import layout, times
from backup_core.repository.repository import Repository

_READERS = 8  # a snapshot is one small read: waiting for the store is all that it costs


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """restic's fields in restic's order; what is empty is left out. Fields that are not known here are passed over.

    Only `time`, `tree` and `paths` must be there. restic groups snapshots by `hostname` and `paths`, so both must stay
    the same for a drive, or rules of `forget` fall apart. `restic tag` and `restic copy` store a snapshot anew, under
    another id and with only the fields they know, so nothing that must last belongs here.
    """

    time: str
    parent: str = ""
    tree: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    paths: list[str]
    hostname: str = ""
    username: str = ""
    uid: int = 0
    gid: int = 0
    excludes: list[str] = []
    tags: list[str] = []
    original: str = ""
    program_version: str = ""
    id: str = ""  # the name under which it is stored; never stored itself


def save_snapshot(repository: Repository, snapshot: Snapshot) -> str:
    """Store it; its id is returned. Last of all: everything that it names must be stored by then."""
    return repository.save_unpacked("snapshots", msgspec.json.encode(msgspec.structs.replace(snapshot, id="")))


def load_snapshot(repository: Repository, snapshot_id: str) -> Snapshot:
    """NotFound; Damaged."""
    text = repository.load_unpacked("snapshots", snapshot_id)
    try:
        snapshot = msgspec.json.decode(text, type=Snapshot)
        times.from_text(snapshot.time)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Damaged(
            f"{layout.snapshot_name(snapshot_id)} is no snapshot that restic or drivekeep wrote.",
            why=str(error),
            remedy="Run `drivekeep check` to see what else is damaged.",
        ) from None
    return msgspec.structs.replace(snapshot, id=snapshot_id)


def load_snapshots(repository: Repository, on_damage: Callable[[str, Damaged], None] | None = None) -> list[Snapshot]:
    """All of them, oldest first. One that is forgotten meanwhile is left out.

    One that is damaged raises Damaged; with `on_damage`, that is called with its id, and the others are returned: one
    bad object must not hide the good ones from somebody who needs a file back.
    """

    def load(snapshot_id: str) -> Snapshot | None:
        try:
            return load_snapshot(repository, snapshot_id)
        except NotFound:
            return None
        except Damaged as error:
            if on_damage is None:
                raise
            on_damage(snapshot_id, error)
            return None

    with ThreadPoolExecutor(_READERS) as threads:
        found = [snapshot for snapshot in threads.map(load, repository.ids("snapshots")) if snapshot is not None]
    return sorted(found, key=lambda snapshot: (times.from_text(snapshot.time), snapshot.id))


def find_snapshot(snapshots: list[Snapshot], name: str) -> Snapshot:
    """The one that a person means: `latest`, an id, or the beginning of one. NotFound; Usage where two begin so."""
    if not snapshots:
        raise NotFound("The repository holds no snapshot.", remedy="Run `drivekeep backup` first.")
    if name == "latest":
        return max(snapshots, key=lambda snapshot: (times.from_text(snapshot.time), snapshot.id))
    found = [snapshot for snapshot in snapshots if name and snapshot.id.startswith(name)]
    if not found:
        raise NotFound(f"There is no snapshot {name!r}.", remedy="`drivekeep snapshots` lists all of them.")
    if len(found) > 1:
        raise Usage(f"{name!r} is the beginning of {len(found)} snapshots.", remedy="Give more digits of the id.")
    return found[0]
