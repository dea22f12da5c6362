"""Settings as they are given: a flag beats the environment, the environment beats config.toml, that beats the default.

The one reader of the environment and of config.toml. It builds nothing, and opens no other file.
"""

import difflib
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from backup_core.errors import Usage
from backup_core.settings.table import CLOUDS, PUBLIC_CLIENT_ID, SETTINGS, Setting, key_of

_MASK = "********"
_UNRESOLVED = "@Microsoft.KeyVault("  # how a reference begins that App Service could not replace by the secret
_FOR_LIBRARIES = ("REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "NO_PROXY")
# What any program needs to run and to show itself: no setting is among it, no proxy, nothing secret.
_PLAIN = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR")


class Origin(IntEnum):
    """Where a value comes from; the higher one wins."""

    DEFAULT = 0
    DERIVED = 1  # follows from another setting
    FILE = 2
    ENVIRONMENT = 3
    FLAG = 4

    def __str__(self) -> str:
        return "config.toml" if self is Origin.FILE else self.name.lower()


@dataclass(frozen=True)
class Given:
    """A value, where it comes from, and under which name: an alias, a flag, a key of the file."""

    setting: Setting
    origin: Origin
    given_as: str
    text: str = field(repr=False)

    def checked(self) -> str:
        """The value as it is used. Usage names the setting and its origin, and quotes the value unless it is secret.

        Its reason is "key-vault" for a reference left unresolved: whoever took that for a key would let anybody in who
        guesses where the key lies.
        """
        if self.text.strip().startswith(_UNRESOLVED):
            raise Usage(
                f"{self.setting.name} is a Key Vault reference that was not resolved.",
                why="App Service puts the secret in its place only where the app's identity may read it.",
                remedy="Give the app's managed identity the role Key Vault Secrets User, check the name of the secret "
                "and the vault's firewall, then restart the app.",
                reason="key-vault",
            )
        try:
            return self.setting.check(self.text)
        except ValueError as error:
            value = "its value" if self.setting.secret else f'"{_without_user(self.text)}"'
            raise Usage(
                f"{self.setting.name} cannot be {value}.",
                why=f"It comes from: {self.origin} ({self.given_as}).",
                remedy=str(error),
            ) from None


class Row(NamedTuple):
    """One line of `config show`: nothing in it is secret. `problem` is empty where the value can be used."""

    name: str
    value: str
    origin: str
    given_as: str
    problem: str


# Azurite at its own ports, with the key that everybody has who has Azurite: it protects nothing.
_DEVELOPMENT_STORAGE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)


class StorageAccess(NamedTuple):
    """A connection string, or the name of an account that an identity of this machine may use: one of the two."""

    connection_string: str | None
    account_name: str | None

    def __repr__(self) -> str:
        return f"StorageAccess({self.account_name or 'connection string'})"


