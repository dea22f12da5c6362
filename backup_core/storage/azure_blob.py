"""A container of Azure Blob Storage, or a folder in it, as a store. It decides no tier and reads no setting.

A put is create-only (`If-None-Match: *`), and a put whose reply was lost is sent again by the SDK: it may then find its
own object and end in AlreadyExists, as the store's contract says.
"""

from collections.abc import Callable, Iterator
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.blob import BlobClient, StandardBlobTier

from backup_core.clock import Clock
from backup_core.errors import Damaged, NotFound
from backup_core.storage.azure_client import BlobAccount, connect
from backup_core.storage.azure_errors import CONTAINER_NOT_FOUND, NO_TIERS, azure_errors, code_of
from backup_core.storage.azure_listing import read_page
from backup_core.storage.names import check_folder, check_name, check_range
from backup_core.storage.store import Buffer, Store, Stored

HOT = "hot"
# The most that Azure puts into one answer.
_PAGE_NAMES = 5000


def _always_hot(_name: str) -> str:
    return HOT


class AzureBlobStore(Store):
    """One client for all threads; the container is made by the first `put_new`.

    `prefix`: the folder in the container, without slashes at its ends; "" is the container's root.
    `tier_of`: the access tier of a new object by its name: "hot", "cool" or "cold". It is always sent, because an
    account may have a colder default, in which a lock that lives for a minute is billed for a month.
    `connections`: how many threads call at once. `retries`: after the first try of one call.
    """

    def __init__(
        self,
        account: BlobAccount,
        container: str,
        prefix: str = "",
        *,
        clock: Clock,
        tier_of: Callable[[str], str] = _always_hot,
        connections: int = 16,
        retries: int = 3,
        page_names: int = _PAGE_NAMES,
    ) -> None:
        self._container = connect(account, container, clock=clock, connections=connections, retries=retries)
        self._prefix = f"{prefix}/" if prefix else ""
        self._tier_of = tier_of
        self._account_has_tiers = True
        self._page_names = page_names

    def get(self, name: str) -> bytes:
        blob = self._blob(name)
        with azure_errors("read", name):
            return bytes(blob.download_blob().readall())

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        check_range(offset, length)
        if length == 0:
            # No HTTP range is empty; what is promised is that the object is there and reaches that far.
            data, enough = b"", offset <= self.size(name)
        else:
            blob = self._blob(name)
            with azure_errors("read", name):
                data = bytes(blob.download_blob(offset, length).readall())
            enough = len(data) == length
        if not enough:
            raise Damaged(f"{name} ends before {offset + length} bytes.", remedy="Run `drivekeep check`.")
        return data

    def put_new(self, name: str, data: Buffer) -> None:
        blob = self._blob(name)
        content = data if isinstance(data, bytes) else bytes(data)
        with azure_errors("write", name):
            try:
                self._upload(blob, name, content)
            except HttpResponseError as error:
                if code_of(error) != CONTAINER_NOT_FOUND:
                    raise
                self._create_container()
                self._upload(blob, name, content)

    def size(self, name: str) -> int:
        blob = self._blob(name)
        with azure_errors("read", name):
            return int(blob.get_blob_properties().size)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        check_folder(prefix)
        pages = self._pages(prefix)
        try:
            first = next(pages, b"")
        except NotFound:
            return  # no container yet; that it vanishes between two pages is an error
        while first:
            for stored in read_page(first):
                yield stored._replace(name=stored.name.removeprefix(self._prefix))
            first = next(pages, b"")

    def delete(self, name: str) -> None:
        blob = self._blob(name)
        try:
            with azure_errors("delete", name):
                blob.delete_blob()
        except NotFound:
            pass

    def _blob(self, name: str) -> BlobClient:
        return self._container.get_blob_client(self._prefix + check_name(name))

    def _pages(self, prefix: str) -> Iterator[bytes]:
        """The raw XML of each page, past the SDK's slow reading of it (see azure_listing)."""
        answers: list[Any] = []

        def keep_last(response: Any) -> None:
            answers[:] = [response.http_response]

        names = self._container.list_blob_names(
            name_starts_with=self._prefix + prefix, results_per_page=self._page_names, raw_response_hook=keep_last
        ).by_page()
        while True:
            with azure_errors("list", prefix or "the repository"):
                if next(names, None) is None:
                    return
            yield answers[0].body()

    def _upload(self, blob: BlobClient, name: str, content: bytes) -> None:
        tier = self._tier_of(name)
        if tier == HOT and not self._account_has_tiers:
            blob.upload_blob(content)
            return
        try:
            blob.upload_blob(content, standard_blob_tier=StandardBlobTier(tier.capitalize()))
        except HttpResponseError as error:
            # What was asked for is the only tier that such an account has; a colder one is the caller's mistake.
            if tier != HOT or code_of(error) not in NO_TIERS:
                raise
            self._account_has_tiers = False
            blob.upload_blob(content)

    def _create_container(self) -> None:
        try:
            self._container.create_container()
        except ResourceExistsError as error:
            if code_of(error) != "ContainerAlreadyExists":
                raise
