"""`drivekeep accounts`: who the service backs up, who shall be and when; and how to open a repository without it."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backup_core.cli.options import settings_from
from backup_core.cli.tenants import WHO, all_tenants, find_tenant
from backup_core.errors import NotFound, Usage

if TYPE_CHECKING:
    from backup_core.registry.accounts import Account
    from backup_core.service import Service

HELP = "list and change who is backed up by the service; recovery: open a repository without it"

_PAGE = 500
_ACTIONS = ("list", "show", "include", "exclude", "schedule", "recovery")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=_ACTIONS, help="recovery: what stock restic needs to open the account's repository"
    )
    parser.add_argument("account", metavar="ACCOUNT", nargs="?", help="its id or user principal name; not with list")
    parser.add_argument(
        "cron", metavar="CRON", nargs="*", help="with schedule: five fields in UTC, such as '0 2 * * *', or default"
    )
    parser.add_argument("--tenant", metavar="T", help="only this tenant's accounts, by its id or domain")
    parser.add_argument("--state", metavar="STATE", help="with list: only accounts in this state")


def run(arguments: argparse.Namespace) -> int:
    from backup_core.service import open_service

    cron = " ".join(arguments.cron)
    _check(arguments, cron)
    # The tenant that a command is about is no setting of the program.
    tenant, arguments.tenant = arguments.tenant, None
    service = open_service(settings_from(arguments), arguments.clock)
    if arguments.action == "list":
        return _list(arguments, service, tenant)
    account = _find(service, arguments.account, tenant)
    if arguments.action == "recovery":
        return _recovery(arguments, service, account)
    if arguments.action != "show":
        account = _changed(service, account, _change(arguments.action, service, cron))
    if arguments.json:
        arguments.output.document(_described(account))
    else:
        arguments.output.table(("NAME", "VALUE"), [(name, _shown(each)) for name, each in _described(account).items()])
    if arguments.action == "include" and account.state != "protected":
        arguments.output.warning(f"The account is included, but its state is {account.state}: it is not backed up now.")
    return 0


def _check(arguments: argparse.Namespace, cron: str) -> None:
    """Usage where the words do not fit the action."""
    from backup_core.registry.accounts import STATES

    if (arguments.action == "list") != (arguments.account is None):
        raise Usage(
            "`accounts list` takes no account."
            if arguments.account
            else f"`accounts {arguments.action}` needs an account.",
            remedy="Name it by its id or its user principal name, as `drivekeep accounts list` shows them.",
        )
    if (arguments.action == "schedule") != bool(cron):
        raise Usage(
            "Only `accounts schedule` takes a schedule." if cron else "`accounts schedule` needs a schedule.",
            remedy="Write for example `drivekeep accounts schedule ada@contoso.com '0 2 * * *'`, or `default`.",
        )
    if arguments.state is not None and (arguments.action != "list" or arguments.state not in STATES):
        raise Usage(
            f"--state {arguments.state} means nothing here.", remedy=f"With list, use one of: {', '.join(STATES)}."
        )


def _list(arguments: argparse.Namespace, service: "Service", tenant: str | None) -> int:
    tenants = [find_tenant(service, tenant)] if tenant else list(all_tenants(service))
    accounts = [account for each in tenants for account in _accounts_of(service, each.id, arguments.state)]
    if arguments.json:
        arguments.output.document([_described(account) for account in accounts])
        return 0
    rows = [
        (
            each.upn,
            each.state,
            each.outcome or "-",
            _time(each.last_success_at),
            _time(each.due_at),
            each.id,
            each.tenant,
        )
        for each in accounts
    ]
    headings = ("ACCOUNT", "STATE", "LAST RUN", "LAST SAVED (UTC)", "NEXT DUE (UTC)", "ID", "TENANT")
    arguments.output.table(headings, rows)
    return 0


def _accounts_of(service: "Service", tenant: str, state: str | None) -> "list[Account]":
    found: list[Account] = []
    after: str | None = None
    while page := service.registry.accounts.page(tenant, after, _PAGE, state):
        found += page
        after = page[-1].id
    return found


def _find(service: "Service", id_or_upn: str, tenant: str | None) -> "Account":
    """NotFound; Usage where accounts of several tenants fit."""
    tenants = [find_tenant(service, tenant)] if tenant else all_tenants(service)
    found = [account for each in tenants if (account := service.registry.accounts.find(each.id, id_or_upn))]
    if not found:
        raise NotFound(
            f"There is no account {id_or_upn}.",
            why="It was not enrolled, or its name is another by now.",
            remedy="`drivekeep accounts list` shows those that are there.",
        )
    if len(found) > 1:
        raise Usage(
            f"Several tenants have an account {id_or_upn}: {', '.join(each.tenant for each in found)}.",
            remedy="Say which with --tenant.",
        )
    return found[0]


def _change(action: str, service: "Service", cron: str) -> "Callable[[Account], Account]":
    """What the action makes of an account. Usage for a schedule that is none."""
    from backup_core.onboarding.inclusion import left_out, taken_in
    from backup_core.runs.schedule import valid_cron

    def included(account: "Account") -> "Account":
        return taken_in(account, service.runs.due_again, may_approve=True)

    schedule = None if action != "schedule" or cron == "default" else valid_cron(cron)

    def scheduled(account: "Account") -> "Account":
        after = replace(account, schedule=schedule)
        never_saved = account.last_success_at is None  # such a one is due at once and stays so
        return after if never_saved else replace(after, next_due_at=service.runs.due_again(after))

    return {"include": included, "exclude": left_out, "schedule": scheduled}[action]


def _changed(service: "Service", account: "Account", change: "Callable[[Account], Account]") -> "Account":
    """The account as it is stored then, with a row in the audit trail where anything was changed."""
    from backup_core.onboarding.inclusion import letting_in_tenant
    from backup_core.registry.audit import entry
    from backup_core.registry.table import Change

    accounts = service.registry.accounts

    def changes() -> list[Change]:
        before = accounts.get(account.tenant, account.id) or account
        after = change(before)
        if (after.included, after.state, after.schedule) == (before.included, before.state, before.schedule):
            return []
        details = {"included": after.included, "state": after.state, "schedule": after.schedule}
        note = entry(service.clock, WHO, "account.change", after.id, details)
        return [*accounts.changes(before, after), *letting_in_tenant(service, before, after, WHO), note]

    service.registry.commit(account.tenant, changes)
    return accounts.get(account.tenant, account.id) or account


def _recovery(arguments: argparse.Namespace, service: "Service", account: "Account") -> int:
    import shlex

    from backup_core.cli.recovery import recovery_of

    found = recovery_of(service, account, arguments.output)
    if arguments.json:
        arguments.output.document(found.document())
        return 0
    for name, value in found.variables().items():
        arguments.output.data(f"export {name}={shlex.quote(value)}")
    command = " ".join(["restic", *found.args, "snapshots"])
    arguments.output.message(
        f"Paste these lines into a shell; then for example `{command}` works. They open the backup."
    )
    return 0


def _described(account: "Account") -> dict[str, Any]:
    from backup_core.registry import keys

    run = account.last_run
    return {
        "id": account.id,
        "tenant": account.tenant,
        "upn": account.upn,
        "display_name": account.display_name,
        "drive_id": account.drive_id,
        "state": account.state,
        "included": account.included,
        "schedule": account.schedule,
        "exclude": list(account.exclude),
        "tags": list(account.tags),
        "last_run": run
        and {"id": run.id, "state": run.state, "finished_at": run.finished_at and keys.stamp(run.finished_at)},
        "last_success_at": account.last_success_at and keys.stamp(account.last_success_at),
        "next_due_at": account.due_at and keys.stamp(account.due_at),
        "repository": account.repository,
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value or "-")


def _time(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