class Settings:
    """Complete when made, and only read from then on. A value is checked when it is asked for, so that a verb never
    fails for a setting that it does not use; what is wrong with it is raised as Usage.
    """

    def __init__(self, given: Mapping[str, Given], folder: Path, warnings: tuple[str, ...] = ()) -> None:
        """`folder` holds config.toml and tokens; `warnings` are for a person to read."""
        self._given = dict(given)
        self.folder = folder
        self.warnings = warnings

    def __repr__(self) -> str:
        return f"Settings({', '.join(sorted(self._given))})"

    def given(self, name: str) -> bool:
        return name in self._given

    def text(self, name: str) -> str:
        """The value, or its default; "" where there is neither."""
        given = self._given.get(name)
        return given.checked() if given else SETTINGS[name].default

    def number(self, name: str) -> int:
        return int(self.text(name))

    def strongest(self, *names: str) -> list[str]:
        """Those of the names that are given at the highest level at which any of them is given."""
        origins = {name: self._given[name].origin for name in names if name in self._given}
        return [name for name, origin in origins.items() if origin is max(origins.values())]

    @property
    def graph_url(self) -> str:
        return self.text("DRIVEKEEP_GRAPH_URL") or CLOUDS[self.text("DRIVEKEEP_CLOUD")].graph_url

    @property
    def authority_url(self) -> str:
        return self.text("DRIVEKEEP_AUTHORITY_URL") or CLOUDS[self.text("DRIVEKEEP_CLOUD")].authority_url

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        return tuple(filter(None, self.text("DRIVEKEEP_ALLOWED_HOSTS").split(",")))

    @property
    def token_file(self) -> Path:
        given = self.text("ONEDRIVE_TOKEN_FILE")
        return Path(given).expanduser() if given else self.folder / "onedrive_token.json"

    @property
    def service_storage(self) -> StorageAccess:
        """The service's storage: what DRIVEKEEP_STORAGE says, else the Functions host's own. Usage where neither is."""
        named = self.text("DRIVEKEEP_STORAGE") if self.given("DRIVEKEEP_STORAGE") else self.text("AzureWebJobsStorage")
        if named.replace(" ", "").rstrip(";").lower() == "usedevelopmentstorage=true":
            return StorageAccess(_DEVELOPMENT_STORAGE, None)  # the shorthand that Azure's own tools know
        if named:
            return StorageAccess(named, None) if "=" in named else StorageAccess(None, named)
        account = self.text("AzureWebJobsStorage__accountName")
        if account:
            return StorageAccess(None, account)
        raise Usage(
            "The service has no storage.",
            why="Neither DRIVEKEEP_STORAGE nor AzureWebJobsStorage is set.",
            remedy="Set DRIVEKEEP_STORAGE to a connection string, or to an account's name for access by identity.",
        )

    @property
    def own_client(self) -> bool:
        """Whether an app registration is named, other than the one that is built in."""
        return self.text("DRIVEKEEP_CLIENT_ID") != PUBLIC_CLIENT_ID

    @property
    def location(self) -> str:
        """Where the repository is, as it was put; "" where nothing says so."""
        if self.strongest("DRIVEKEEP_REPOSITORY", "DRIVEKEEP_STORE")[:1] == ["DRIVEKEEP_STORE"]:
            return f"{self.text('DRIVEKEEP_STORE')}:{self.text('DRIVEKEEP_STORE_PATH')}"
        return self.text("DRIVEKEEP_REPOSITORY")

    def rows(self) -> Iterator[Row]:
        """Every setting with its value and where that came from; secrets masked."""
        for setting in SETTINGS.values():
            given = self._given.get(setting.name)
            if given is None:
                yield self._default_row(setting)
                continue
            problem = ""
            try:
                given.checked()
            except Usage as error:
                problem = error.remedy
            shown = _MASK if setting.secret else _without_user(given.text)
            yield Row(setting.name, shown, str(given.origin), given.given_as, problem)

    def _default_row(self, setting: Setting) -> Row:
        if setting.name == "DRIVEKEEP_REPOSITORY" and self.location:
            return Row(setting.name, self.location, str(Origin.DERIVED), "DRIVEKEEP_STORE", "")
        if setting.name in ("DRIVEKEEP_GRAPH_URL", "DRIVEKEEP_AUTHORITY_URL"):
            return self._host_row(setting)
        value = str(self.token_file) if setting.name == "ONEDRIVE_TOKEN_FILE" else setting.default
        return Row(setting.name, value, str(Origin.DEFAULT), "", "")

    def _host_row(self, setting: Setting) -> Row:
        try:
            value = self.graph_url if setting.name == "DRIVEKEEP_GRAPH_URL" else self.authority_url
        except Usage:
            return Row(setting.name, "", str(Origin.DERIVED), "DRIVEKEEP_CLOUD", "DRIVEKEEP_CLOUD cannot be used.")
        return Row(setting.name, value, str(Origin.DERIVED), "DRIVEKEEP_CLOUD", "")

    def lend_to_libraries(self) -> None:
        """requests, msal and azure-core read the CA file and the proxy from the environment, each by itself: what only
        config.toml says is put there.
        """
        for name in _FOR_LIBRARIES:
            if name in self._given and self._given[name].origin is Origin.FILE:
                os.environ[name] = self.text(name)  # noqa: TID251 - the one door to the environment


