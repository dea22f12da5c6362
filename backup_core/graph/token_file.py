"""The file of a signed-in user's tokens: msal's serialised cache, or a refresh token alone.

It is read and replaced whole. Which tokens are asked for with it is `sign_in.py`.
"""

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import msal
import msgspec

from backup_core.errors import AccessDenied
from backup_core.graph.sign_in_host import expired

_log = logging.getLogger(__name__)
_REFRESH_TOKENS = msal.TokenCache.CredentialType.REFRESH_TOKEN


class TokenFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, client_id: str, hosts: frozenset[str]) -> tuple[msal.SerializableTokenCache, str]:
        """The cache as it is stored now, and the newest refresh token in it for a client and any of the hosts.

        AccessDenied where there is no file, or nothing in it that can be used.
        """
        content = self._content()
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
            raise expired(f"The token file {self.path} is corrupted.") from None
        raise expired(f"The token file {self.path} has no refresh token for this client id and sign-in host.")

    def replace(self, cache: msal.SerializableTokenCache) -> None:
        """Whole or not at all, readable by its owner only, and on the disk when this returns.

        A cache without a refresh token does not replace a file that has one.
        """
        if not list(cache.search(_REFRESH_TOKENS)):
            return
        path = self.path.resolve()  # a link, as secret mounts have them, stays a link
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".new")  # mode 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(cache.serialize())
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            # The token that the file still has works for some time: no reason to end the run that has a new one.
            _log.warning("The renewed tokens could not be written to %s: %s.", self.path, error.strerror)

    def _content(self) -> dict[str, Any]:
        try:
            content = msgspec.json.decode(self.path.read_bytes())
        except FileNotFoundError:
            raise AccessDenied(
                f"oauth2: cannot fetch token: there is no token file {self.path}.",
                why="Nobody has signed in yet, or ONEDRIVE_TOKEN_FILE names another place.",
                remedy='Put a refresh token there, as {"refresh_token": "…"}; or back up app-only with --tenant and'
                " --account, DRIVEKEEP_CLIENT_ID and DRIVEKEEP_CLIENT_SECRET.",
                reason="sign-in",
            ) from None
        except OSError as error:
            raise AccessDenied(
                f"oauth2: cannot fetch token: the token file {self.path} cannot be read ({error.strerror}).",
                remedy="Make it readable for the user that runs drivekeep.",
                reason="sign-in",
            ) from None
        except (msgspec.DecodeError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise expired(f"The token file {self.path} is corrupted.")
        return content
