"""A repository: a store, the keys to it, and the small sealed JSON objects in it (index, snapshots, locks).

Packs are `pack.py` and `packer.py`. What the JSON says is the matter of `index.py`, `snapshot.py` and `lock.py`.
"""

import hashlib
import json
import os

import msgspec

from backup_core.clock import Clock
from backup_core.errors import AlreadyExists, Damaged, NoRepository, NotFound, Usage, WrongPassword
from backup_core.repository import compression, key, layout
from backup_core.repository.crypto import Keys
from backup_core.storage.store import Buffer, Store

# Irreducible, of degree 53, as restic demands. Only restic's own chunker would use it, so one for all is no loss.
_POLYNOMIAL = "3da3358b4dc173"
_ZSTD = b"\x02"  # in version 2 what follows is a zstd frame
_LEVEL = 3  # these objects are few and long-lived
_UNPACKED_MAX = 1 << 30  # bytes of JSON; restic closes an index at some 7 MB
_VERSIONS = (1, 2)


class _Config(msgspec.Struct):
    version: int
    id: str


class Repository:
    """Made by `open`, `create` or `open_or_create`, and complete from then on. May be used by many threads.

    `content_store` is where data packs are put: the same objects as in `store`, perhaps in a cooler access tier. (Data
    and tree packs share the folder `data/`, so a store cannot tell them apart by name.)
    """

    def __init__(self, store: Store, keys: Keys, repository_id: str, version: int, content_store: Store) -> None:
        self.store, self.content_store = store, content_store
        self.keys = keys
        self.id = repository_id
        self.version = version

    @classmethod
    def open(cls, store: Store, password: str, content_store: Store | None = None) -> "Repository":
        """NoRepository where there is no `config`; WrongPassword; Damaged; Usage where the format is a newer one."""
        try:
            sealed = store.get(layout.CONFIG)
        except NotFound:
            raise NoRepository(
                "There is no repository at this place.",
                why="It has no `config`.",
                remedy="Check the location, or make a repository there with `drivekeep init`.",
            ) from None
        keys, config = _open_config(store, password, sealed)
        return cls(store, keys, config.id, config.version, content_store or store)

    @classmethod
    def create(cls, store: Store, password: str, clock: Clock, content_store: Store | None = None) -> "Repository":
        """Make a repository, and open it. Where somebody else makes one at the same moment, theirs is opened.

        Only where nothing else lies: AlreadyExists where there is a repository, NoRepository where there is anything
        but key files that the password opens (a creation that was cut short leaves one); nothing is written then.
        `config` is the last object, put only if absent: it decides which of two creators made the repository.
        """
        if _exists(store, layout.CONFIG):
            raise AlreadyExists(
                "There is a repository at this place already.",
                remedy="Use it as it is, or choose an empty place for a new one.",
            )
        try:
            _refuse_other_things(store)
            keys, own_key = _reused_key(store, password), None
        except NoRepository:
            if _exists(store, layout.CONFIG):  # what was in the way is the repository of another creator
                return cls.open(store, password, content_store)
            raise
        if keys is None:
            keys = Keys.random()
            own_key = key.create_key(store, password, keys, clock)
        document = {"version": 2, "id": os.urandom(32).hex(), "chunker_polynomial": _POLYNOMIAL}
        try:
            store.put_new(layout.CONFIG, keys.seal(json.dumps(document).encode()))
        except AlreadyExists:
            _withdraw_key(store, own_key, keys)
        return cls.open(store, password, content_store)

    @classmethod
    def open_or_create(
        cls, store: Store, password: str, clock: Clock, content_store: Store | None = None
    ) -> "Repository":
        """The repository at this place, made if the place is empty; errors as for `open` and `create`."""
        try:
            return cls.open(store, password, content_store)
        except NoRepository:
            pass
        try:
            return cls.create(store, password, clock, content_store)
        except AlreadyExists:
            return cls.open(store, password, content_store)

    def save_unpacked(self, folder: layout.Folder, plain: bytes) -> str:
        """Seal JSON and store it; its id (64 hex digits) is returned."""
        content = _ZSTD + compression.compress(plain, _LEVEL) if self.version > 1 else plain
        sealed = self.keys.seal(content)
        object_id = hashlib.sha256(sealed).hexdigest()
        self.put_by_content(f"{folder}/{object_id}", sealed)
        return object_id

    def load_unpacked(self, folder: layout.Folder, object_id: str) -> bytes:
        """The JSON of one object. NotFound; Damaged where it is not what its name says."""
        name = f"{folder}/{object_id}"
        sealed = self.store.get(name)
        if hashlib.sha256(sealed).hexdigest() != object_id:
            raise _damaged(name, "Its bytes do not fit its name.")
        try:
            content = self.keys.open(sealed)
            if content[:1] in (b"{", b"["):  # version 1, and what an upgrade from it left as it was
                return content
            if content[:1] == _ZSTD:
                return compression.decompress(memoryview(content)[1:], _UNPACKED_MAX)
        except Damaged as error:
            raise _damaged(name, str(error)) from error
        raise _damaged(name, "It is neither JSON nor compressed.")

    def ids(self, folder: layout.Folder) -> list[str]:
        """Of all objects in a folder, ordered. Names that are no ids are not restic's and are passed over."""
        names = (layout.last_part(stored.name) for stored in self.store.list(f"{folder}/"))
        return [name for name in names if layout.is_id(name)]

    def put_by_content(self, name: str, data: Buffer) -> None:
        """Store an object whose name is the hash of its bytes, so that storing it twice is no error.

        Damaged where an object of another length lies under that name.
        """
        put_by_content(self.store, name, data)


