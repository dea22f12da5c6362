"""The verb `serve`: runs function_app.py on this machine, with HTTP, timers and the durable protocol, without Azure."""

import argparse
import contextlib
import errno
import ipaddress
import logging
import os
import secrets
import site
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import backup_core
from backup_core.cli.options import settings_from
from backup_core.cli.output import Output
from backup_core.clock import SystemClock
from backup_core.errors import DrivekeepError, Interrupted, Usage

if TYPE_CHECKING:
    from backup_core.testing.durable_host import LocalHost, Worker
    from backup_core.testing.durable_host.host_json import HostSettings

HELP = "run the serverless app on this machine without Azure; not for production"

_WAIT_SECONDS = 3600.0  # as long as one likes: a signal ends the wait
_GRACE_SECONDS = 2.0  # for activities that are nearly through when a person has asked for the end
_MORE_THREADS = 8  # for plain HTTP functions, beside activities and orchestrators


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", metavar="N", type=int, default=7071, help="0 takes a free one (default: 7071)")
    parser.add_argument(
        "--easy-auth",
        action="store_true",
        help="let X-MS-CLIENT-PRINCIPAL headers through, as if App Service authentication were on; loopback only",
    )
    parser.add_argument("--no-timer", action="store_true", help="timers run only by POST /admin/functions/NAME")
    parser.add_argument(
        "--workers", metavar="N", type=int, default=1, help="processes that share the work (default: this one alone)"
    )


def run(arguments: argparse.Namespace) -> int:
    """0 after SIGTERM, 130 after Ctrl-C: to be stopped is how this verb ends."""
    from backup_core.testing.durable_host.host_thread import HostThread

    _check(arguments)
    output: Output = arguments.output
    output.message("This host runs the app on one machine, for trials and tests. It is not for production.")
    with _shown_progress(output):
        thread = HostThread(_local_host(arguments), arguments.host, arguments.port)
        code = 0
        try:
            port = thread.start()
            address = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
            output.data(f"Listening on http://{address}:{port}")
            output.flush()
            while True:
                arguments.clock.sleep(_WAIT_SECONDS)
        except Interrupted as stopped:
            code = 0 if stopped.exit_code == 143 else stopped.exit_code
        except OSError as error:
            raise _port_error(arguments, error) from None
        finally:
            thread.stop()
    output.flush()
    _leave_activities(code)
    return code


def _check(arguments: argparse.Namespace) -> None:
    """Raises Usage for what cannot be served."""
    if not 0 <= arguments.port <= 65535:
        raise Usage(f"There is no port {arguments.port}.", remedy="Give --port 0 to 65535; 0 takes a free one.")
    if arguments.workers < 1:
        raise Usage("Somebody has to do the work.", remedy="Give --workers 1 or more.")
    if _is_loopback(arguments.host):
        return
    if arguments.easy_auth:
        raise Usage(
            "--easy-auth is refused where other machines can connect.",
            why="Whoever reaches this port could say who they are, and would be believed.",
            remedy="Leave out --host, or leave out --easy-auth.",
        )
    arguments.output.warning(f"Other machines can connect to {arguments.host}, without encryption.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _local_host(arguments: argparse.Namespace) -> "LocalHost":
    from backup_core.testing.durable_host import LocalHost
    from backup_core.testing.durable_host.host_json import read_host_json
    from backup_core.testing.durable_host.local_settings import read_local_settings

    folder = _app_folder()
    environment = os.environ  # noqa: TID251 - the app in this process reads its settings there, and nowhere else
    for name, value in read_local_settings(folder).items():
        environment.setdefault(name, value)
    environment.setdefault("AzureWebJobsDisableHomepage", "true")
    if arguments.easy_auth:
        environment["WEBSITE_AUTH_ENABLED"] = "True"
    settings = settings_from(arguments)
    environment.setdefault("DRIVEKEEP_SCHEDULE", settings.text("DRIVEKEEP_SCHEDULE"))
    key = settings.text("DRIVEKEEP_SERVE_KEY")
    if not key:
        key = secrets.token_urlsafe(24)
        arguments.output.message(f"Key of the admin route, until this ends: {key}")
    host_settings = read_host_json(folder, environment)
    return LocalHost(
        _worker(arguments.workers, folder, host_settings, environment.get("PYTHON_THREADPOOL_THREAD_COUNT", "")),
        host_settings,
        environment,
        SystemClock(),
        key=key,
        easy_auth=arguments.easy_auth,
        timers=not arguments.no_timer,
    )


def _worker(processes: int, folder: Path, settings: "HostSettings", threads_given: str) -> "Worker":
    limits = settings.limits
    threads = int(threads_given) if threads_given.isdigit() else 0
    threads = threads or limits.activities + limits.orchestrators + _MORE_THREADS
    if processes == 1:
        from backup_core.testing.durable_host.thin_worker import ThinWorker

        return ThinWorker(folder, threads)
    from backup_core.testing.durable_host.process_workers import ProcessWorkers

    return ProcessWorkers(folder, processes, threads)


def _app_folder() -> Path:
    """The current folder's app, else this project's own: beside the package, or where a wheel puts it."""
    project = Path(backup_core.__file__).parents[1]
    shared = [Path(root, "share", "drivekeep") for root in (sysconfig.get_path("data"), site.getuserbase())]
    for folder in (Path.cwd(), project, *shared):
        if (folder / "function_app.py").is_file():
            return folder
    raise Usage(
        "There is no function_app.py.",
        why="Neither the current folder nor this installation of drivekeep has one.",
        remedy="Run it in the project's folder, or install drivekeep anew.",
    )


@contextlib.contextmanager
def _shown_progress(output: Output) -> Iterator[None]:
    """What the rooms log as information goes to stderr too; warnings are shown by every verb anyway."""
    logger, handler = logging.getLogger("backup_core"), _Information(output)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Information(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__(logging.INFO)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING:
            self._output.message(record.getMessage())


def _port_error(arguments: argparse.Namespace, error: OSError) -> Exception:
    if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
        return error
    return DrivekeepError(
        f"Port {arguments.port} of {arguments.host} cannot be opened.",
        why="Another program uses it." if error.errno == errno.EADDRINUSE else f"{os.strerror(error.errno)}.",
        remedy="Choose another --port, or 0 for a free one.",
    )


def _leave_activities(code: int) -> None:
    """Python would wait for an activity to end, minutes perhaps; it is made for dying anywhere, so it is left."""
    clock = SystemClock()
    deadline = clock.monotonic() + _GRACE_SECONDS
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - clock.monotonic()))
            if thread.is_alive():
                os._exit(code)
