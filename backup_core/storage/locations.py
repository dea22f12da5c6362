"""The words for where a repository lies, read into data. It opens nothing and looks at no disk.

/a/path, local:/a/path, a/path       a folder of this machine (relative ones as restic has them: from here)
azure:container:/prefix              Azure Blob Storage; `azure:container:` is the container's root
"""

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

from backup_core.errors import Usage


@dataclass(frozen=True)
class LocalLocation:
    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class AzureLocation:
    """`prefix` has no slash at either end; "" is the container's root."""

    container: str
    prefix: str

    def __str__(self) -> str:
        return f"azure:{self.container}:/{self.prefix}"


Location = LocalLocation | AzureLocation

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_PREFIX_CHARACTERS_MAX = 500  # Azure's limit for a name is 1,024; a stored name may take 512 of them
_KINDS = "Use a folder (/path or local:/path) or Azure Blob Storage (azure:container:/prefix)."
# Kinds that restic, Cloudstic or our own plans know: refused by name, so that nobody looks for a typing mistake.
_NOT_BUILT = {"onedrive", "destination", "s3", "b2", "gs", "swift", "sftp", "rest", "rclone"}


def parse_location(text: str) -> Location:
    """What `-r` and DRIVEKEEP_REPOSITORY name. Usage, which never repeats what may hold a password."""
    if not text.strip():
        raise Usage("No repository location is given.", remedy=f"Pass -r or set DRIVEKEEP_REPOSITORY. {_KINDS}")
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _local(text)
    kind, rest = scheme[1].lower(), text[scheme.end() :]
    if kind == "local":
        return _local(rest)
    if kind == "azure":
        return _azure(rest)
    if kind in _NOT_BUILT:
        raise Usage(f"Repositories at {kind}: locations are not supported by this version.", remedy=_KINDS)
    raise Usage(
        f"{kind}: is no kind of location that drivekeep knows.",
        remedy=f"{_KINDS} A folder with a colon in its name is written local:NAME.",
    )


def _local(text: str) -> LocalLocation:
    if not text or "\0" in text:
        raise Usage("The repository location names no folder.", remedy=_KINDS)
    try:
        # A shell does this before us; a configuration file does not, and nobody wants a folder called "~".
        return LocalLocation(Path(text).expanduser())
    except RuntimeError:
        raise Usage(f"The home folder in {text} cannot be found.", remedy="Write the whole path.") from None


def _azure(text: str) -> AzureLocation:
    container, colon, path = text.partition(":")
    if not colon:
        raise Usage(
            "The location azure: is not complete.",
            why="After the container's name comes a colon and the folder in it.",
            remedy="Write azure:container:/prefix, or azure:container:/ for the whole container.",
        )
    if not _CONTAINER.match(container):
        raise Usage(
            f"{container!r} cannot be the name of an Azure container.",
            why="It has 3 to 63 lower-case letters, digits and single hyphens, the first and last being no hyphen.",
            remedy="Write azure:container:/prefix.",
        )
    return AzureLocation(container, _prefix(path))


def _prefix(path: str) -> str:
    segments = path.split("/")
    if ".." in segments or "\\" in path or not path.isprintable() or len(path) > _PREFIX_CHARACTERS_MAX:
        raise Usage(
            "The folder in the location azure: cannot be used.",
            why=f"It may not hold .. or \\ or control characters, nor more than {_PREFIX_CHARACTERS_MAX} characters.",
            remedy="Write azure:container:/prefix with a plain prefix, as in azure:backups:/onedrive/ada.",
        )
    # Doubled slashes and single dots go, as in restic: both programs must find the same objects.
    return posixpath.normpath("/" + path).strip("/")
