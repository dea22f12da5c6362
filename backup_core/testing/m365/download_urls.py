"""Pre-authenticated download URLs: made for Graph's answers, understood by the content host. Each is a credential."""

import base64
import datetime
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.items import SimulatedItem


@dataclass(frozen=True)
class Download:
    """What a genuine URL allows until it expires."""

    drive_id: str
    item_id: str
    expires: float  # seconds since 1970


class DownloadUrls:
    """`base`: scheme, host and port of the content host. `key`: what the signatures are made with."""

    def __init__(self, base: str, key: bytes, now: datetime.datetime, seconds: float) -> None:
        self._base = base
        self._key = key
        self._expires = str(int(now.timestamp() + seconds))

    def url(self, drive: Drive, item: SimulatedItem) -> str:
        claims = {"drive": drive.id, "item": item.id, "exp": self._expires}
        tempauth = tempauth_of(claims, self._key)
        if drive.type == "personal":
            return f"{self._base}/personal/{drive.id}/download?{urlencode({'tempauth': tempauth})}"
        person = quote(drive.owner.upn.replace("@", "_").replace(".", "_"))
        query = {"UniqueId": item.guid, "Translate": "false", "tempauth": tempauth, "ApiVersion": "2.0"}
        return f"{self._base}/personal/{person}/_layouts/15/download.aspx?{urlencode(query)}"


def tempauth_of(claims: dict[str, Any], key: bytes) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"v1.{payload}.{_signature(payload, key)}"


def read_tempauth(tempauth: str, key: bytes) -> Download | None:
    """None where it is not one of ours."""
    version, _, signed = tempauth.partition(".")
    payload, _, signature = signed.partition(".")
    if version != "v1" or not hmac.compare_digest(signature.encode(), _signature(payload, key).encode()):
        return None
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return Download(claims["drive"], claims["item"], float(claims["exp"]))


def _signature(payload: str, key: bytes) -> str:
    return hmac.new(key, payload.encode(), hashlib.sha256).hexdigest()
