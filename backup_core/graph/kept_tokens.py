"""One person's tokens between two runs, as msal's serialised cache; where they lie is the keeper's to say."""

from typing import Any, Protocol

import msal
import msgspec

from backup_core.graph.sign_in_host import expired

_REFRESH_TOKENS = msal.TokenCache.CredentialType.REFRESH_TOKEN


class KeptTokens(Protocol):
    """A file, or a sealed row of the registry; read and replaced whole.

    `name` is what a person knows the place by; `again` is what to do when the tokens in it no longer work.
    """

    name: str
    again: str

    def read(self) -> bytes:
        """What is kept now, perhaps by another process. AccessDenied where there is nothing."""

    def replace(self, text: str) -> None:
        """Whole or not at all, and safe when this returns; where it cannot be, what is kept stays.

        No reason to end a run, which has its new token: the old one works on for some time. It is logged instead.
        """


def open_cache(kept: KeptTokens, client_id: str, hosts: frozenset[str]) -> tuple[msal.SerializableTokenCache, str]:
    """The cache, and the newest refresh token in it for a client and any of the hosts.

    `{"refresh_token": "…"}` alone is accepted. AccessDenied where there is nothing that can be used.
    """
    content = _decoded(kept)
    cache = msal.SerializableTokenCache()
    alone = content.get("refresh_token")
    if isinstance(alone, str) and alone:
        return cache, alone
    try:
        cache.deserialize(msgspec.json.encode(content).decode())
        entries = list(cache.search(_REFRESH_TOKENS, query={"client_id": client_id}))
        # A token of one cloud is never shown to the sign-in host of another.
        usable = [entry for entry in entries if entry["environment"] in hosts]
        newest = max(usable, key=lambda entry: int(entry.get("last_modification_time", 0)), default=None)
        if newest is not None:
            return cache, newest["secret"]
    except (ValueError, TypeError, AttributeError, KeyError):
        raise expired(f"{kept.name} is corrupted.", kept.again) from None
    raise expired(f"{kept.name} has no refresh token for this client id and sign-in host.", kept.again)


def keep_cache(kept: KeptTokens, cache: msal.SerializableTokenCache) -> None:
    """Put the renewed tokens in the old ones' place. A cache without a refresh token replaces nothing."""
    if list(cache.search(_REFRESH_TOKENS)):
        kept.replace(cache.serialize())


def _decoded(kept: KeptTokens) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(kept.read())
    except (msgspec.DecodeError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise expired(f"{kept.name} is corrupted.", kept.again)
    return content
