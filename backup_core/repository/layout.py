"""Every name that is ever stored in a repository, in one place. It does not read or write anything.

    config                        the repository's id and format version
    keys/<id>                     the master keys, sealed under a password
    locks/<id>                    who works on the repository just now
    snapshots/<id>                one moment of one drive
    index/<id>                    which pack holds which blob, and where
    data/<two digits>/<id>        packs: content and trees
    state/heads/<12 digits>       what makes the next run cheap, newest last
    state/segments/<16 digits>    leaves of its maps
    state/runs/<run>/...          what a run has planned and saved so far

<id> is the SHA-256 of the object as stored, in hex. All but `state/` is restic's layout; restic ignores `state/`.
"""

import re
from typing import Literal

Folder = Literal["index", "snapshots", "locks"]

CONFIG = "config"
KEYS = "keys/"
LOCKS = "locks/"
SNAPSHOTS = "snapshots/"
INDEX = "index/"
DATA = "data/"
STATE = "state/"
HEADS = "state/heads/"
SEGMENTS = "state/segments/"
RUNS = "state/runs/"

_ID = re.compile(r"[0-9a-f]{64}\Z")


def is_id(text: str) -> bool:
    """Whether restic, too, would take this for the name of one of its objects."""
    return _ID.match(text) is not None


def last_part(name: str) -> str:
    """`index/<id>` -> `<id>`."""
    return name.rpartition("/")[2]


def key_name(key_id: str) -> str:
    return KEYS + key_id


def lock_name(lock_id: str) -> str:
    return LOCKS + lock_id


def snapshot_name(snapshot_id: str) -> str:
    return SNAPSHOTS + snapshot_id


def index_name(index_id: str) -> str:
    return INDEX + index_id


def pack_name(pack_id: str) -> str:
    """256 folders, as restic has them: a local folder with 100,000 files in it would be slow to list."""
    return f"{DATA}{pack_id[:2]}/{pack_id}"


def head_name(generation: int) -> str:
    """Twelve digits: a listing ordered by name is ordered by age."""
    return f"{HEADS}{generation:012d}"


def segment_name(segment_id: str) -> str:
    return SEGMENTS + segment_id


def run_folder(run: str) -> str:
    return f"{RUNS}{run}/"


def base_of_run(name: str) -> int:
    """Number of the head from which the run started that an object below `state/runs/` belongs to."""
    return int(name.removeprefix(RUNS)[:12])


def plan_name(run: str, number: int) -> str:
    return f"{run_folder(run)}plan-{number:05d}"


def batch_name(run: str, number: int) -> str:
    return f"{run_folder(run)}batch-{number:05d}"


def saved_name(run: str, number: int) -> str:
    return f"{run_folder(run)}saved-{number:05d}"
