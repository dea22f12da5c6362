"""The repository's password: from the settings, from a file, or asked on a terminal."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from backup_core.errors import WrongPassword

if TYPE_CHECKING:
    from backup_core.settings import Settings

_REMEDY = "Set DRIVEKEEP_PASSWORD or DRIVEKEEP_PASSWORD_FILE, pass --password-file, or run it on a terminal."


def password_for(arguments: argparse.Namespace, settings: "Settings", *, new: bool = False) -> Callable[[], str]:
    """Gets the password when it is called, since nobody is to be asked for the key to an empty place.

    For a `new` repository it is asked twice. It raises WrongPassword where there is none to be had.
    """

    def get() -> str:
        named = settings.strongest("DRIVEKEEP_PASSWORD", "DRIVEKEEP_PASSWORD_FILE")
        if not named:
            return _ask(new)
        if named[0] == "DRIVEKEEP_PASSWORD":
            return _encodable(settings.text("DRIVEKEEP_PASSWORD"))
        return _read(Path(settings.text("DRIVEKEEP_PASSWORD_FILE")).expanduser())

    return get


def _read(path: Path) -> str:
    """White space around it does not count, as in stock restic, which may be given the same file."""
    try:
        password = path.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "It is no text in UTF-8."
        raise WrongPassword(f"The password file {path} cannot be read.", why=f"{why}", remedy=_REMEDY) from None
    if not password:
        raise WrongPassword(f"The password file {path} is empty.", remedy=_REMEDY)
    return password


def _ask(new: bool) -> str:
    if not sys.stdin.isatty():
        raise WrongPassword("No password is given, and there is no terminal to ask on.", remedy=_REMEDY)
    import getpass

    try:
        password = getpass.getpass("Password for the new repository: " if new else "Repository password: ")
        if new and password and getpass.getpass("Once more: ") != password:
            raise WrongPassword("The two passwords differ.", remedy="Run the command again.")
    except EOFError:
        password = ""
    if not password:
        raise WrongPassword("No password was entered.", why="A repository cannot be without one.", remedy=_REMEDY)
    return _encodable(password)


def _encodable(password: str) -> str:
    try:
        password.encode()
    except UnicodeEncodeError:
        raise WrongPassword("The password is no text in UTF-8.", remedy=_REMEDY) from None
    return password
