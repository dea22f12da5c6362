"""The connection to one container of Azure Blob Storage: credentials and retries. It stores and reads nothing."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import ContainerClient, ExponentialRetry

from backup_core.clock import Clock
from backup_core.errors import Usage
from backup_core.storage.azure_transport import PatientTransport, identity

MIB = 1 << 20

# A pack goes up, and comes back, in one request: one atomic write, billed once. What is larger goes up in blocks of
# 4 MiB and one commit, which is as atomic and as careful not to overwrite.
_SINGLE_REQUEST_BYTES = 128 * MIB

_ACCOUNT_NAME = re.compile(r"[a-z0-9]{3,24}\Z")
_REMEDY = (
    "Set AZURE_STORAGE_CONNECTION_STRING, or AZURE_ACCOUNT_NAME with AZURE_ACCOUNT_KEY, "
    "or AZURE_ACCOUNT_NAME alone where an identity (managed identity, `az login`) may use the account."
)


@dataclass(frozen=True)
class BlobAccount:
    """Who asks which account: a connection string, or a name with a key, or a name alone (an identity of the machine).

    `endpoint_suffix`: the cloud's, as in `<account>.blob.<suffix>`.
    """

    connection_string: str | None = field(default=None, repr=False)
    account_name: str | None = None
    account_key: str | None = field(default=None, repr=False)
    endpoint_suffix: str = "core.windows.net"


def connect(account: BlobAccount, container: str, *, clock: Clock, connections: int, retries: int) -> ContainerClient:
    """A client that every thread may use; nothing is sent yet. Usage where there are no credentials in the account.

    `connections`: sockets that are kept, one for each thread that calls. `retries`: after the first try of one call.
    """
    options: dict[str, Any] = {
        "transport": PatientTransport(connections, clock),
        "retry_policy": PatientRetry(retries, clock),
        "max_single_put_size": _SINGLE_REQUEST_BYTES,
        "max_single_get_size": _SINGLE_REQUEST_BYTES,
    }
    if account.connection_string:
        return _by_connection_string(account.connection_string, container, options)
    if not account.account_name:
        raise Usage("There are no credentials for Azure Blob Storage.", remedy=_REMEDY)
    if not _ACCOUNT_NAME.match(account.account_name):
        raise Usage(
            f"{account.account_name!r} cannot be the name of a storage account.",
            why="It has 3 to 24 lower-case letters and digits.",
            remedy="Set AZURE_ACCOUNT_NAME to the bare name, without https:// and without the host's ending.",
        )
    url = f"https://{account.account_name}.blob.{account.endpoint_suffix}"
    return ContainerClient(url, container, credential=account.account_key or identity(), **options)


def _by_connection_string(text: str, container: str, options: dict[str, Any]) -> ContainerClient:
    try:
        client = ContainerClient.from_connection_string(text, container, **options)
    except ValueError:
        raise Usage("AZURE_STORAGE_CONNECTION_STRING cannot be read.", remedy=_COPY_AGAIN) from None
    # Without a key the SDK asks anonymously, and Azure answers that nothing is there: a lie about a repository.
    if client.credential is None and not urlsplit(client.url).query:
        raise Usage("AZURE_STORAGE_CONNECTION_STRING holds no key and no signature.", remedy=_COPY_AGAIN)
    return client


_COPY_AGAIN = "Copy it again from the storage account's page in the Azure portal (Access keys, Connection string)."


class PatientRetry(ExponentialRetry):
    """The SDK's policy with `retries` for everything together, and waits by the program's clock: about 1, 3, 5, 9 s."""

    def __init__(self, retries: int, clock: Clock) -> None:
        super().__init__(
            initial_backoff=1,
            increment_base=2,
            random_jitter_range=1,
            retry_total=retries,
            retry_connect=retries,
            retry_read=retries,
            retry_status=retries,
        )
        self._clock = clock

    def get_backoff_time(self, settings: dict[str, Any]) -> float:
        """The SDK counts from 1 and would begin with three seconds; counted from 0 it begins with one."""
        return super().get_backoff_time({**settings, "count": settings["count"] - 1})

    def sleep(self, settings: dict[str, Any], transport: Any) -> None:
        """A stopped program does not wait, and a test does not wait at all."""
        self._clock.sleep(self.get_backoff_time(settings))

    def increment(self, settings: dict[str, Any], request: Any, response: Any = None, error: Any = None) -> bool:
        """Whether to try again. Credentials that are not there do not appear by waiting."""
        if isinstance(error, ClientAuthenticationError):
            return False
        return super().increment(settings, request, response, error)
