"""What a command asked of the simulated Microsoft 365, read from its request log."""

import base64
import json
from collections.abc import Iterable
from urllib.parse import parse_qs

from backup_core.testing.m365 import Simulation
from backup_core.testing.m365.log import Logged


def fetched(m365: Simulation) -> list[str]:
    """Ids of the items whose content was asked for, in order, as often as it was asked for."""
    return [item_of(each) for each in m365.log.of("content")]


def item_of(request: Logged) -> str:
    """The item that a download URL stands for."""
    (tempauth,) = parse_qs(request.query)["tempauth"]
    payload = tempauth.split(".")[1]
    item: str = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["item"]
    return item


def feed_pages(m365: Simulation) -> list[Logged]:
    """Requests to the feed of changes."""
    return [each for each in m365.log.of("graph") if each.path.rstrip("/").endswith("/delta")]


def listings(m365: Simulation) -> list[Logged]:
    """Requests for what lies in a folder."""
    return [each for each in m365.log.of("graph") if each.path.endswith("/children")]


def ids_of(m365: Simulation, paths: Iterable[str], user: int = 0) -> list[str]:
    """Ids of the items at these paths."""
    return [m365.users[user].drive.item(path).id for path in paths]
