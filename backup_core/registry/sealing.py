"""Sealed texts: small secrets that may lie in a table or a cookie. It derives its keys and stores nothing.

A sealed text is `1.` and base64url of nonce 12 | AES-256-GCM of the secret | tag 16. What it is bound to is
authenticated with it, so that it opens in no other place.
"""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backup_core.errors import Damaged
from backup_core.registry.master_key import MasterKey

_FORMAT = "1."
_NONCE_BYTES = 12


class Sealer:
    """Seals for one purpose: its keys are derived with info `drivekeep/<purpose>`."""

    def __init__(self, master_key: MasterKey, purpose: str) -> None:
        self._ciphers = [AESGCM(key) for key in master_key.derive_all(f"drivekeep/{purpose}")]

    def seal(self, plain: bytes, bound_to: str) -> str:
        """`plain` under the current key; it opens only with the same `bound_to`."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[0].encrypt(nonce, plain, bound_to.encode())
        return _FORMAT + base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, text: str, bound_to: str) -> bytes:
        """What was sealed, under the current key or a former one. Damaged."""
        sealed = _decoded(text)
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
            except InvalidTag:
                continue
        raise _unreadable("It was changed, belongs elsewhere, or was sealed under another master key.")


def _decoded(text: str) -> bytes:
    if not text.startswith(_FORMAT):
        raise _unreadable("It does not have the form of a sealed text of this version.")
    body = text.removeprefix(_FORMAT)
    try:
        sealed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _unreadable("It is cut or changed.") from None
    # Base64 leaves bits unused at the end: a text that differs only there is another text, and is refused.
    if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != body or len(sealed) < _NONCE_BYTES:
        raise _unreadable("It is cut or changed.")
    return sealed


def _unreadable(why: str) -> Damaged:
    return Damaged(
        "A sealed text does not open.",
        why=why,
        remedy="Where the master key was changed, name the former one in DRIVEKEEP_MASTER_KEY_PREVIOUS.",
    )
