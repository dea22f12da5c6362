"""Old drive state taken away: backups delete nothing, so each leaves a head, perhaps a segment, and its log behind.

What restic knows of is never touched, and nothing that any of the newest heads names.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from backup_core.clock import Clock
from backup_core.drive_state.head import named_segments
from backup_core.errors import NotFound
from backup_core.repository import layout
from backup_core.repository.lock import RepositoryLock
from backup_core.repository.repository import Repository

HEADS_KEPT = 3  # the newest, and two ways back where it turns out to be damaged
_AT_ONCE = 8  # the log of a first backup has thousands of objects


@dataclass(frozen=True)
class Swept:
    heads: int = 0
    segments: int = 0
    run_objects: int = 0


def sweep(repository: Repository, clock: Clock, run_id: str) -> Swept:
    """Delete what no later run can ask for. Locked while anybody works on the repository.

    Nothing is deleted where one of the kept heads cannot be read: what it names is not known then.
    """
    with RepositoryLock(repository, clock, run_id, exclusive=True) as lock:
        store = repository.store
        heads = sorted(entry.name for entry in store.list(layout.HEADS))
        kept, old = heads[-HEADS_KEPT:], heads[:-HEADS_KEPT]
        if not kept:
            return Swept()
        named = named_segments(repository, [int(layout.last_part(name)) for name in kept])
        if named is None:
            return Swept()
        segments = [entry.name for entry in store.list(layout.SEGMENTS) if layout.last_part(entry.name) not in named]
        newest = int(layout.last_part(kept[-1]))
        # A run starts from a head and ends with the next one: what started before the newest has ended, or lost to it.
        logs = [entry.name for entry in store.list(layout.RUNS) if layout.base_of_run(entry.name) < newest]
        lock.ensure()
        # Heads go first: a head without its segments would be a way back that leads nowhere.
        return Swept(*(_delete(repository, names) for names in (old, segments, logs)))


def _delete(repository: Repository, names: list[str]) -> int:
    def delete(name: str) -> None:
        with suppress(NotFound):  # a sweep that was killed, and whose work is done again
            repository.store.delete(name)

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sweep") as threads:
        for _ in threads.map(delete, names):
            pass
    return len(names)
