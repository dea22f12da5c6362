"""drivekeep: OneDrives backed up into standard restic repositories, and brought back."""

__version__ = "0.1.0"
