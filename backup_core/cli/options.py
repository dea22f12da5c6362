"""The options that every verb has, and the parser whose complaints are drivekeep's own errors."""

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from backup_core.errors import Usage

if TYPE_CHECKING:
    from backup_core.settings import Settings

_FLAGS = {  # the argument's name: the setting that it beats
    "repository": "DRIVEKEEP_REPOSITORY",
    "password_file": "DRIVEKEEP_PASSWORD_FILE",
    "source": "DRIVEKEEP_SOURCE",
    "tenant": "DRIVEKEEP_TENANT",
}


class Parser(argparse.ArgumentParser):
    """Raises Usage where argparse would print and exit, so that --json answers with an error in JSON."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        usage = " ".join(self.format_usage().split())
        raise Usage(f"{message[:1].upper()}{message[1:]}.", why=usage, remedy=f"`{self.prog} --help` explains it.")


def add_common(parser: argparse.ArgumentParser) -> None:
    """For the words before the verb and for those after it; argparse keeps what an earlier parser has found."""
    common = parser.add_argument_group("everywhere")
    common.add_argument("-r", "--repository", metavar="LOCATION", help="/path, local:/path or azure:container:/prefix")
    common.add_argument("--password-file", metavar="FILE", help="file that holds the repository's password")
    common.add_argument("--json", action="store_true", help="answer in JSON on stdout")
    common.add_argument("-q", "--quiet", action="store_true", help="no progress and no messages")
    common.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice: say where a fault arose")
    common.add_argument("--no-color", action="store_true", help="no colours, as with NO_COLOR")


def settings_from(arguments: argparse.Namespace) -> "Settings":
    """The settings, with the flags that were given on top; warnings about them are printed."""
    from backup_core.settings import read_settings

    given = {setting: getattr(arguments, name, None) for name, setting in _FLAGS.items()}
    settings = read_settings({setting: value for setting, value in given.items() if value})
    for warning in settings.warnings:
        arguments.output.warning(warning)
    return settings
