"""Who is in a simulated tenant, and whose drive is whose."""

import bisect
import hashlib
from dataclasses import dataclass, field
from operator import attrgetter

from backup_core.clock import Clock
from backup_core.testing.m365.drive import Drive, Owner
from backup_core.testing.m365.ids import DriveType, drive_key, made_up_guid
from backup_core.testing.m365.switches import NoDriveText
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


@dataclass(eq=False)
class User:
    """`drive` is None where none was ever set up. A disabled user keeps the drive, and so does one without a licence.

    `number` is the place in the directory, which neither a leaver nor a joiner changes. `no_drive_text`: the words in
    which Graph says that there is no drive, None for those of the switch.
    """

    id: str
    upn: str
    display_name: str
    number: int
    drive: Drive | None = None
    enabled: bool = True
    guest: bool = False
    licensed: bool = True
    no_drive_text: NoDriveText | None = None
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
        self._made = 0
        self._by_key: dict[str, User] = {}  # object id, and user principal name in lower case
        self._drives: dict[str, Drive] = {}

    def add_user(
        self,
        name: str,
        display_name: str = "",
        *,
        with_drive: bool = True,
        guest: bool = False,
        enabled: bool = True,
        licensed: bool | None = None,
        no_drive_text: NoDriveText | None = None,
    ) -> User:
        """A user `name@<domain>`, with an empty drive unless told otherwise; a guest's name says whose guest.

        `licensed` None: whoever has a drive. ValueError where the name is taken.
        """
        upn = f"{name}_partner.example#EXT#@{self.tenant.domain}" if guest else f"{name}@{self.tenant.domain}"
        if upn.lower() in self._by_key:
            raise ValueError(f"{upn} is there already")
        user = User(
            made_up_guid(self._seed, "user", upn),
            upn,
            display_name or name.replace(".", " ").title(),
            self._made,
            enabled=enabled,
            guest=guest,
            licensed=with_drive if licensed is None else licensed,
            no_drive_text=no_drive_text,
        )
        self._made += 1
        if with_drive:
            user.drive = self._new_drive(user, "drive")
        self._enter(user)
        return user

    def add_drive(self, user: User, name: str) -> Drive:
        """One more drive of a user, which their default drive does not show."""
        drive = self._new_drive(user, name)
        drive.name = name
        user.further_drives.append(drive)
        return drive

    def replace_drive(self, user: User) -> Drive:
        """A new, empty drive of another id in the place of the user's own, as after a deletion and a new licence."""
        self.remove_drive(user)
        user.licensed = True
        user.drive = self._new_drive(user, f"drive {len(self._drives)} {self._clock.now().isoformat()}")
        return user.drive

    def remove_drive(self, user: User) -> None:
        """The user's own drive is gone for good: its id answers 404."""
        if user.drive:
            del self._drives[drive_key(user.drive.id)]
        user.drive = None

    def restore_drive(self, user: User, drive: Drive) -> None:
        """A drive that was removed is the user's again, under its old id, as an administrator can bring it about."""
        self._drives[drive_key(drive.id)] = user.drive = drive

    def remove_user(self, user: User) -> None:
        """The person leaves. Their drives stay readable by drive id, as they do while they are retained."""
        self.users.remove(user)
        del self._by_key[user.id], self._by_key[user.upn.lower()]

    def bring_back(self, user: User) -> None:
        """A person who left returns under the old id, at the old place of the list."""
        self._enter(user)

    def rename_user(self, user: User, upn: str) -> None:
        """Another user principal name; id and drive stay."""
        del self._by_key[user.upn.lower()]
        user.upn = upn
        self._by_key[upn.lower()] = user

    def users_after(self, number: int, count: int) -> list[User]:
        """So many users whose number is greater; -1 begins the list."""
        users = list(self.users)
        first = bisect.bisect_right(users, number, key=attrgetter("number"))
        return users[first : first + count]

    def user(self, key: str) -> User | None:
        """By object id or user principal name, whatever the case."""
        return self._by_key.get(key.lower())

    def drive(self, drive_id: str) -> Drive | None:
        """By id, in any spelling that the service accepts."""
        return self._drives.get(drive_key(drive_id))

    def _enter(self, user: User) -> None:
        bisect.insort(self.users, user, key=attrgetter("number"))
        self._by_key[user.id] = self._by_key[user.upn.lower()] = user

    def _new_drive(self, user: User, name: str) -> Drive:
        owner = Owner(user.id, user.upn, user.display_name)
        drive = Drive(f"{self._seed} {user.upn} {name}", self._drive_type, owner, self._clock)
        self._drives[drive_key(drive.id)] = drive
        return drive


def build_directory(
    seed: int, users: int, business: bool, clock: Clock, domain: str = "contoso.onmicrosoft.com"
) -> Directory:
    """A tenant with so many users, each with an empty drive; ids depend on the seed and the domain alone.

    A personal directory is the tenant of all personal accounts.
    """
    if business:
        name = domain.partition(".")[0]
        tenant = Tenant(made_up_guid(seed, "tenant", domain), domain, name.capitalize())
    else:
        tenant = Tenant(CONSUMERS, "outlook.com", "Personal accounts")
    directory = Directory(tenant, "business" if business else "personal", seed, clock)
    for name in _user_names(users):
        directory.add_user(name)
    return directory


def _user_names(count: int) -> list[str]:
    first = ["alex", "blake", "casey", "devon", "emery", "finley", "gale", "harper"]
    return first[:count] + [f"user{number:05d}" for number in range(len(first), count)]
