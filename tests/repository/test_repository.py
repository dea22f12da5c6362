"""A repository is made once, in an empty place, and opens with its password or says why not."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_core.errors import AlreadyExists, Damaged, DrivekeepError, NoRepository, Temporary, Usage, WrongPassword
from backup_core.repository import key, layout
from backup_core.repository.crypto import Keys
from backup_core.repository.repository import Repository
from backup_core.storage.local_folder import LocalFolderStore
from backup_core.storage.memory import MemoryStore
from backup_core.storage.store import Buffer, Store, Stored
from backup_core.testing.fake_clock import FakeClock


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file says what scrypt cost it; the real cost is seen in the tests that stock restic judges."""
    monkeypatch.setattr(key, "_N", 256)


class MeddlingStore(MemoryStore):
    """Calls `before_config` once, just before `config` would be put."""

    def __init__(self, clock: FakeClock, before_config: Callable[[Store], object]) -> None:
        super().__init__(clock)
        self._before_config: Callable[[Store], object] | None = before_config

    def put_new(self, name: str, data: Buffer) -> None:
        if name == layout.CONFIG and self._before_config:
            meddle, self._before_config = self._before_config, None
            meddle(self)
        super().put_new(name, data)


def names_in(store: Store) -> list[str]:
    return [stored.name for stored in store.list()]


def test_a_new_repository_opens(clock: FakeClock) -> None:
    """What was made opens with its password and is the same repository; it holds `config` and one key."""
    store = MemoryStore(clock)
    made = Repository.create(store, "pw", clock)
    opened = Repository.open(store, "pw")
    assert (opened.id, opened.version) == (made.id, 2)
    assert layout.is_id(made.id)
    assert opened.keys.open(made.keys.seal(b"x")) == b"x"
    assert [name.split("/")[0] for name in names_in(store)] == ["config", "keys"]


def test_data_packs_may_go_elsewhere(clock: FakeClock) -> None:
    """A second store, for a cooler access tier, is kept where one is given; otherwise it is the same one."""
    store = MemoryStore(clock)
    cool = MemoryStore(clock)
    assert Repository.create(store, "pw", clock, cool).content_store is cool
    assert Repository.open(store, "pw").content_store is store


def test_nothing_there(clock: FakeClock) -> None:
    """Opening an empty place says that there is no repository and how to make one, and writes nothing."""
    store = MemoryStore(clock)
    with pytest.raises(NoRepository) as caught:
        Repository.open(store, "pw")
    assert caught.value.exit_code == 10
    assert "drivekeep init" in str(caught.value)
    assert names_in(store) == []


def test_wrong_password(clock: FakeClock) -> None:
    """A wrong password ends with exit code 12 and nothing else."""
    store = MemoryStore(clock)
    Repository.create(store, "pw", clock)
    with pytest.raises(WrongPassword):
        Repository.open(store, "other")
    with pytest.raises(WrongPassword):
        Repository.open_or_create(store, "other", clock)


def test_a_place_with_other_things_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    """Where anything else lies no repository is made, and not a byte is written."""
    for number, name in enumerate(("README", "data/00/" + "a" * 64, "state/heads/000000000001", "my file.txt")):
        folder = tmp_path / str(number)
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("mine")
        with pytest.raises(NoRepository) as caught:
            Repository.open_or_create(LocalFolderStore(folder, sync=False), "pw", clock)
        assert name in str(caught.value)
        assert [path for path in folder.rglob("*") if path.is_file()] == [folder / name]


def test_empty_folders_count_as_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """A place with empty folders only is empty."""
    (tmp_path / "data" / "00").mkdir(parents=True)
    (tmp_path / "keys").mkdir()
    assert Repository.create(LocalFolderStore(tmp_path, sync=False), "pw", clock).version == 2


def test_a_repository_is_never_made_twice(clock: FakeClock) -> None:
    """Making one where one is already changes nothing, whatever lies beside it."""
    store = MemoryStore(clock)
    Repository.create(store, "pw", clock)
    store.put_new("README", b"")
    before = names_in(store)
    with pytest.raises(AlreadyExists):
        Repository.create(store, "pw", clock)
    assert names_in(store) == before
    assert Repository.open_or_create(store, "pw", clock).version == 2


def test_a_creation_cut_short_is_taken_up(clock: FakeClock) -> None:
    """A creator that died after its key file leaves a place where the same password makes the repository."""
    store = MemoryStore(clock)
    left = Keys.random()
    name = key.create_key(store, "pw", left, clock)
    made = Repository.create(store, "pw", clock)
    assert names_in(store) == ["config", name]
    assert made.keys.open(left.seal(b"x")) == b"x"


