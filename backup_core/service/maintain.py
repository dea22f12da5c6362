"""Weekly work on one account's repository: old drive state swept, everything that is named looked for."""

import logging
from collections.abc import Callable
from typing import Any

from backup_core.backup.progress import NoProgress
from backup_core.errors import DrivekeepError, NoRepository
from backup_core.maintenance import check as checking
from backup_core.maintenance import sweep as sweeping
from backup_core.repository.repository import Repository
from backup_core.service.failures import Failure, failure_of, log_unexpected
from backup_core.service.service import Service
from backup_core.service.workplace import open_account_repository

_log = logging.getLogger(__name__)

Job = dict[str, Any]
Result = dict[str, Any]


def sweep(service: Service, job: Job) -> Result:
    """Counts of what was deleted."""

    def act(repository: Repository) -> Result:
        swept = sweeping.sweep(repository, service.clock, job["token"][:16])
        return {"heads": swept.heads, "segments": swept.segments, "run_objects": swept.run_objects}

    return _carried_out(service, job, act)


def check(service: Service, job: Job) -> Result:
    """`sound`: nothing that a snapshot names is missing. The log tells what is, by stored object and not by file."""

    def act(repository: Repository) -> Result:
        report = checking.check(repository, service.clock, job["token"][:16], NoProgress())
        for finding in report.findings:
            if finding.name:
                _log.error("Damage in the repository of %s/%s: %s", job["tenant"], job["account"], finding.name)
        return {"sound": not report.findings, "damaged": len(report.findings)}

    return _carried_out(service, job, act)


def _carried_out(service: Service, job: Job, act: Callable[[Repository], Result]) -> Result:
    try:
        service.runs.beat(job["tenant"], job["account"], job["token"], {})
        service.check_master_key()
        repository = open_account_repository(service, job["tenant"], job["account"], read_only=False)
        return {"ok": True, **act(repository)}
    except NoRepository:
        return {"ok": True, "sound": True}
    except DrivekeepError as error:
        return failure_of(error).to_json()
    except Exception as error:
        log_unexpected(_log, "Maintenance of a repository failed.", error)
        return Failure("internal", again=True).to_json()