def put_by_content(store: Store, name: str, data: Buffer) -> None:
    """As the method of that name, into any store of the repository."""
    try:
        store.put_new(name, data)
    except AlreadyExists:
        there = store.size(name)
        if there != len(data):
            raise _damaged(name, f"It has {there} bytes where {len(data)} were to be stored.") from None


def _open_config(store: Store, password: str, sealed: bytes) -> tuple[Keys, _Config]:
    """The keys that open `config`, and what it says.

    More than one key may open with the password and yet fail here: a creator that came second and was killed before it
    took its key file back.
    """
    opened = 0
    try:
        for _name, keys in key.opening_keys(store, password):
            opened += 1
            try:
                return keys, _parse_config(keys.open(sealed))
            except Damaged:
                continue
    except NoRepository as error:
        raise Damaged(
            "The repository has no key file any more.",
            why="Without one nothing in it can be read.",
            remedy="Bring back the folder `keys` from a copy of the repository.",
        ) from error
    raise _damaged(layout.CONFIG, f"{opened} key(s) open with the password, but none of them opens it.")


def _parse_config(text: bytes) -> _Config:
    try:
        config = msgspec.json.decode(text, type=_Config)
    except msgspec.MsgspecError as error:
        raise _damaged(layout.CONFIG, f"It is not what restic writes: {error}.") from None
    if config.version not in _VERSIONS:
        raise Usage(
            f"The repository has format version {config.version}, which this drivekeep cannot read.",
            remedy="Use a newer drivekeep.",
            reason="newer-format",
        )
    return config


def _exists(store: Store, name: str) -> bool:
    try:
        store.size(name)
    except NotFound:
        return False
    return True


def _refuse_other_things(store: Store) -> None:
    for stored in store.list():
        if not stored.name.startswith(layout.KEYS):
            raise NoRepository(
                f"There is no repository at this place, but something else: {stored.name}",
                why="A repository is only made in an empty place, so that nothing is mixed up or overwritten.",
                remedy="Check the location, or choose an empty one.",
            )


def _reused_key(store: Store, password: str) -> Keys | None:
    """Keys that a creation which was cut short has left. NoRepository where the password does not open all of them."""
    lying = [stored.name for stored in store.list(layout.KEYS)]
    if not lying:
        return None
    try:
        opening = dict(key.opening_keys(store, password))
    except (WrongPassword, Damaged, NoRepository):
        opening = {}
    strange = [name for name in lying if name not in opening]
    if strange:
        raise NoRepository(
            f"There is no repository at this place, but a key file that the password does not open: {strange[0]}",
            why="Somebody began to make a repository here with another password, or a repository was erased in part.",
            remedy="Use the password of that attempt, or remove the folder `keys`, or choose an empty place.",
        )
    return opening[lying[0]]


def _withdraw_key(store: Store, own_key: str | None, keys: Keys) -> None:
    """Another creator was first: our key file, if it is not theirs too, would mislead whoever tries it on their config.

    Their `config` is never replaced, so what is found here stays true.
    """
    if own_key is None:
        return
    try:
        keys.open(store.get(layout.CONFIG))
    except Damaged:
        store.delete(own_key)


def _damaged(name: str, why: str) -> Damaged:
    return Damaged(
        f"{name} is damaged.",
        why=why,
        remedy="Run `drivekeep check` to see what else is; a copy of the repository may still have this object.",
    )