def test_a_key_of_another_password_is_in_the_way(clock: FakeClock) -> None:
    """Key files that the password does not open make the place not empty: exit code 10, nothing written."""
    for others in (["other"], ["pw", "other"]):
        store = MemoryStore(clock)
        for password in others:
            key.create_key(store, password, Keys.random(), clock)
        before = names_in(store)
        with pytest.raises(NoRepository):
            Repository.create(store, "pw", clock)
        assert names_in(store) == before


def test_the_second_of_two_creators_opens_the_first_ones(clock: FakeClock) -> None:
    """Who comes second takes its own key back and works in the repository of the first; restic opens with one key."""
    first: list[Repository] = []
    store = MeddlingStore(clock, lambda inner: first.append(_made_by_another(inner, "pw", clock)))
    second = Repository.create(store, "pw", clock)
    assert second.id == first[0].id
    assert len(names_in(store)) == 2
    assert second.keys.open(first[0].keys.seal(b"x")) == b"x"


def test_the_second_creator_with_another_password_is_told(clock: FakeClock) -> None:
    """Who comes second with another password leaves nothing behind and learns that the password is wrong."""
    store = MeddlingStore(clock, lambda inner: _made_by_another(inner, "first", clock))
    with pytest.raises(WrongPassword):
        Repository.create(store, "second", clock)
    assert len(names_in(store)) == 2
    Repository.open(store, "first")


def test_a_creator_that_took_up_a_key_of_the_winner_leaves_it(clock: FakeClock) -> None:
    """A key file that opens the winner's config is the winner's too, and stays."""
    store = MeddlingStore(clock, lambda inner: _config_put(inner, "pw"))
    Repository.create(store, "pw", clock)
    assert Repository.open(store, "pw").id == "c" * 64


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_creator_that_is_late_by_a_moment(clock: FakeClock, withdrawn: bool) -> None:
    """Who looks while another creator finishes (or takes back a key) opens that repository, and calls it no litter."""

    class Late(MemoryStore):
        looked = False

        def list(self, prefix: str = "") -> Iterator[Stored]:
            if not self.looked:
                self.looked = True
                _made_by_another(self, "pw", clock)
                if withdrawn:
                    gone = Stored(layout.key_name("0" * 64), 400, 0.0)
                    return iter([gone, *super().list(prefix)])
            return super().list(prefix)

    assert Repository.create(Late(clock), "pw", clock).id == "b" * 64


def test_many_creators_at_once_make_one(tmp_path: Path, clock: FakeClock) -> None:
    """Creators that race in a real folder all end in the same repository, with one key file that opens it."""
    ids: list[str] = []
    start = threading.Barrier(4)

    def make() -> None:
        start.wait()
        ids.append(Repository.open_or_create(LocalFolderStore(tmp_path, sync=False), "pw", clock).id)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert Repository.open(LocalFolderStore(tmp_path), "pw").id == ids[0]


def test_a_stray_key_of_a_dead_creator_does_not_mislead(clock: FakeClock) -> None:
    """A second key file that the password opens, with other master keys in it, is passed over."""
    store = MemoryStore(clock)
    made = Repository.create(store, "pw", clock)
    for _ in range(4):  # some of them come before the right one in the listing
        key.create_key(store, "pw", Keys.random(), clock)
    assert Repository.open(store, "pw").id == made.id


