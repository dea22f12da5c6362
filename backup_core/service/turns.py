"""The beginning and the end of a drive's turn: a claim taken from the queue, and what became of it written down."""

import datetime
import logging
from typing import Any

from backup_core.errors import Temporary
from backup_core.onboarding.consent import note_lost_consent
from backup_core.runs.claim import MAINTAIN, Claim, ClaimLost
from backup_core.runs.run import COMPLETE, FAILED, INCOMPLETE, INTERNAL, Result
from backup_core.service.failures import log_unexpected
from backup_core.service.service import Service

_log = logging.getLogger(__name__)

# What a person turns out to be when their drive cannot be had.
_ACCOUNT_STATES = {"no-drive": "no-drive", "account-gone": "left", "sign-in-again": "sign-in-again"}

_MESSAGES = {
    "no-drive": "This account has no OneDrive any more.",
    "drive-blocked": "The drive is locked, or access to it was refused.",
    "account-gone": "The person is not in the directory any more. The snapshots stay.",
    "consent-lost": "The organisation's consent is not there any more. Let an administrator open the start page again.",
    "sign-in-again": "The sign-in has ended. Let the drive's owner connect it again.",
    "throttled": "Microsoft asked for longer pauses than could be waited for.",
    "locked": "Somebody else works on the repository.",
    "wrong-key": "The repository does not open with this installation's master key.",
    "newer-format": "The repository was written by a newer version.",
    "storage-unreachable": "The storage could not be reached.",
    "interrupted": "The run ended before its time.",
    "cancelled": "The run was cancelled. What was saved stays for the next one.",
    "internal": "Something unexpected went wrong; the app's log says more.",
}


def claim_next(service: Service, tenant: str, lane: str) -> dict[str, Any]:
    """`{"ok": True, "claim": {...}}` with what the steps need to know; `{"ok": False}` where nothing may start, with
    `again` where that may be otherwise soon.
    """
    try:
        claim = service.runs.claim_next(tenant, lane)
    except Exception as error:
        return _refused("No drive could be claimed.", error)
    if claim is None:
        return {"ok": False}
    return {
        "ok": True,
        "claim": {
            "tenant": claim.tenant,
            "account": claim.account,
            "token": claim.token,
            "kind": claim.kind,
            "first_turn": not claim.put_back_for,
            "trust_state": claim.put_back_for != "inconsistent",
        },
    }


def finish(service: Service, job: dict[str, Any]) -> dict[str, Any]:
    """Write down how a turn ended. May be done twice; for a claim that is another's by now it does nothing. Where it
    cannot be done the claim stays, and is freed when nobody works on it any more.
    """
    tenant, account, token = job["tenant"], job["account"], job["token"]
    try:
        if job["end"] == "put-back":
            pause = datetime.timedelta(seconds=job["seconds"])
            not_before = service.clock.now() + pause if pause else None
            service.runs.put_back(tenant, account, token, not_before, job["reason"])
            return {"ok": True}
        claim = service.runs.beat(tenant, account, token, {})
        if job.get("reason") == "consent-lost":
            note_lost_consent(service, tenant, "drivekeep")
        service.runs.finish(tenant, account, token, _result(service, claim, job))
    except ClaimLost:
        return {"ok": False, "reason": "claim-lost"}
    except Exception as error:
        return _refused("The end of a drive's turn could not be written down.", error)
    return {"ok": True}


def _refused(what: str, error: Exception) -> dict[str, Any]:
    log_unexpected(_log, what, error)
    return {"ok": False, "again": isinstance(error, Temporary)}


def _result(service: Service, claim: Claim, job: dict[str, Any]) -> Result:
    summary = job.get("summary")
    if job["end"] != "done" or (summary is None and claim.kind != MAINTAIN):
        reason = job.get("reason", INTERNAL)
        message = job.get("message") or _MESSAGES.get(reason, _MESSAGES["internal"])
        return Result(FAILED, reason=reason, message=message, account_state=_ACCOUNT_STATES.get(reason, ""))
    if summary is None:
        return Result(COMPLETE if job.get("sound", True) else INCOMPLETE)
    counted = {**summary, **_cost(service, claim)}
    return Result(
        COMPLETE if summary["complete"] else INCOMPLETE,
        snapshot_id=summary["snapshot_id"],
        summary=counted,
        report=job["report"],
        drive_id=job["drive_id"],
        repository=f"azure:{service.container}:/{claim.tenant}/{claim.account}",
    )


def _cost(service: Service, claim: Claim) -> dict[str, float]:
    """What all steps of the run have cost together; each of them knows only its own part."""
    seconds = claim.worked_seconds
    if claim.started_at is not None:
        seconds += (service.clock.now() - claim.started_at).total_seconds()
    progress = claim.progress
    return {
        "graph_requests": progress.graph_requests,
        "store_requests": progress.store_requests,
        "throttled_seconds": round(progress.throttled_seconds, 3),
        "duration_seconds": round(seconds, 3),
    }
