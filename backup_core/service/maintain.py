"""Weekly work on one account's repository: old drive state swept, everything that is named looked for."""

import logging
from collections.abc import Callable

from backup_core.backup.progress import NoProgress
from backup_core.errors import DrivekeepError, NoRepository
from backup_core.maintenance import check as checking
from backup_core.maintenance import sweep as sweeping
from backup_core.maintenance.password import change_password
from backup_core.repository.repository import Repository
from backup_core.service.failures import Failure, failure_of, log_unexpected
from backup_core.service.service import Service
from backup_core.service.work import WAIT_SECONDS, WORKING_SECONDS, Job, Result, beating, room
from backup_core.service.workplace import open_account_repository

_log = logging.getLogger(__name__)


def sweep(service: Service, job: Job) -> Result:
    """Counts of what was deleted. After a change of the master key the repository's password is changed, too."""

    def act(repository: Repository) -> Result:
        current, *former = service.master.repository_passwords(job["tenant"], job["account"])
        change_password(repository, service.clock, job["token"][:16], current, former)
        swept = sweeping.sweep(repository, service.clock, job["token"][:16])
        return {"heads": swept.heads, "segments": swept.segments, "run_objects": swept.run_objects}

    return _carried_out(service, job, act)


def check(service: Service, job: Job) -> Result:
    """`sound`: nothing that a snapshot names is missing. The log tells what is, by stored object and not by file.

    `more`: nothing was tried, since the process had no room for a whole index.
    """

    def act(repository: Repository) -> Result:
        until = _Until(service)
        report = checking.check(repository, service.clock, job["token"][:16], until)
        for finding in report.findings:
            if finding.name:
                _log.error("Damage in the repository of %s/%s: %s", job["tenant"], job["account"], finding.name)
        return {"sound": not report.findings, "damaged": len(report.findings)}

    with room(service, seconds=WAIT_SECONDS) as there_is_room:
        return _carried_out(service, job, act) if there_is_room else {"ok": True, "more": True}


class _Until(NoProgress):
    """Ends a check whose time is up, wherever it tells how far it is."""

    def __init__(self, service: Service) -> None:
        self._clock, self._deadline = service.clock, service.clock.monotonic() + WORKING_SECONDS

    def stage(self, name: str, files: int = 0, bytes: int = 0) -> None:
        self.advance()

    def advance(self, files: int = 0, bytes: int = 0) -> None:
        if self._clock.monotonic() > self._deadline:
            raise DrivekeepError(
                "The repository is too large to be checked by the app.",
                why="An activity has some minutes. Run `drivekeep check` on it from time to time.",
            )


def _carried_out(service: Service, job: Job, act: Callable[[Repository], Result]) -> Result:
    def beat() -> None:
        service.runs.beat(job["tenant"], job["account"], job["token"], {})

    try:
        beat()
        service.check_master_key()
        repository = open_account_repository(service, job["tenant"], job["account"], read_only=False)
        with beating(beat):
            return {"ok": True, **act(repository)}
    except NoRepository:
        return {"ok": True, "sound": True}
    except DrivekeepError as error:
        return failure_of(error).to_json()
    except Exception as error:
        log_unexpected(_log, "Maintenance of a repository failed.", error)
        return Failure("internal", again=True).to_json()
