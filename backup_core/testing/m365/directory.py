"""Who is in the simulated tenant, and whose drive is whose."""

import hashlib
from dataclasses import dataclass, field

from backup_core.clock import Clock
from backup_core.testing.m365.drive import Drive, Owner
from backup_core.testing.m365.ids import DriveType, made_up_guid, same_drive
from backup_core.testing.m365.tokens import CONSUMERS


@dataclass(frozen=True)
class Tenant:
    id: str
    domain: str
    display_name: str

    @property
    def content_host(self) -> str:
        """The host name that download URLs bear in the real world."""
        if self.id == CONSUMERS:
            return "my.microsoftpersonalcontent.com"
        return self.domain.split(".")[0] + "-my.sharepoint.com"


@dataclass
class User:
    """`drive` is None where none was ever set up. A disabled user keeps the drive."""

    id: str
    upn: str
    display_name: str
    drive: Drive | None
    enabled: bool = True
    guest: bool = False
    further_drives: list[Drive] = field(default_factory=list)

    @property
    def drives(self) -> list[Drive]:
        return ([self.drive] if self.drive else []) + self.further_drives


class Directory:
    """The users of one tenant, in the order in which they were made, and every drive that was ever theirs."""

    def __init__(self, tenant: Tenant, drive_type: DriveType, seed: int, clock: Clock) -> None:
        self.tenant = tenant
        self.users: list[User] = []
        self.created = clock.now()
        self.url_key = hashlib.sha256(f"download links of {seed}".encode()).digest()
        self._drive_type = drive_type
        self._seed = seed
        self._clock = clock
        self._drives: dict[str, Drive] = {}

    def add_user(self, name: str, display_name: str = "", *, with_drive: bool = True, guest: bool = False) -> User:
        """A user `name@<domain>`, with an empty drive unless told otherwise; a guest's name says whose guest."""
        upn = f"{name}_fabrikam.com#EXT#@{self.tenant.domain}" if guest else f"{name}@{self.tenant.domain}"
        user_id = made_up_guid(self._seed, "user", upn)
        user = User(user_id, upn, display_name or name.replace(".", " ").title(), None, guest=guest)
        if with_drive:
            user.drive = self._new_drive(user, "drive")
        self.users.append(user)
        return user

    def add_drive(self, user: User, name: str) -> Drive:
        """One more drive of a user, which their default drive does not show."""
        drive = self._new_drive(user, name)
        drive.name = name
        user.further_drives.append(drive)
        return drive

    def replace_drive(self, user: User) -> Drive:
        """A new, empty drive of another id in the place of the user's own, as after a deletion and a new licence."""
        if user.drive:
            del self._drives[user.drive.id]
        user.drive = self._new_drive(user, f"drive {len(self._drives)} {self._clock.now().isoformat()}")
        return user.drive

    def remove_user(self, user: User) -> None:
        """The person leaves. Their drives stay readable by drive id, as they do while they are retained."""
        self.users.remove(user)

    def user(self, key: str) -> User | None:
        """By object id or user principal name, whatever the case."""
        wanted = key.lower()
        return next((user for user in self.users if wanted in (user.id, user.upn.lower())), None)

    def drive(self, drive_id: str) -> Drive | None:
        """By id, in any spelling that the service accepts."""
        found = self._drives.get(drive_id)
        return found or next((drive for known, drive in self._drives.items() if same_drive(known, drive_id)), None)

    def _new_drive(self, user: User, name: str) -> Drive:
        owner = Owner(user.id, user.upn, user.display_name)
        drive = Drive(f"{self._seed} {user.upn} {name}", self._drive_type, owner, self._clock)
        self._drives[drive.id] = drive
        return drive


def build_directory(seed: int, users: int, business: bool, clock: Clock) -> Directory:
    """A tenant with so many users, each with an empty drive; ids depend on the seed alone.

    A personal directory is the tenant of all personal accounts.
    """
    if business:
        tenant = Tenant(made_up_guid(seed, "tenant"), "contoso.onmicrosoft.com", "Contoso")
    else:
        tenant = Tenant(CONSUMERS, "outlook.com", "Personal accounts")
    directory = Directory(tenant, "business" if business else "personal", seed, clock)
    for name in _user_names(users):
        directory.add_user(name)
    return directory


def _user_names(count: int) -> list[str]:
    first = ["alex", "blake", "casey", "devon", "emery", "finley", "gale", "harper"]
    return first[:count] + [f"user{number:05d}" for number in range(len(first), count)]
