"""A table of Azure Table Storage, with the contract of `table.py`. It knows no row's meaning and reads no setting."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.data.tables import EdmType, EntityProperty, TableClient, UpdateMode

from backup_core.clock import Clock
from backup_core.errors import Usage
from backup_core.registry.table import Change, Delete, Insert, Put, Replace, Row, Value, check_changes, check_keys
from backup_core.registry.table_errors import (
    ROW_NOT_FOUND,
    TABLE_ALREADY_EXISTS,
    TABLE_NOT_FOUND,
    code_of,
    table_errors,
)
from backup_core.storage.azure_transport import PatientTransport, identity

_PAGE_ROWS = 1000  # the most that Azure puts into one answer
_COPY_AGAIN = "Copy it again from the storage account's page in the Azure portal (Access keys, Connection string)."


@dataclass(frozen=True)
class TableAccount:
    """Which account, and who asks: a connection string, or a name alone (an identity of the machine).

    `endpoint_suffix`: the cloud's, as in `<account>.table.<suffix>`.
    """

    connection_string: str | None = field(default=None, repr=False)
    account_name: str | None = None
    endpoint_suffix: str = "core.windows.net"


class AzureTable:
    """One client for all threads; nothing is sent yet. Usage where there are no credentials in the account.

    `connections`: sockets that are kept, one for each thread that calls. `retries`: after the first try of one call.
    """

    def __init__(
        self,
        account: TableAccount,
        name: str,
        *,
        clock: Clock,
        connections: int = 16,
        retries: int = 3,
    ) -> None:
        self._client = _connect(
            account,
            name,
            transport=PatientTransport(connections, clock),
            retry_total=retries,
            retry_connect=retries,
            retry_read=retries,
            retry_status=retries,
        )

    def close(self) -> None:
        """End the sockets that are kept; the table is not used afterwards."""
        self._client.close()

    def create(self) -> None:
        with table_errors("create"):
            try:
                self._client.create_table()
            except HttpResponseError as error:
                if code_of(error) != TABLE_ALREADY_EXISTS:
                    raise

    def get(self, partition: str, key: str) -> Row | None:
        check_keys(partition, key)
        with table_errors("read"):
            try:
                return _row(partition, self._client.get_entity(partition, key))
            except HttpResponseError as error:
                # Only Azure's own word makes a row absent: a 404 without it comes from something on the way.
                if code_of(error) not in {TABLE_NOT_FOUND, *ROW_NOT_FOUND}:
                    raise
        return None

    def rows(
        self,
        partition: str,
        first: str,
        before: str,
        *,
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        where: Mapping[str, Value] | None = None,
    ) -> Iterator[Row]:
        check_keys(partition, first, before)
        conditions = [f"PartitionKey eq '{partition}'", f"RowKey ge '{first}'", f"RowKey lt '{before}'"]
        conditions += [f"{name} eq {_literal(value)}" for name, value in (where or {}).items()]
        select = None if columns is None else ["RowKey", *columns]
        return islice(self._rows(partition, " and ".join(conditions), limit, select), limit)

    def _rows(self, partition: str, query: str, limit: int | None, select: list[str] | None) -> Iterator[Row]:
        left, token, done = limit, None, limit == 0
        while not done:
            wanted = _PAGE_ROWS if left is None else min(left, _PAGE_ROWS)
            # A new query for each page, because the SDK would ask for `wanted` rows again when few of them are left.
            found: Any = self._client.query_entities(query, results_per_page=wanted, select=select)
            pages = found.by_page(continuation_token=token)
            page = self._next_page(pages)
            yield from (_row(partition, entity) for entity in page)
            left, token = None if left is None else left - len(page), pages.continuation_token
            done = token is None or left == 0

    def _next_page(self, pages: Iterator[Iterator[Any]]) -> list[Any]:
        with table_errors("read"):
            try:
                return list(next(pages, ()))
            except HttpResponseError as error:
                if code_of(error) != TABLE_NOT_FOUND:
                    raise
        return []

    def transact(self, partition: str, changes: Sequence[Change]) -> None:
        check_changes(partition, changes)
        with table_errors("change"):
            try:
                self._send(partition, changes)
            except HttpResponseError as error:
                if code_of(error) != TABLE_NOT_FOUND:
                    raise
                self.create()
                self._send(partition, changes)

    def _send(self, partition: str, changes: Sequence[Change]) -> None:
        # A repeated POST is harmless: rows have versions, and whoever gets Conflict reads again (see the contract).
        again = {"retry_on_methods": {"POST"}}
        match changes:
            case [Insert() as only]:
                self._client.create_entity(_entity(partition, only), **again)
            case [Replace() as only]:
                self._client.update_entity(_entity(partition, only), UpdateMode.REPLACE, **_version(only.etag))
            case [Put() as only]:
                self._client.upsert_entity(_entity(partition, only), UpdateMode.REPLACE)
            case _:  # the SDK hides that a row to delete was gone, but not within a transaction
                self._client.submit_transaction([_operation(partition, change) for change in changes], **again)


def _connect(account: TableAccount, name: str, **options: Any) -> TableClient:
    if account.connection_string:
        try:
            return TableClient.from_connection_string(account.connection_string, name, **options)
        except ValueError:
            raise Usage("DRIVEKEEP_STORAGE cannot be read as a connection string.", remedy=_COPY_AGAIN) from None
    if not account.account_name:
        raise Usage(
            "There is no storage account for the registry.",
            remedy="Set DRIVEKEEP_STORAGE to a connection string, or to an account name for access by identity.",
        )
    url = f"https://{account.account_name}.table.{account.endpoint_suffix}"
    return TableClient(url, name, credential=identity(), **options)


def _version(etag: str) -> dict[str, Any]:
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _operation(partition: str, change: Change) -> tuple[Any, ...]:
    match change:
        case Insert():
            return "create", _entity(partition, change)
        case Replace():
            return "update", _entity(partition, change), {"mode": UpdateMode.REPLACE, **_version(change.etag)}
        case Put():
            return "upsert", _entity(partition, change), {"mode": UpdateMode.REPLACE}
        case Delete():
            keys = {"PartitionKey": partition, "RowKey": change.key}
            return "delete", keys, _version(change.etag) if change.etag else {}


def _entity(partition: str, change: Insert | Replace | Put) -> dict[str, Any]:
    return {"PartitionKey": partition, "RowKey": change.key, **{k: _typed(v) for k, v in change.values.items()}}


def _typed(value: Value) -> Any:
    # Every whole number is sent as 64 bits: what comes back as a bare number then was a float.
    return EntityProperty(value, EdmType.INT64) if type(value) is int else value


def _row(partition: str, entity: Any) -> Row:
    values = {name: _value(value) for name, value in entity.items() if value is not None}
    del values["RowKey"]
    values.pop("PartitionKey", None)
    return Row(partition, entity["RowKey"], values, entity.metadata["etag"])


def _value(value: Any) -> Value:
    if isinstance(value, EntityProperty):
        value = value.value
        return int(value)
    return float(value) if type(value) is int else value


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value}L"
    return repr(value) if isinstance(value, float) else "'" + value.replace("'", "''") + "'"
