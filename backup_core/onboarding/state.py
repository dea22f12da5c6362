"""The state that goes to Microsoft and comes back: signed, short-lived, good for one use in the browser that began.

It says nothing of who comes back: that is proved by a token.
"""

import base64
import datetime
import hashlib
import hmac
import secrets
import struct
from typing import Literal, Protocol

from backup_core.clock import Clock
from backup_core.errors import AccessDenied

Purpose = Literal["onboard", "connect"]

STATE_SECONDS = 15 * 60
KEY_INFO = "drivekeep/state"  # what its key is derived from the master key for

_PURPOSES: dict[Purpose, bytes] = {"onboard": b"o", "connect": b"c"}
_NONCE_BYTES = 16
_FORMAT = struct.Struct(f">cd{_NONCE_BYTES}s32s")  # purpose, end of its life, nonce, hash of what the browser keeps
_TEXT_MAX = 400


class Nonces(Protocol):
    def use(self, nonce: str, expires: datetime.datetime) -> bool:
        """False where it was used before."""


class StateRefused(AccessDenied):
    """The way back does not belong to a way there."""

    reason = "state"

    def __init__(self) -> None:
        super().__init__(
            "The way back from Microsoft could not be matched with a way there.",
            why="A link works once, within 15 minutes, and in the browser that began.",
            remedy="Start again from the first page.",
        )


def new_binding() -> str:
    """What the browser keeps in a cookie, so that nobody else's browser can come back in its place."""
    return secrets.token_urlsafe(32)


class States:
    """`key`: derived from the master key for `KEY_INFO`. `nonces` remember which states were used."""

    def __init__(self, key: bytes, nonces: Nonces, clock: Clock) -> None:
        self._key, self._nonces, self._clock = key, nonces, clock

    def issue(self, purpose: Purpose, binding: str) -> str:
        """A new state for the browser that keeps `binding`."""
        ends = self._clock.now().timestamp() + STATE_SECONDS
        content = _FORMAT.pack(_PURPOSES[purpose], ends, secrets.token_bytes(_NONCE_BYTES), _hash(binding))
        text = base64.urlsafe_b64encode(content).decode().rstrip("=")
        return f"{text}.{self._signature(text)}"

    def redeem(self, state: str, purpose: Purpose, binding: str | None) -> None:
        """Use it up. StateRefused, without a word of why: forged, changed, too old, used, of another browser or way."""
        text, _, signature = state.partition(".")
        # The text itself is signed and compared, not what it decodes to: several texts decode to the same bytes.
        right = self._signature(text)
        if len(state) > _TEXT_MAX or not hmac.compare_digest(right.encode(), signature.encode(errors="replace")):
            raise StateRefused
        given_purpose, ends, nonce, bound = _FORMAT.unpack(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        fits = given_purpose == _PURPOSES[purpose] and hmac.compare_digest(bound, _hash(binding or ""))
        if not fits or self._clock.now().timestamp() >= ends:
            raise StateRefused
        # Last, so that nobody without the cookie can use up somebody else's.
        if not self._nonces.use(nonce.hex(), datetime.datetime.fromtimestamp(ends, datetime.UTC)):
            raise StateRefused

    def _signature(self, text: str) -> str:
        signed = hmac.digest(self._key, text.encode(errors="replace"), "sha256")
        return base64.urlsafe_b64encode(signed).decode().rstrip("=")


def _hash(binding: str) -> bytes:
    return hashlib.sha256(binding.encode(errors="replace")).digest()
