"""The service of this process, made when it is first asked for: the app loads without it, and says what is wrong."""

import threading

from backup_core.clock import SystemClock
from backup_core.service.service import Service, open_service
from backup_core.settings import read_settings

_lock = threading.Lock()
_service: Service | None = None


def get() -> Service:
    """Made from the environment. Usage where a setting cannot be used at all."""
    global _service  # noqa: PLW0603 - one per process, as its functions share it
    with _lock:
        if _service is None:
            _service = open_service(read_settings(), SystemClock())
        return _service


def use(service: Service | None) -> None:
    """Take this one from now on; with None, the next `get` makes one anew."""
    global _service  # noqa: PLW0603
    with _lock:
        _service = service