def read_settings(
    flags: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """`flags` by the setting's name. Without `environment` and `folder`: this process's and this user's own.

    An empty value counts as not given. Usage where config.toml cannot be read.
    """
    surroundings = os.environ if environment is None else environment  # noqa: TID251 - the one reader
    place = config_folder(surroundings) if folder is None else folder
    file = _read_file(place / "config.toml")
    given: dict[str, Given] = {}
    for setting in SETTINGS.values():
        found = _find(setting, flags or {}, surroundings, file)
        if found:
            given[setting.name] = found
    return Settings(given, place, (*_unknown_names(surroundings), *_unknown_keys(file, place)))


def wants_no_colour(environment: Mapping[str, str] | None = None) -> bool:
    """NO_COLOR is set (https://no-color.org), or the terminal knows no colours."""
    surroundings = os.environ if environment is None else environment  # noqa: TID251 - the one reader
    return bool(surroundings.get("NO_COLOR")) or not terminal_redraws(surroundings)


def terminal_redraws(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the terminal can move its cursor, as a progress bar needs."""
    surroundings = os.environ if environment is None else environment  # noqa: TID251 - the one reader
    return surroundings.get("TERM") not in ("dumb", "", None)


def plain_environment() -> dict[str, str]:
    """For a program that is started and must see no setting but those that it is given."""
    return {name: os.environ[name] for name in _PLAIN if name in os.environ}  # noqa: TID251 - the one reader


def config_folder(environment: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Where config.toml and a signed-in user's tokens lie."""
    if platform == "win32" and environment.get("APPDATA"):
        return Path(environment["APPDATA"]) / "drivekeep"
    home = environment.get("HOME")
    return (Path(home) if home else Path.home()) / ".config" / "drivekeep"


def _find(
    setting: Setting, flags: Mapping[str, str], environment: Mapping[str, str], file: Mapping[str, str]
) -> Given | None:
    names = (setting.name, *setting.aliases)
    levels = (
        (Origin.FLAG, flags, {setting.name: setting.flag or setting.name}),
        (Origin.ENVIRONMENT, environment, {name: name for name in names}),
        (Origin.FILE, file, {key_of(name): key_of(name) for name in names}),
    )
    for origin, values, spellings in levels:
        for spelling, shown in spellings.items():
            if values.get(spelling):
                return Given(setting, origin, shown, values[spelling])
    return None


def _read_file(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        # an OSError's own words name the file; of the others', only the place is shown: a line may hold a secret
        why = error.strerror or "" if isinstance(error, OSError) else "It is not valid TOML" + _place(error) + "."
        raise Usage(f"{path} cannot be read.", why=why, remedy="Mend the file, or move it away.") from None
    return {key: _as_text(path, key, value) for key, value in document.items()}


def _place(error: ValueError) -> str:
    found = str(error).rpartition("(at ")[2]
    return f" ({found}" if found.startswith("line ") else ""


def _as_text(path: Path, key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    raise Usage(
        f"{path}: {key} is neither a text, a number nor a list of texts.",
        why="The file has no sections: every setting is a line of its own.",
        remedy=f'Write it as {key} = "..."',
    )


def _unknown_names(environment: Mapping[str, str]) -> Iterator[str]:
    """A mistyped name would otherwise do nothing, silently."""
    for name in sorted(environment):
        if name.startswith("DRIVEKEEP_") and name not in SETTINGS:
            yield f"{name} is no setting of drivekeep{_nearest(name, list(SETTINGS))}."


def _unknown_keys(file: Mapping[str, str], folder: Path) -> Iterator[str]:
    known = [key_of(name) for setting in SETTINGS.values() for name in (setting.name, *setting.aliases)]
    for key in file:
        if key not in known:
            yield f"{folder / 'config.toml'}: {key} is no setting of drivekeep{_nearest(key, known)}."


def _nearest(name: str, known: list[str]) -> str:
    """Without the beginning that all names share, or everything would be near to everything."""
    by_key = {key_of(each): each for each in known}
    nearest = difflib.get_close_matches(key_of(name), by_key, n=1)
    return f"; the nearest one is {by_key[nearest[0]]}" if nearest else ""


def _without_user(text: str) -> str:
    """An address without the user name and password that it may hold."""
    scheme, mark, rest = text.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if mark else text
