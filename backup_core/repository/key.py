"""Key files: the master keys, each time sealed under one password. It does not know what the keys are for.

A key file is JSON in clear; only its `data` is sealed, under keys that scrypt makes from the password. A repository may
have several. Whatever restic wrote (another N or p, another password) opens as well.
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Iterator

import msgspec

from backup_core.clock import Clock
from backup_core.errors import Damaged, NoRepository, NotFound, WrongPassword
from backup_core.repository import layout, times
from backup_core.repository.crypto import Keys
from backup_core.storage.store import Store

# restic's N and r (32 MiB of memory). p=1 opens in 0.1 s of processor time, where restic calibrates to half a second:
# a long random password gains nothing from more, and every command pays for it.
_N, _R, _P = 32768, 8, 1
_MEMORY_MAX = 1 << 30  # bytes that scrypt may take: a forged key file must not take the whole machine
_P_MAX = 256  # restic's calibration ends far below


class _KeyFile(msgspec.Struct):
    created: str
    username: str
    hostname: str
    kdf: str
    N: int
    r: int
    p: int
    salt: str
    data: str


def create_key(store: Store, password: str, keys: Keys, clock: Clock) -> str:
    """Store `keys` sealed under `password`; the name of the new key file is returned."""
    salt = os.urandom(64)
    sealed = _password_keys(password, salt, _N, _R, _P).seal(keys.to_json())
    document = {
        "created": times.to_text(clock.now()),
        "username": "drivekeep",
        "hostname": "drivekeep",
        "kdf": "scrypt",
        "N": _N,
        "r": _R,
        "p": _P,
        "salt": base64.b64encode(salt).decode(),
        "data": base64.b64encode(sealed).decode(),
    }
    text = json.dumps(document).encode()
    name = layout.key_name(hashlib.sha256(text).hexdigest())
    store.put_new(name, text)
    return name


def open_keys(store: Store, password: str) -> Keys:
    """The master keys of the first key file that `password` opens. NoRepository (no key file); WrongPassword."""
    for _name, keys in opening_keys(store, password):
        return keys
    raise AssertionError("opening_keys yields or raises")


def opening_keys(store: Store, password: str) -> Iterator[tuple[str, Keys]]:
    """Each key file's name that `password` opens, with the keys in it; as `open_keys`, raises where there is none.

    A key file that cannot be read is passed over, since another one may open; only where all are unreadable is that
    damage, so that a mistyped password is never called one.
    """
    found = opened = 0
    unreadable = []
    for stored in store.list(layout.KEYS):
        if not layout.is_id(layout.last_part(stored.name)):
            continue
        try:
            text = store.get(stored.name)
        except NotFound:
            continue  # removed since the listing
        found += 1
        try:
            file = _read(text)
        except Damaged:
            unreadable.append(stored.name)
            continue
        keys = _opened(file, password)
        if keys is not None:
            opened += 1
            yield stored.name, keys
    if not found:
        raise NoRepository("There is no key file.", why="Every repository has at least one.")
    if len(unreadable) == found:
        raise Damaged(
            f"No key file can be read ({', '.join(unreadable)}).",
            why="What is stored there is no key file of restic or drivekeep.",
            remedy="Bring back the folder `keys` from a copy of the repository.",
        )
    if not opened:
        raise WrongPassword(
            "The password opens no key of this repository.",
            why=f"{found} key file(s) were tried.",
            remedy="Check the password; it is the one given when the repository was made.",
        )


def _read(text: bytes) -> tuple[_KeyFile, bytes, bytes]:
    """A key file with its salt and its sealed part; Damaged where it is none, or would take too much memory."""
    try:
        file = msgspec.json.decode(text, type=_KeyFile)
        salt, data = base64.b64decode(file.salt, validate=True), base64.b64decode(file.data, validate=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, binascii.Error):
        raise Damaged("A key file is unreadable.") from None
    power_of_two = file.N > 1 and file.N & (file.N - 1) == 0
    affordable = file.r > 0 and 128 * file.N * file.r <= _MEMORY_MAX and 0 < file.p <= _P_MAX
    if file.kdf != "scrypt" or not power_of_two or not affordable:
        raise Damaged("A key file asks for a key derivation that is not supported.")
    return file, salt, data


def _opened(key_file: tuple[_KeyFile, bytes, bytes], password: str) -> Keys | None:
    file, salt, data = key_file
    try:
        inner = _password_keys(password, salt, file.N, file.r, file.p).open(data)
    except Damaged:
        return None  # a wrong password and a changed byte look alike; the password is the likelier
    return Keys.from_json(inner)


def _password_keys(password: str, salt: bytes, n: int, r: int, p: int) -> Keys:
    # maxmem: scrypt refuses our N under its own default of 32 MiB
    raw = hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r + (1 << 20) * p, dklen=64)
    return Keys(raw[:32], raw[32:48], raw[48:])
