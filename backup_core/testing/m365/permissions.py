"""Which role or scope a route asks for. Sharing between people is not simulated."""

from backup_core.testing.m365.directory import User
from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.graph_errors import access_denied, directory_denied
from backup_core.testing.m365.tokens import Grant

_ALL_FILES = frozenset({"Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All", "Sites.ReadWrite.All"})
_OWN_FILES = _ALL_FILES | {"Files.Read", "Files.ReadWrite"}
_ALL_USERS = frozenset({"User.Read.All", "User.ReadWrite.All", "Directory.Read.All"})
_OWN_USER = _ALL_USERS | {"User.Read", "User.ReadWrite", "User.ReadBasic.All"}
_ORGANIZATION = frozenset({"Organization.Read.All", "Directory.Read.All"})


def require_files(grant: Grant) -> None:
    """Reading some drive at all. Raises GraphError 403."""
    if not (grant.roles & _ALL_FILES if grant.user is None else grant.scopes & _OWN_FILES):
        raise access_denied()


def require_drive(grant: Grant, drive: Drive) -> None:
    """Reading this drive: an app reads every one, a person their own. Raises GraphError 403."""
    require_files(grant)
    if grant.user is not None and drive.owner.id != grant.user:
        raise access_denied()


def require_all_users(grant: Grant) -> None:
    if not (grant.roles if grant.user is None else grant.scopes) & _ALL_USERS:
        raise directory_denied()


def require_user(grant: Grant, user: User | None) -> None:
    """Reading one user: oneself, or everybody. Raises GraphError 403, also where the user may not exist."""
    if user is None or grant.user != user.id:
        require_all_users(grant)
    elif not grant.scopes & _OWN_USER:
        raise directory_denied()


def require_organization(grant: Grant) -> None:
    allowed = grant.roles & _ORGANIZATION if grant.user is None else grant.scopes & (_ORGANIZATION | {"User.Read"})
    if not allowed:
        raise directory_denied()
