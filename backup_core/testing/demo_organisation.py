"""The organisation of the demo: people with all kinds of drives, and what a backup service must make of each.

It asks no service for anything.
"""

import datetime
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backup_core.testing.m365 import SimulatedTenant, SimulatedUser, Simulation

DOMAIN = "fabrikam.onmicrosoft.com"

# One of each kind that an organisation has beside its ordinary people: name, facts, the state that is right, and why.
# The facts of those without a drive are the three texts in which Microsoft says so.
_SPECIAL: tuple[tuple[str, Mapping[str, Any], str, str], ...] = (
    ("mallory", {"enabled": False}, "protected", "disabled, drive still there"),
    ("shared.room", {"licensed": False}, "protected", "no licence, drive still there"),
    ("ivy", {"with_drive": False, "no_drive_text": "mysite-not-found"}, "no-drive", "never opened OneDrive"),
    ("juno", {"with_drive": False, "no_drive_text": "mysite-url"}, "no-drive", "site not made yet"),
    ("kim", {"with_drive": False, "no_drive_text": "file-not-found"}, "no-drive", "site removed"),
    ("lou", {"with_drive": False, "guest": True}, "guest", "a guest from elsewhere"),
)
USERS_MIN = len(_SPECIAL) + 1

_MODIFIED = datetime.datetime(2026, 1, 15, 9, 30, tzinfo=datetime.UTC)
_HANDBOOK_BYTES = 96 << 10  # everybody has it
_WORDS = b"the quick minutes of a long meeting about the budget for another year and who will write them down".split()


@dataclass(frozen=True)
class Member:
    """`state`: what the service must say of this person; `remark`: what is unusual about them, mostly nothing."""

    user: SimulatedUser
    state: str
    remark: str = ""

    @property
    def name(self) -> str:
        """As short as colleagues call them."""
        return self.user.upn.partition("@")[0].partition("_partner.example")[0]


@dataclass(frozen=True)
class Organisation:
    """It has not consented to anything yet."""

    tenant: SimulatedTenant
    members: tuple[Member, ...]

    @property
    def protected(self) -> list[Member]:
        return [member for member in self.members if member.state == "protected"]


def build(m365: Simulation, users: int) -> Organisation:
    """A further organisation of the simulation with so many people, USERS_MIN at least; its files are always alike."""
    tenant = m365.add_tenant(DOMAIN, users - len(_SPECIAL))
    members = [Member(user, "protected") for user in tenant.users]
    for name, facts, state, remark in _SPECIAL:
        members.append(Member(tenant.add_user(name, **facts), state, remark))
    organisation = Organisation(tenant, tuple(members))
    handbook = random.Random("handbook").randbytes(_HANDBOOK_BYTES)  # noqa: S311 - content, no secret
    for member in organisation.protected:
        _fill(member, handbook)
    return organisation


def edit(member: Member) -> str:
    """One of their files gets other content, whose path is returned."""
    drive = member.user.drive
    path, item = max((path, item) for path, item in drive.files() if path.startswith("Documents/Minutes"))
    drive.put_file(path, f"Rewritten by {member.user.upn}\n".encode() + bytes(item.size))
    return path


def _fill(member: Member, handbook: bytes) -> None:
    """Some 150 KiB: text, pictures that do not compress, an empty file, and the same handbook as everybody's."""
    drive, chance = member.user.drive, random.Random(member.user.upn)  # noqa: S311 - content, no secret
    drive.put_file("Documents/Handbook.pdf", handbook, _MODIFIED)
    for number in range(1, chance.randrange(2, 6)):
        text = b" ".join(chance.choices(_WORDS, k=chance.randrange(500, 3000)))
        drive.put_file(f"Documents/Minutes/Meeting {number}.md", text, _MODIFIED + datetime.timedelta(days=number))
    for number in range(chance.randrange(1, 4)):
        picture = chance.randbytes(chance.randrange(1000, 60_000))
        drive.put_file(f"Pictures/{member.user.display_name} {number}.jpg", picture, _MODIFIED)
    drive.put_file("Notes.txt", b"", _MODIFIED)
