"""Key files: the right password opens one, a wrong one is called wrong, and a strange file is never trusted."""

import json

import pytest

from backup_core.errors import Damaged, NoRepository, WrongPassword
from backup_core.repository import key, layout
from backup_core.repository.crypto import Keys
from backup_core.repository.key import create_key, open_keys, opening_keys
from backup_core.storage.memory import MemoryStore
from backup_core.testing.fake_clock import FakeClock

PASSWORD = "pässword 🔑"  # any text is one; restic, too, takes its UTF-8


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file says what scrypt cost it; the real cost is seen in the tests that stock restic judges."""
    monkeypatch.setattr(key, "_N", 256)


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock)


def changed_key(store: MemoryStore, name: str, **fields: object) -> str:
    """Replace a key file by one with other fields; its new name is returned."""
    document = {**json.loads(store.get(name)), **fields}
    store.delete(name)
    other = layout.key_name("f" * 64)
    store.put_new(other, json.dumps({key: value for key, value in document.items() if value is not None}).encode())
    return other


def test_every_password_opens_its_key(store: MemoryStore, clock: FakeClock) -> None:
    """Of several key files each opens with its own password, and all hold the same master keys."""
    keys = Keys.random()
    create_key(store, "one", keys, clock)
    create_key(store, PASSWORD, keys, clock)
    sealed = keys.seal(b"content")
    assert [open_keys(store, password).open(sealed) for password in ("one", PASSWORD)] == [b"content", b"content"]


def test_a_wrong_password_is_called_one(store: MemoryStore, clock: FakeClock) -> None:
    """A mistyped password is never called damage, also where another key file cannot be read."""
    create_key(store, PASSWORD, Keys.random(), clock)
    store.put_new(layout.key_name("0" * 64), b"torn")
    with pytest.raises(WrongPassword) as caught:
        open_keys(store, "wrong-secret")
    assert "wrong-secret" not in str(caught.value)


def test_an_unreadable_key_file_hides_no_other(store: MemoryStore, clock: FakeClock) -> None:
    """One torn key file does not lock out the holder of another, nor does a file that is no key file."""
    store.put_new(layout.key_name("0" * 64), b"\xff\x00")
    store.put_new(layout.KEYS + "README", b"about keys")
    name = create_key(store, PASSWORD, Keys.random(), clock)
    assert [found for found, _ in opening_keys(store, PASSWORD)] == [name]


def test_no_key_file_at_all(store: MemoryStore) -> None:
    """Without a key file there is no repository that a password could open."""
    with pytest.raises(NoRepository):
        open_keys(store, PASSWORD)


@pytest.mark.parametrize(
    "fields",
    [
        {"N": 1 << 40},
        {"N": 1 << 20, "r": 1 << 20},
        {"N": 1000},
        {"N": 0},
        {"N": -2},
        {"r": 0},
        {"p": 0},
        {"p": 1 << 30},
        {"kdf": "argon2"},
        {"salt": "***"},
        {"data": 7},
        {"data": None},
    ],
)
def test_a_strange_key_file_is_damage(store: MemoryStore, clock: FakeClock, fields: dict[str, object]) -> None:
    """A forged or torn key file is refused before scrypt takes the machine's memory or hours of its time."""
    changed_key(store, create_key(store, PASSWORD, Keys.random(), clock), **fields)
    with pytest.raises(Damaged):
        open_keys(store, PASSWORD)


def test_a_changed_byte_never_opens(store: MemoryStore, clock: FakeClock) -> None:
    """A key file with another salt opens nothing: that cannot be told from a wrong password."""
    changed_key(store, create_key(store, PASSWORD, Keys.random(), clock), salt="AAAA")
    with pytest.raises(WrongPassword):
        open_keys(store, PASSWORD)


def test_fields_of_a_later_restic_are_passed_over(store: MemoryStore, clock: FakeClock) -> None:
    """A key file with fields that nobody knows yet opens."""
    changed_key(store, create_key(store, PASSWORD, Keys.random(), clock), later={"x": 1})
    open_keys(store, PASSWORD)


def test_a_key_file_tells_nothing(store: MemoryStore, clock: FakeClock) -> None:
    """What lies in clear in a key file names no person and no machine."""
    document = json.loads(store.get(create_key(store, PASSWORD, Keys.random(), clock)))
    assert (document["username"], document["hostname"], document["created"]) == (
        "drivekeep",
        "drivekeep",
        "2026-11-02T08:00:00Z",
    )
