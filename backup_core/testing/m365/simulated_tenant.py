"""A tenant and its users as a test sees them: handles on the directory, with tokens at hand."""

from typing import Any

from backup_core.testing.m365.directory import Directory, User
from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.registrations import Registration
from backup_core.testing.m365.tokens import CONSUMERS, Grant, Session, TokenBook


class SimulatedUser:
    """Each reading of a token gives a new one. `entry` is the directory's own record: `entry.enabled = False` and the
    like are what an administrator does."""

    def __init__(self, entry: User, tenant_id: str, app: Registration, tokens: TokenBook) -> None:
        self.entry, self.tenant_id = entry, tenant_id
        self._app, self._tokens = app, tokens

    @property
    def id(self) -> str:
        return self.entry.id

    @property
    def upn(self) -> str:
        return self.entry.upn

    @property
    def display_name(self) -> str:
        return self.entry.display_name

    @property
    def drive(self) -> Drive:
        """The user's own drive. LookupError where they have none."""
        if self.entry.drive is None:
            raise LookupError(f"{self.upn} has no drive")
        return self.entry.drive

    @property
    def access_token(self) -> str:
        """As the simulation's app gets it for this user."""
        grant = Grant(self.tenant_id, self._app.client_id, user=self.id, scopes=self._app.scopes)
        return self._tokens.issue(grant)

    @property
    def refresh_token(self) -> str:
        """For any registered app: it binds itself to the first that redeems it."""
        return self._tokens.issue_refresh(Session(self.tenant_id, self.id))


class SimulatedTenant:
    """`directory` is what Graph reads, with further ways to change it: `replace_drive`, `remove_drive`, `add_drive`."""

    def __init__(self, directory: Directory, app: Registration, tokens: TokenBook) -> None:
        self.directory = directory
        self._app, self._tokens = app, tokens

    @property
    def id(self) -> str:
        return self.directory.tenant.id

    @property
    def domain(self) -> str:
        return self.directory.tenant.domain

    @property
    def display_name(self) -> str:
        return self.directory.tenant.display_name

    @property
    def users(self) -> list[SimulatedUser]:
        """In the order of Graph's list, guests and disabled people among them."""
        return [self._handle(entry) for entry in list(self.directory.users)]

    def user(self, key: str) -> SimulatedUser:
        """By object id, user principal name, or its part before the @. LookupError."""
        entry = self.directory.user(key) or self.directory.user(f"{key}@{self.domain}")
        if entry is None:
            raise LookupError(f"{self.domain} has no user {key}")
        return self._handle(entry)

    def add_user(self, name: str, display_name: str = "", **facts: Any) -> SimulatedUser:
        """A user `name@<domain>`; `facts` as `Directory.add_user` has them: `with_drive`, `guest`, `enabled`, …"""
        return self._handle(self.directory.add_user(name, display_name, **facts))

    def remove(self, user: SimulatedUser) -> None:
        """The person leaves; their drive stays readable by its id until `directory.remove_drive`."""
        self.directory.remove_user(user.entry)

    def bring_back(self, user: SimulatedUser) -> None:
        self.directory.bring_back(user.entry)

    def rename(self, user: SimulatedUser, upn: str) -> None:
        self.directory.rename_user(user.entry, upn)

    def app_token(self) -> str:
        """An access token of the app by itself, without the way through the sign-in host, consent or not."""
        if self.id == CONSUMERS:
            raise LookupError("no app reads personal accounts by itself")
        return self._tokens.issue(Grant(self.id, self._app.client_id, roles=self._app.roles))

    def _handle(self, entry: User) -> SimulatedUser:
        return SimulatedUser(entry, self.id, self._app, self._tokens)
