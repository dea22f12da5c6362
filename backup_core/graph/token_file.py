"""The file of a signed-in user's tokens. What is in it is `kept_tokens.py`."""

import logging
import os
import tempfile
from pathlib import Path

from backup_core.errors import AccessDenied

_log = logging.getLogger(__name__)


class TokenFile:
    again = (
        "Delete the token file and put a fresh one in its place. Make sure that it was issued with the scope"
        " offline_access, and that the file is not corrupted (ONEDRIVE_TOKEN_FILE names it)."
    )

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"The token file {path}"

    def read(self) -> bytes:
        """AccessDenied where there is no such file, or it cannot be read."""
        try:
            return self.path.read_bytes()
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

    def replace(self, text: str) -> None:
        """Whole or not at all, readable by its owner only, and on the disk when this returns."""
        path = self.path.resolve()  # a link, as secret mounts have them, stays a link
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".new")  # mode 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            # The token that the file still has works for some time: no reason to end the run that has a new one.
            _log.warning("The renewed tokens could not be written to %s: %s.", self.path, error.strerror)
