"""`drivekeep demo`: one drive, then a whole organisation, backed up and brought back, all of it on this machine."""

from backup_core.cli.demo.verb import HELP, add_arguments, run

__all__ = ["HELP", "add_arguments", "run"]