def test_keys_gone_or_config_torn_is_damage(clock: FakeClock) -> None:
    """A repository without key files, or with a config that is not what was written, is damaged; not "none there"."""
    store = MemoryStore(clock)
    Repository.create(store, "pw", clock)
    sealed = store.get(layout.CONFIG)
    store.delete(layout.CONFIG)
    store.put_new(layout.CONFIG, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(Damaged):
        Repository.open(store, "pw")
    with pytest.raises(WrongPassword):
        Repository.open(store, "other")
    store.delete(names_in(store)[1])
    with pytest.raises(Damaged):
        Repository.open(store, "pw")


def test_a_newer_format_is_refused_by_name(clock: FakeClock) -> None:
    """A repository of a later version is left alone, with a word that a program can act on."""
    store = MemoryStore(clock)
    keys = Keys.random()
    key.create_key(store, "pw", keys, clock)
    store.put_new(layout.CONFIG, keys.seal(json.dumps({"version": 3, "id": "0" * 64}).encode()))
    with pytest.raises(Usage) as caught:
        Repository.open(store, "pw")
    assert caught.value.reason == "newer-format"


def test_an_unreachable_store_is_not_an_empty_one(clock: FakeClock) -> None:
    """Only a missing `config` means "no repository": any other failure comes through, and nothing is made."""

    class Unreachable(MemoryStore):
        def get(self, name: str) -> bytes:
            raise Temporary("down")

    store = Unreachable(clock)
    with pytest.raises(Temporary):
        Repository.open_or_create(store, "pw", clock)
    assert names_in(store) == []


def test_json_comes_back(memory_repository: Repository) -> None:
    """What is saved in a folder is listed there and loads as it was; files that are no objects are passed over."""
    saved = {memory_repository.save_unpacked("index", text): text for text in (b"{}", b'{"a":[1]}' * 1000, b"[]")}
    memory_repository.store.put_new("index/README", b"about")
    memory_repository.store.put_new("index/" + "A" * 64, b"no id")
    assert memory_repository.ids("index") == sorted(saved)
    assert {name: memory_repository.load_unpacked("index", name) for name in saved} == saved
    assert memory_repository.ids("snapshots") == []


def test_version_2_compresses_and_version_1_does_not(memory_repository: Repository) -> None:
    """Each version is written as its readers expect it, and both are read by one reader."""
    one, two = (
        Repository(memory_repository.store, memory_repository.keys, "0" * 64, version, memory_repository.store)
        for version in (1, 2)
    )
    text = b'{"packs":[]}' * 100
    plain, packed = one.save_unpacked("index", text), two.save_unpacked("index", text)
    assert one.keys.open(one.store.get(layout.index_name(plain))) == text
    assert one.keys.open(one.store.get(layout.index_name(packed)))[:1] == b"\x02"
    assert [two.load_unpacked("index", name) for name in (plain, packed)] == [text, text]


@pytest.mark.parametrize("content", [b"", b"\x03{}", b"text", b"\x02", b"\x02{}"])
def test_content_of_no_known_kind_is_damage(memory_repository: Repository, content: bytes) -> None:
    """An object that opens but holds neither JSON nor a frame is damage, and its name is told."""
    import hashlib

    sealed = memory_repository.keys.seal(content)
    name = hashlib.sha256(sealed).hexdigest()
    memory_repository.store.put_new(layout.index_name(name), sealed)
    with pytest.raises(Damaged, match=name):
        memory_repository.load_unpacked("index", name)


def test_an_object_under_a_wrong_name_is_damage(memory_repository: Repository) -> None:
    """A sound object moved to another name (an old snapshot played back) is found by its hash."""
    name = memory_repository.save_unpacked("snapshots", b"{}")
    memory_repository.store.put_new(
        layout.snapshot_name("0" * 64), memory_repository.store.get(layout.snapshot_name(name))
    )
    with pytest.raises(Damaged, match="snapshots/000"):
        memory_repository.load_unpacked("snapshots", "0" * 64)


def test_storing_the_same_twice_is_success(memory_repository: Repository) -> None:
    """A repeated put of a hash-named object succeeds; one of another length under that name is damage."""
    memory_repository.put_by_content("data/00/" + "0" * 64, b"content")
    memory_repository.put_by_content("data/00/" + "0" * 64, memoryview(b"content"))
    with pytest.raises(Damaged):
        memory_repository.put_by_content("data/00/" + "0" * 64, b"conten")


def test_errors_tell_no_secret(clock: FakeClock) -> None:
    """No error of opening shows the password or a key."""
    store = MemoryStore(clock)
    Repository.create(store, "pw", clock)
    try:
        Repository.open(store, "hunter2-secret")
    except DrivekeepError as error:
        assert "hunter2" not in f"{error}{error!r}{error.__cause__!r}"


def _made_by_another(store: Store, password: str, clock: FakeClock) -> Repository:
    """As if another creator had looked before our key file was there."""
    keys = Keys.random()
    key.create_key(store, password, keys, clock)
    document = json.dumps({"version": 2, "id": "b" * 64, "chunker_polynomial": "3da3358b4dc173"})
    store.put_new(layout.CONFIG, keys.seal(document.encode()))
    return Repository.open(store, password)


def _config_put(store: Store, password: str) -> None:
    """As if another creator had taken up our key file."""
    keys = key.open_keys(store, password)
    store.put_new(layout.CONFIG, keys.seal(json.dumps({"version": 2, "id": "c" * 64}).encode()))


def test_compressed_objects_are_capped(memory_repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small object that would unpack to more than any index has is damage."""
    from backup_core.repository import repository

    name = memory_repository.save_unpacked("index", b"[" + b" " * 5000)
    monkeypatch.setattr(repository, "_UNPACKED_MAX", 5000)
    with pytest.raises(Damaged):
        memory_repository.load_unpacked("index", name)
