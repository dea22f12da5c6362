"""local.settings.json, the file in which Azure's own tools keep app settings on a developer's machine."""

import json
from pathlib import Path

from backup_core.errors import Usage


def read_local_settings(folder: Path) -> dict[str, str]:
    """The file's `Values`; nothing where there is no file. Raises Usage for one that cannot be used."""
    path = folder / "local.settings.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Usage(f"{path} cannot be read.", why=str(error), remedy="Repair it, or take it away.") from None
    values = content.get("Values", {}) if isinstance(content, dict) else None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise Usage(f"{path} has no object `Values` with texts in it.", remedy="See local.settings.json.example.")
    if content.get("IsEncrypted"):
        raise Usage(f"{path} is encrypted.", remedy="`func settings decrypt` makes it readable.")
    return dict(values)
