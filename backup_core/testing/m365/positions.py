"""The opaque tokens inside next links and delta links."""

import base64
from typing import Literal

import msgspec

from backup_core.testing.m365.graph_errors import GraphError, invalid_request

_BUSINESS_PREFIX = b"3;%234;%231;3;"  # what a business tenant's tokens decode to begins like this


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a reader of a feed stands.

    `start`: before a fresh enumeration. `page`: at entry `offset`, page `page` of enumeration `number`. `change`: after
    change `number` of the drive.
    """

    kind: Literal["start", "page", "change"]
    feed: str  # of which drive and folder
    epoch: int
    issued: float  # seconds since 1970
    number: int = 0
    offset: int = 0
    page: int = 0

    def token(self) -> str:
        return base64.urlsafe_b64encode(_BUSINESS_PREFIX + msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def of(cls, token: str) -> "Position":
        """Raises GraphError 400 for anything that `token` did not make."""
        try:
            text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            position = msgspec.json.decode(text.removeprefix(_BUSINESS_PREFIX), type=cls)
        except (ValueError, msgspec.MsgspecError):
            raise invalid_paging_token() from None
        if position.token() != token:
            raise invalid_paging_token()
        return position


def invalid_paging_token() -> GraphError:
    return invalid_request("Invalid paging token: failed to parse integer value from token.")
