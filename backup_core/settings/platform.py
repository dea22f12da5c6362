"""What the platform says of itself, which nobody sets by hand. It reads nothing else of the environment."""

import os
from collections.abc import Mapping


def signs_people_in(environment: Mapping[str, str] | None = None) -> bool:
    """Whether App Service authentication is on: only then does the platform drop a principal that a client made up."""
    surroundings = os.environ if environment is None else environment  # noqa: TID251 - a fact, not a setting
    return surroundings.get("WEBSITE_AUTH_ENABLED", "").lower() == "true"
