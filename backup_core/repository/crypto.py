"""The envelope around everything that is stored: nonce 16 | AES-256-CTR | Poly1305-AES 16.

It knows neither passwords (`key.py`) nor names nor compression.

The code authenticates the ciphertext alone, under a one-time key made from the nonce; so a changed byte anywhere is
found before anything is decrypted. One set of ciphers per thread is made once and reused: setting up fresh objects
costs more than sealing a small blob. `update_into` lets other threads run meanwhile, `update` and Poly1305 do not.
"""

import base64
import binascii
import json
import os
import threading
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from backup_core.errors import Damaged
from backup_core.storage.store import Buffer

OVERHEAD = 32  # bytes that an envelope adds: 16 of nonce in front, 16 of authentication code behind


class Keys:
    """An encryption key (32 bytes) and the two halves of an authentication key (16 bytes each).

    May be used by many threads at once. Prints as an opaque object: the bytes never reach a log.
    """

    def __init__(self, encrypt: bytes, mac_k: bytes, mac_r: bytes) -> None:
        assert (len(encrypt), len(mac_k), len(mac_r)) == (32, 16, 16)
        self._encrypt, self._mac_k, self._mac_r = encrypt, mac_k, mac_r
        self._thread = threading.local()

    @classmethod
    def random(cls) -> "Keys":
        return cls(os.urandom(32), os.urandom(16), os.urandom(16))

    @classmethod
    def from_json(cls, text: Buffer) -> "Keys":
        """The master keys as they lie inside a key file, once opened. Damaged."""
        try:
            document = json.loads(bytes(text))
            mac = document["mac"]
            parts = [base64.b64decode(part, validate=True) for part in (document["encrypt"], mac["k"], mac["r"])]
        except (ValueError, KeyError, TypeError, binascii.Error):
            raise _no_keys() from None
        if [len(part) for part in parts] != [32, 16, 16]:
            raise _no_keys()
        return cls(*parts)

    def to_json(self) -> bytes:
        """What `from_json` reads. Seal it before it goes anywhere."""
        mac = {"k": _base64(self._mac_k), "r": _base64(self._mac_r)}
        return json.dumps({"mac": mac, "encrypt": _base64(self._encrypt)}).encode()

    def seal(self, plain: Buffer) -> bytes:
        """The envelope around `plain`; OVERHEAD bytes longer."""
        out = bytearray(len(plain) + OVERHEAD)
        self.seal_into(plain, memoryview(out), 0)
        return bytes(out)

    def seal_into(self, plain: Buffer, out: memoryview, at: int) -> int:
        """Write the envelope into `out` from `at`; the end of it is returned. `out` must have room."""
        counter, block = self._ciphers()
        nonce = os.urandom(16)
        start, end = at + 16, at + 16 + len(plain)
        out[at:start] = nonce
        counter.reset_nonce(nonce)
        counter.update_into(plain, out[start:end])
        out[end : end + 16] = Poly1305.generate_tag(self._mac_r + block.update(nonce), out[start:end])
        return end + 16

    def open(self, sealed: Buffer) -> bytes:
        """What was sealed. Damaged where any byte differs from what `seal` made with these keys."""
        view = memoryview(sealed)
        counter = self._verified(view)
        plain: bytes = counter.update(view[16:-16])
        return plain

    def open_into(self, sealed: memoryview, out: memoryview) -> memoryview:
        """As `open`, into the front of `out`; the part of `out` that was written is returned. Damaged."""
        counter = self._verified(sealed)
        plain = out[: len(sealed) - OVERHEAD]
        counter.update_into(sealed[16:-16], plain)
        return plain

    def _verified(self, sealed: memoryview) -> Any:
        """The counter cipher, set to the start of an envelope whose code is right."""
        if len(sealed) < OVERHEAD:
            raise _changed("It is shorter than an empty envelope.")
        counter, block = self._ciphers()
        nonce = bytes(sealed[:16])
        try:
            Poly1305.verify_tag(self._mac_r + block.update(nonce), sealed[16:-16], bytes(sealed[-16:]))
        except InvalidSignature:
            raise _changed("Its authentication code does not fit its bytes.") from None
        counter.reset_nonce(nonce)
        return counter

    def _ciphers(self) -> tuple[Any, Any]:
        mine = self._thread
        if not hasattr(mine, "counter"):
            mine.counter = Cipher(algorithms.AES(self._encrypt), modes.CTR(bytes(16))).encryptor()
            mine.block = Cipher(algorithms.AES(self._mac_k), modes.ECB()).encryptor()  # noqa: S305 one block, no message
        return mine.counter, mine.block


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _changed(why: str) -> Damaged:
    return Damaged(
        "Something sealed cannot be opened.",
        why=why,
        remedy="Run `drivekeep check --read-data` to see what is damaged.",
    )


def _no_keys() -> Damaged:
    return Damaged(
        "A key file holds no usable keys.",
        why="It opened with the password, but what it holds is not what restic or drivekeep write.",
        remedy="Open the repository with another key, and remove this one.",
    )
