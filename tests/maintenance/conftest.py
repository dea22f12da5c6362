"""What the tests of maintenance share."""

from support.snapshots import restic

__all__ = ["restic"]
