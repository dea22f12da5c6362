"""A repository's password changed: a key file for the new one added, those of former ones taken away.

What encrypts the data is the random key inside each key file: it stays the same, and nothing is written again.
"""

from collections.abc import Sequence

from backup_core.clock import Clock
from backup_core.errors import WrongPassword
from backup_core.repository.key import create_key, opening_keys
from backup_core.repository.lock import RepositoryLock
from backup_core.repository.repository import Repository


def change_password(repository: Repository, clock: Clock, run_id: str, new: str, former: Sequence[str]) -> bool:
    """Whether anything was changed. Locked while anybody works on the repository.

    The new key file is stored and opens before any former one goes: a change that is cut short leaves both. Key files
    of other passwords, which somebody has added by hand, stay.
    """
    old = [name for password in former for name in _opened_by(repository, password)]
    if not old:
        return False
    with RepositoryLock(repository, clock, run_id, exclusive=True) as lock:
        if not _opened_by(repository, new):
            create_key(repository.store, new, repository.keys, clock)
        opened = _opened_by(repository, new)
        lock.ensure()
        for name in old:
            if opened and name not in opened:
                repository.store.delete(name)
    return True


def _opened_by(repository: Repository, password: str) -> list[str]:
    try:
        return [name for name, _ in opening_keys(repository.store, password)]
    except WrongPassword:
        return []
