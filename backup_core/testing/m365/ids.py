"""The shapes of drive and item ids, business and personal; made from a seed, so that two runs agree."""

import base64
import hashlib
import uuid
from typing import Literal, Protocol

DriveType = Literal["business", "personal"]

# Every business library's root ends so, and newer personal roots in the same bytes written as hexadecimal.
BUSINESS_ROOT = "V6Y2GOVW7725BZO354PWSELRRZ"
PERSONAL_ROOT = "sea8cc6beffdb43d7976fbc7da445c639"


def made_up_bytes(length: int, *words: object) -> bytes:
    """`length` (at most 64) bytes that depend on the words alone."""
    return hashlib.blake2b("\x00".join(map(str, words)).encode(), digest_size=length).digest()


def made_up_guid(*words: object) -> str:
    return str(uuid.UUID(bytes=made_up_bytes(16, *words)))


class Ids(Protocol):
    """The ids of one drive."""

    drive_type: DriveType
    drive: str
    root: str

    def item(self, number: int) -> str:
        """The id of the drive's n-th item."""

    def key(self, item_id: str) -> str:
        """What all accepted spellings of one id have in common."""


class BusinessIds:
    """`b!` and 64 characters; `01` and 32 characters of base32, of which six are the drive's and 26 a GUID."""

    drive_type: DriveType = "business"

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self.drive = "b!" + base64.urlsafe_b64encode(made_up_bytes(48, seed, "drive")).decode()
        self._prefix = "01" + base64.b32encode(made_up_bytes(5, seed, "items")).decode()[:6]
        self.root = self._prefix + BUSINESS_ROOT

    def item(self, number: int) -> str:
        return self._prefix + base64.b32encode(made_up_bytes(16, self._seed, number)).decode()[:26]

    def key(self, item_id: str) -> str:
        return item_id


class PersonalIds:
    """16 hexadecimal digits, the first a zero (which some calls lose); the same in upper case, `!s` and a GUID."""

    drive_type: DriveType = "personal"

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self.drive = "0" + made_up_bytes(8, seed, "drive").hex()[1:]
        self.root = f"{self.drive.upper()}!{PERSONAL_ROOT}"

    def item(self, number: int) -> str:
        return f"{self.drive.upper()}!s{made_up_bytes(16, self._seed, number).hex()}"

    def key(self, item_id: str) -> str:
        drive, _, item = item_id.lower().partition("!")
        return f"{drive.rjust(16, '0')}!{item}"


def drive_key(drive_id: str) -> str:
    """What all accepted spellings of a drive's id share: business ids count to the letter, of personal ones neither
    case nor leading zeros do."""
    return drive_id if drive_id.startswith("b!") else drive_id.lower().rjust(16, "0")


def with_defects(personal_id: str, turn: int) -> str:
    """A personal drive or item id as it may come from a call: without its leading zero, in another case each turn."""
    drive, mark, item = personal_id.partition("!")
    short = drive[1:] if drive.startswith("0") else drive
    return (short.upper() if turn % 2 else short.lower()) + mark + item
