"""What the app's host.json asks of the host; values that only Azure can honour are not read."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backup_core.errors import Usage
from backup_core.testing.durable_host.hub import Limits


@dataclass(frozen=True)
class HostSettings:
    route_prefix: str
    hub_name: str
    limits: Limits


def read_host_json(folder: Path, environment: Mapping[str, str]) -> HostSettings:
    """Raises Usage where the file is missing or is no host.json."""
    path = folder / "host.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        extensions = content.get("extensions", {})
        durable = extensions.get("durableTask", {})
        return HostSettings(
            route_prefix=extensions.get("http", {}).get("routePrefix", "api"),
            hub_name=expanded(durable.get("hubName", "TestHubName"), environment),
            limits=Limits(
                activities=int(durable.get("maxConcurrentActivityFunctions", 10)),
                orchestrators=int(durable.get("maxConcurrentOrchestratorFunctions", 10)),
                timeout_seconds=_seconds(content.get("functionTimeout", "00:30:00")),
            ),
        )
    except OSError as error:
        raise Usage(f"{path} cannot be read: {error.strerror}.", remedy="A function app has one beside it.") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise Usage(
            f"{path} is no host.json that can be used.",
            why=str(error),
            remedy="Repair it; it is JSON without comments.",
        ) from None


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """`%NAME%` replaced by that app setting. Raises Usage where there is none."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in environment:
            raise Usage(f"The app setting {found[1]} is missing.", remedy=f"Set {found[1]} in the environment.")
        return environment[found[1]]

    return re.sub("%([^%]+)%", value, text)


def _seconds(text: Any) -> float:
    """`hh:mm:ss` or `d.hh:mm:ss`; `-1` is without end, which is a year here."""
    if text in (None, "-1", -1):
        return 365 * 86400.0
    found = re.fullmatch(r"(?:(\d+)\.)?(\d+):(\d+):(\d+)", str(text))
    if not found:
        raise ValueError(f"functionTimeout is {text!r}, not hh:mm:ss")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return days * 86400.0 + hours * 3600 + minutes * 60 + seconds
