"""What Azure Table Storage and its SDK say about a failure, told in drivekeep's errors.

Nothing of the SDK's own texts is passed on, nor shown as a cause: they hold addresses with signatures.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from backup_core.errors import AccessDenied, DrivekeepError, Temporary, Usage
from backup_core.registry.table import Conflict
from backup_core.storage import azure_errors

TABLE_NOT_FOUND = "TableNotFound"
TABLE_ALREADY_EXISTS = "TableAlreadyExists"
# Azure says one or the other for a row that is not there.
ROW_NOT_FOUND = {"ResourceNotFound", "EntityNotFound"}

_CONFLICTS = {"EntityAlreadyExists", "UpdateConditionNotSatisfied", "ConditionNotMet", *ROW_NOT_FOUND}
_LATER = {"TableBeingDeleted", "AccountBeingCreated", "ServerBusy", "OperationTimedOut", "InternalError"}
_TOO_LARGE = {"EntityTooLarge", "PropertyValueTooLarge", "RequestBodyTooLarge", "TooManyProperties"}


@contextmanager
def table_errors(verb: str) -> Iterator[None]:
    """Turn any error of the SDK in the block into one of the table's contract. `verb`: read, change, create."""
    try:
        yield
    except AzureError as error:
        raise _told(error, f"Azure Table Storage did not {verb} the registry.") from None


def code_of(error: AzureError) -> str:
    """Azure's word for what is wrong (`EntityAlreadyExists`), or "". For an insert the SDK does not read it itself."""
    if found := azure_errors.code_of(error):
        return found
    response = getattr(error, "response", None)
    try:
        return str(json.loads(response.text())["odata.error"]["code"]) if response else ""
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _told(error: AzureError, what: str) -> DrivekeepError:
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status is None:
        return _without_answer(error, what)
    code = code_of(error)
    if code in _CONFLICTS:
        return Conflict("The registry was changed by somebody else meanwhile.", remedy="Read it again, then decide.")
    why = f"It answered {status} {code}".rstrip() + "."
    if status in {401, 403}:
        return AccessDenied(
            what,
            why=why,
            remedy="Check the key in DRIVEKEEP_STORAGE and this machine's clock; an identity needs the role "
            "Storage Table Data Contributor on the account; a firewall of the account must let this machine in.",
        )
    if code in _TOO_LARGE or status == 413:
        return Usage(what, why=why, remedy="Shorten the texts that were to be kept.")
    if code in _LATER or status in {408, 429} or status >= 500 or not code:
        return _later(what, why)
    return DrivekeepError(what, why=why, remedy="Look the word up in Azure's list of Table error codes.")


def _without_answer(error: AzureError, what: str) -> DrivekeepError:
    if isinstance(error, ClientAuthenticationError):
        return Usage(
            what,
            why="No usable credentials were found.",
            remedy="Check DRIVEKEEP_STORAGE (the key in it is base64, unchanged from the portal); with an account name "
            "alone this machine needs a managed identity or an `az login`.",
        )
    return _later(what, azure_errors.system_words(error))


def _later(what: str, why: str) -> Temporary:
    return Temporary(
        what,
        why=why,
        remedy="Try again in a few minutes; look whether a proxy or the account's name is to blame.",
        reason="storage-unreachable",
    )
