"""A signature with which somebody without an identity reads one container for a day. It stores nothing."""

import datetime

from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from backup_core.clock import Clock
from backup_core.storage.azure_client import BlobAccount, PatientRetry
from backup_core.storage.azure_errors import azure_errors
from backup_core.storage.azure_transport import PatientTransport, identity

VALID = datetime.timedelta(days=1)
_EARLIER = datetime.timedelta(minutes=15)  # Azure's clock and this machine's need not agree


def read_only_signature(account: BlobAccount, container: str, clock: Clock, retries: int) -> str:
    """Reads and lists, nothing else; by the identity of this machine, whose account must be named.

    AccessDenied where that may not sign (it needs the role Storage Blob Delegator), Temporary.
    """
    service = BlobServiceClient(
        f"https://{account.account_name}.blob.{account.endpoint_suffix}",
        credential=identity(),
        transport=PatientTransport(1, clock),
        retry_policy=PatientRetry(retries, clock),
    )
    start, end = clock.now() - _EARLIER, clock.now() + VALID
    with azure_errors("sign access to", container):
        key = service.get_user_delegation_key(start, end)
    return generate_container_sas(
        str(account.account_name),
        container,
        user_delegation_key=key,
        permission=ContainerSasPermissions(read=True, list=True),
        start=start,
        expiry=end,
        protocol="https",
    )
