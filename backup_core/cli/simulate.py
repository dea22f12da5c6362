"""The verb `simulate`: serves a simulated Microsoft 365 on this machine until it is stopped."""

import argparse
import errno
import secrets
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backup_core.errors import DrivekeepError, Interrupted, Usage

if TYPE_CHECKING:
    from backup_core.testing.m365 import SimulatedTenant, Simulation

HELP = "serve a simulated Microsoft 365 on this machine, to try things out; it is a test tool"

_PORTS = 5  # Graph, sign-in, content host, proxy, managed identity
_WAIT_SECONDS = 3600.0  # as long as one likes: a signal ends the wait


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", metavar="DIR", help="show this folder's files as the first user's drive")
    parser.add_argument("--users", metavar="N", type=int, default=1, help="how many users there are (default: 1)")
    parser.add_argument(
        "--tenants", metavar="N", type=int, default=1, help="how many tenants of so many users there are (default: 1)"
    )
    parser.add_argument("--personal", action="store_true", help="personal accounts instead of work accounts")
    parser.add_argument(
        "--port",
        metavar="N",
        type=int,
        default=0,
        help=f"first of {_PORTS} ports in a row (default: free ones)",
    )


def run(arguments: argparse.Namespace) -> int:
    """0 after SIGTERM, 130 after Ctrl-C: to be stopped is how this verb ends."""
    folder = _checked(arguments)
    try:
        with _scratch_folder() as scratch, _simulation(arguments) as m365:
            for number in range(2, arguments.tenants + 1):
                m365.add_tenant(f"organisation{number}.example", users=arguments.users)
            if folder is not None:
                m365.users[0].drive.mount_folder(folder, follow=True)
            if arguments.json:
                arguments.output.document(_description(m365))
            else:
                _explain(arguments.output, m365, Path(scratch) / "repository")
            arguments.output.flush()
            while True:
                arguments.clock.sleep(_WAIT_SECONDS)
    except Interrupted as stopped:
        return 0 if stopped.exit_code == 143 else stopped.exit_code
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise DrivekeepError(
            f"The ports from {arguments.port} on cannot be opened.",
            why=f"Another program uses one of the {_PORTS}.",
            remedy="Choose another --port, or leave it out: then free ones are taken.",
        ) from None


def _checked(arguments: argparse.Namespace) -> Path | None:
    """The folder to show. Raises Usage for what cannot be simulated."""
    for flag, count in (("user", arguments.users), ("tenant", arguments.tenants)):
        if count < 1:
            raise Usage(f"A simulated Microsoft 365 has at least one {flag}.", remedy=f"Give --{flag}s 1 or more.")
    if not 0 <= arguments.port <= 65536 - _PORTS:
        raise Usage(
            f"There is no port {arguments.port} with {_PORTS - 1} more after it.", remedy="Give a smaller --port."
        )
    if arguments.folder is None:
        return None
    folder = Path(arguments.folder)
    if not folder.is_dir():
        raise Usage(f"{arguments.folder} is not a folder.", remedy="Give --folder a folder that is there.")
    return folder


def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    # A backup in another window may still write there when it goes.
    return tempfile.TemporaryDirectory(prefix="drivekeep-simulate-", ignore_cleanup_errors=True)


def _simulation(arguments: argparse.Namespace) -> "Simulation":
    from backup_core.testing.m365 import Simulation

    return Simulation(
        business=not arguments.personal,
        users=arguments.users,
        strict_content=False,  # programs of the rclone kind send their token there, and Business bore it for years
        port=arguments.port,
        log_entries=0,  # nobody reads it, and this process may serve for days
    )


def _description(m365: "Simulation") -> dict[str, Any]:
    """What a program needs; more than one tenant is told of only where there is one."""
    described = {
        "graph_url": m365.graph_url,
        "authority_url": m365.authority_url,
        "content_url": m365.content_url,
        "proxy_url": m365.proxy_url,
        "ca_file": str(m365.ca_file),
        "tenant": {"id": m365.tenant.id, "domain": m365.tenant.domain},
        "client_id": m365.client_id,
        "client_secret": m365.client_secret,
        "users": _users(m365.tenant),
    }
    if further := m365.tenants[1:]:
        described["tenants"] = [
            {"id": tenant.id, "domain": tenant.domain, "users": _users(tenant)} for tenant in further
        ]
        described["identity"] = {
            "endpoint": m365.identity_endpoint,
            "header": m365.identity.header,
            "client_id": m365.identity.client_id,
        }
    return described


def _users(tenant: "SimulatedTenant") -> list[dict[str, str]]:
    return [
        {
            "upn": user.upn,
            "id": user.id,
            "drive_id": user.drive.id,
            "access_token": user.access_token,
            "refresh_token": user.refresh_token,
        }
        for user in tenant.users
    ]


def _explain(output: Any, m365: "Simulation", repository: Path) -> None:
    """Data for a shell on stdout, the words around it on stderr, so that `eval` can read what is printed."""
    settings = {**m365.environment(user=0), **m365.service_environment()}
    settings["DRIVEKEEP_REPOSITORY"] = str(repository)
    settings["DRIVEKEEP_PASSWORD"] = secrets.token_urlsafe(12)
    output.message("A simulated Microsoft 365 serves on this machine alone. It is a test tool: nothing in it is real.")
    output.message(f"Paste these lines into another shell; there `drivekeep backup` backs up {m365.users[0].upn},")
    output.message(
        "and `drivekeep serve` serves everybody, once DRIVEKEEP_STORAGE and DRIVEKEEP_MASTER_KEY are set too."
    )
    for name, value in settings.items():
        output.data(f"export {name}={shlex.quote(value)}")
    output.message(f"Programs that know only Microsoft's own hosts reach it through the proxy {m365.proxy_url}.")
    output.message("Ctrl-C ends it and removes its files, the repository of these lines among them.")
