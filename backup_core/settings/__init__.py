"""Every setting of drivekeep: `table.py` says what there is, `reading.py` what is given."""

from backup_core.settings.reading import (
    Settings,
    config_folder,
    plain_environment,
    read_settings,
    terminal_redraws,
    wants_no_colour,
)

__all__ = ["Settings", "config_folder", "plain_environment", "read_settings", "terminal_redraws", "wants_no_colour"]
