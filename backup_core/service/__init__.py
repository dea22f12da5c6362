"""What the app works with, read from the settings once: registry, runs, master key, and the way to drives."""

from backup_core.service import current
from backup_core.service.service import Problem, Service, open_service

__all__ = ["Problem", "Service", "current", "open_service"]
