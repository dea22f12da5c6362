"""What Azure Blob Storage and its SDK say about a failure, told in drivekeep's errors.

Nothing of the SDK's own texts is passed on, nor shown as a cause: they hold addresses with signatures.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from backup_core.errors import AccessDenied, AlreadyExists, Damaged, DrivekeepError, NotFound, Temporary, Usage

UNREACHABLE = "storage-unreachable"  # the reason of what a drive's own trouble is not

CONTAINER_NOT_FOUND = "ContainerNotFound"
# Premium block blob accounts, and old general-purpose ones, refuse to hear of tiers.
NO_TIERS = {"UnsupportedHeader", "BlobAccessTierNotSupportedForAccountType"}


class _Meaning(NamedTuple):
    error: type[DrivekeepError]
    why: str
    remedy: str = ""


# Only Azure's own word makes an object absent. A 404 without it comes from something on the way, a proxy or a wrong
# address, and must not look like an empty place where a new repository could be made.
_ABSENT = _Meaning(NotFound, "There is no such object.")
_TAKEN = _Meaning(AlreadyExists, "There is an object of that name already.")
_IMMUTABLE = _Meaning(AccessDenied, "A policy of the container protects it from changes.", "Wait until it ends.")
_LATER = _Meaning(Temporary, "It cannot answer just now.", "Try again in a few minutes.")
_WRONG_NAME = _Meaning(Usage, "It does not accept the name.", "Check the container and the folder in the location.")
_OLD_AZURITE = _Meaning(
    Usage, "It does not know this version of the protocol.", "Where it is Azurite, start it with --skipApiVersionCheck."
)
_TIERLESS = _Meaning(
    Usage,
    "This kind of storage account has no access tiers.",
    "Unset DRIVEKEEP_ACCESS_TIER, or use a general-purpose v2 account.",
)
_MEANINGS = {
    "BlobNotFound": _ABSENT,
    CONTAINER_NOT_FOUND: _ABSENT,
    "BlobAlreadyExists": _TAKEN,
    "UnauthorizedBlobOverwrite": _TAKEN,
    "ConditionNotMet": _TAKEN,
    "InvalidRange": _Meaning(Damaged, "The object ends before what was asked for.", "Run `drivekeep check`."),
    "BlobImmutableDueToPolicy": _IMMUTABLE,
    "BlobImmutableDueToLegalHold": _IMMUTABLE,
    "ContainerBeingDeleted": _LATER,
    "AccountBeingCreated": _LATER,
    "ServerBusy": _LATER,
    "OperationTimedOut": _LATER,
    "InvalidHeaderValue": _OLD_AZURITE,
    "InvalidResourceName": _WRONG_NAME,
    "OutOfRangeInput": _WRONG_NAME,
    **dict.fromkeys(NO_TIERS, _TIERLESS),
}


@contextmanager
def azure_errors(verb: str, name: str) -> Iterator[None]:
    """Turn any error of the SDK in the block into one of the store's contract. `verb`: read, write, list, delete."""
    try:
        yield
    except AzureError as error:
        raise _told(error, f"Azure Blob Storage did not {verb} {name}.") from None


def code_of(error: AzureError) -> str:
    """Azure's word for what is wrong (`BlobNotFound`), or ""."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _told(error: AzureError, what: str) -> DrivekeepError:
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status is None:
        return _without_answer(error, what)
    code = code_of(error)
    if code in _MEANINGS:
        meaning = _MEANINGS[code]
        return meaning.error(what, why=meaning.why, remedy=meaning.remedy)
    why = f"It answered {status} {code}".rstrip() + "."
    if status in {401, 403}:
        return AccessDenied(
            what,
            why=why,
            remedy="Check the key and this machine's clock; an identity needs the role Storage Blob Data Contributor "
            "on the container; a firewall of the account must let this machine in.",
        )
    if status in {408, 429} or status >= 500 or not code:
        return Temporary(
            what,
            why=why,
            remedy="Try again later; look whether a proxy or the account's name is to blame.",
            reason=UNREACHABLE,
        )
    return DrivekeepError(what, why=why, remedy="Look the word up in Azure's list of Blob error codes.")


def _without_answer(error: AzureError, what: str) -> DrivekeepError:
    if isinstance(error, ClientAuthenticationError):
        return Usage(
            what,
            why="No usable credentials were found.",
            remedy="Check AZURE_STORAGE_CONNECTION_STRING or AZURE_ACCOUNT_KEY (the key is base64, unchanged from the "
            "portal); without a key this machine needs a managed identity or an `az login`.",
        )
    return Temporary(
        what,
        why=system_words(error),
        remedy="Check the account's name, the network and HTTPS_PROXY, then run the same command again.",
        reason=UNREACHABLE,
    )


def system_words(error: AzureError) -> str:
    """The innermost words of the operating system or of TLS ("Connection refused"); they never hold an address."""
    words, seen = "", set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.strerror:
            words = cause.strerror
        elif isinstance(cause, TimeoutError):
            words = "Timed out"
        cause = _next_cause(cause)
    return f"The connection failed: {words}." if words else "The connection failed or broke off."


def _next_cause(error: BaseException) -> BaseException | None:
    """The SDK keeps what it wraps in `inner_exception`, `requests` in its arguments, urllib3 in `reason`."""
    hidden = (getattr(error, attribute, None) for attribute in ("inner_exception", "reason"))
    for inner in (error.__cause__, error.__context__, *hidden, *error.args):
        if isinstance(inner, BaseException):
            return inner
    return None
