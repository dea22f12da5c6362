"""The service of this process, made when it is first asked for: the app loads without it, and says what is wrong."""

import logging
import threading

from backup_core.clock import SystemClock
from backup_core.errors import Usage
from backup_core.service.service import Service, open_service
from backup_core.settings import read_settings

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_service: Service | None = None


def get() -> Service:
    """Made from the environment. Usage where a setting cannot be used at all."""
    global _service  # noqa: PLW0603 - one per process, as its functions share it
    with _lock:
        if _service is None:
            _service = open_service(read_settings(), SystemClock())
            _say_what_is_wrong(_service)
        return _service


def use(service: Service | None) -> None:
    """Take this one from now on; with None, the next `get` makes one anew."""
    global _service  # noqa: PLW0603
    with _lock:
        _service = service


def _say_what_is_wrong(service: Service) -> None:
    """Once, when a process begins: without its master key the app answers, and backs up nobody."""
    try:
        _ = service.master
    except Usage as error:
        _log.warning("%s", error)
