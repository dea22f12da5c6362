"""What stock restic needs to open one account's repository, from the master key and the storage's credentials."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backup_core.cli.output import Output
from backup_core.cli.tenants import WHO
from backup_core.errors import DrivekeepError, NoRepository, Usage, WrongPassword

if TYPE_CHECKING:
    from backup_core.registry.accounts import Account
    from backup_core.service import Service


@dataclass(frozen=True)
class Recovery:
    """`env`: the storage's credentials; `args`: what restic must be given, because they do not let it lock."""

    repository: str
    password: str = field(repr=False)
    env: dict[str, str] = field(repr=False)
    args: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = {"repository": self.repository, "password": self.password, "env": self.env}
        return {**found, "args": list(self.args)} if self.args else found

    def variables(self) -> dict[str, str]:
        """As restic reads them from its environment."""
        return {"RESTIC_REPOSITORY": self.repository, "RESTIC_PASSWORD": self.password, **self.env}


def recovery_of(service: "Service", account: "Account", output: Output) -> Recovery:
    """Usage without a master key, DrivekeepError (reason "wrong-key") with one of another installation.

    That somebody asked stands in the audit trail; where it cannot be written that is a warning, since the storage may
    be all that is left.
    """
    passwords = service.master.repository_passwords(account.tenant, account.id)
    service.check_master_key()
    env, args = _storage(service)
    found = Recovery(
        f"azure:{service.container}:/{account.tenant}/{account.id}", _opening(service, account, passwords), env, args
    )
    try:
        _note(service, account)
    except DrivekeepError as error:
        output.warning(f"The audit trail does not say that you asked for this. {error}")
    return found


def _opening(service: "Service", account: "Account", passwords: list[str]) -> str:
    """The password that opens the repository: after a change of the master key that may still be a former one."""
    from backup_core.repository.key import open_keys

    if len(passwords) == 1:
        return passwords[0]
    store = service.place(account.tenant, account.id, read_only=True).store
    for password in passwords:
        try:
            open_keys(store, password)
        except WrongPassword:
            continue
        except NoRepository:
            break
        return password
    return passwords[0]


def _storage(service: "Service") -> tuple[dict[str, str], tuple[str, ...]]:
    """Credentials that restic takes: a key, else a signature that only reads."""
    from backup_core.storage.azure_client import BlobAccount
    from backup_core.storage.azure_grant import read_only_signature

    account: BlobAccount = service.blob_account
    parts = _parts(account.connection_string or "")
    name = account.account_name or parts.get("accountname", "")
    if not name:
        raise Usage(
            "The connection string does not name its storage account.",
            why="restic asks for the account's name.",
            remedy="Copy the connection string again from the storage account's page (Access keys), or set "
            "DRIVEKEEP_STORAGE to the account's name.",
        )
    suffix = parts.get("endpointsuffix", account.endpoint_suffix)
    env = {"AZURE_ACCOUNT_NAME": name}
    if suffix != "core.windows.net":
        env["AZURE_ENDPOINT_SUFFIX"] = suffix
    if key := account.account_key or parts.get("accountkey"):
        return {**env, "AZURE_ACCOUNT_KEY": key}, ()
    signature = parts.get("sharedaccesssignature") or read_only_signature(
        account, service.container, service.clock, service.settings.number("DRIVEKEEP_HTTP_RETRIES")
    )
    return {**env, "AZURE_ACCOUNT_SAS": signature.removeprefix("?")}, ("--no-lock",)


def _parts(connection_string: str) -> dict[str, str]:
    """Names in lower case; a value may itself hold "="."""
    pairs = (part.partition("=") for part in connection_string.split(";") if part.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _note(service: "Service", account: "Account") -> None:
    from backup_core.registry.audit import entry

    details = {"upn": account.upn}
    service.registry.commit(
        account.tenant, lambda: [entry(service.clock, WHO, "account.recovery", account.id, details)]
    )
