"""A repository's password changed, as the change of a master key does it."""

import pytest

from backup_core.clock import SystemClock
from backup_core.errors import Interrupted, WrongPassword
from backup_core.maintenance import password as changing
from backup_core.maintenance.password import change_password
from backup_core.repository.key import create_key
from backup_core.repository.repository import Repository
from backup_core.storage.memory import MemoryStore

CLOCK = SystemClock()


def made(password: str) -> tuple[MemoryStore, Repository]:
    store = MemoryStore(CLOCK)
    return store, Repository.create(store, password, CLOCK)


def test_new_password_opens_and_the_former_does_not() -> None:
    """The data's own key stays the same; of passwords only the new one, and those of other people, open it."""
    store, repository = made("former")
    create_key(store, "somebody's own", repository.keys, CLOCK)
    assert change_password(repository, CLOCK, "change", "new", ["former"])
    assert Repository.open(store, "new").keys.seal(b"") and Repository.open(store, "somebody's own")
    sealed = repository.keys.seal(b"content")
    assert Repository.open(store, "new").keys.open(sealed) == b"content"
    with pytest.raises(WrongPassword):
        Repository.open(store, "former")


def test_nothing_to_change_changes_nothing() -> None:
    """A repository that has the new password already is left alone, and so is one that knows neither."""
    store, repository = made("new")
    before = [entry.name for entry in store.list("")]
    assert not change_password(repository, CLOCK, "change", "new", ["former"])
    assert [entry.name for entry in store.list("")] == before


def test_change_that_is_cut_short_leaves_a_way_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the new key file is stored, the former password opens; a second try completes the change."""
    store, repository = made("former")

    def killed(*_: object) -> str:
        raise Interrupted("killed")

    with monkeypatch.context() as patched:
        patched.setattr(changing, "create_key", killed)
        with pytest.raises(Interrupted):
            change_password(repository, CLOCK, "change", "new", ["former"])
    assert Repository.open(store, "former")
    assert change_password(repository, CLOCK, "again", "new", ["former"])
    assert Repository.open(store, "new")
