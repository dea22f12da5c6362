"""The master key: 32 bytes from which every password and every sealing key of the service is derived.

It stores nothing, and none of its bytes show in a text that an object of it prints.
"""

import base64
import binascii
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backup_core.errors import Usage

KEY_BYTES = 32


@dataclass(frozen=True)
class MasterKey:
    """The key in use, and former ones with which what is older can still be opened."""

    current: bytes = field(repr=False)
    previous: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def from_text(cls, text: str | None, previous_text: str | None = None) -> "MasterKey":
        """From the settings DRIVEKEEP_MASTER_KEY and DRIVEKEEP_MASTER_KEY_PREVIOUS (comma list): base64 of 32 bytes.

        Usage where one is missing or is something else.
        """
        former = [each for each in (previous_text or "").split(",") if each.strip()]
        return cls(
            _decoded("DRIVEKEEP_MASTER_KEY", text or ""),
            tuple(_decoded("DRIVEKEEP_MASTER_KEY_PREVIOUS", each) for each in former),
        )

    def derive(self, info: str) -> bytes:
        """32 bytes for one purpose, from the current key."""
        return _derived(self.current, info)

    def derive_all(self, info: str) -> list[bytes]:
        """The same from every key, the current one first."""
        return [_derived(key, info) for key in (self.current, *self.previous)]

    def repository_passwords(self, tenant: str, account: str) -> list[str]:
        """The passwords of one account's repository: the current one, which new ones get, then former ones."""
        info = f"drivekeep/repository/{tenant.lower()}/{account.lower()}"
        return [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in self.derive_all(info)]

    def fingerprint(self) -> str:
        """32 hexadecimal digits that name the current key and tell nothing of it."""
        return self.fingerprints()[0]

    def fingerprints(self) -> list[str]:
        """Those of every key, the current one first."""
        return [each.hex()[:32] for each in self.derive_all("drivekeep/fingerprint")]


def _derived(key: bytes, info: str) -> bytes:
    return HKDF(SHA256(), length=KEY_BYTES, salt=b"", info=info.encode()).derive(key)


def _decoded(setting: str, text: str) -> bytes:
    text = text.strip()
    if not text:
        raise Usage(
            f"{setting} is not set.",
            remedy="Set it to 32 random bytes in base64 (`openssl rand -base64 32`), and keep a copy in a safe place: "
            "without it no repository of the service can be opened.",
        )
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise Usage(
            f"{setting} is not {KEY_BYTES} bytes in base64.",
            why=f"It has {len(text)} characters; {KEY_BYTES} bytes have 44, the last one of which is `=`.",
            remedy="Copy it again from where it is kept. Do not make a new one where repositories exist.",
        )
    return key
