"""`drivekeep tenants`: which directories have consented, and letting in one that waits for it."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from backup_core.cli.options import settings_from
from backup_core.errors import DrivekeepError, NotFound, Usage

if TYPE_CHECKING:
    from backup_core.registry.tenants import Tenant
    from backup_core.service import Service

HELP = "list, show and approve the tenants of the service"
WHO = "command line"  # in the audit trail

_PAGE = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "show", "approve"], help="approve: let in a tenant that is pending")
    parser.add_argument("tenant", metavar="TENANT", nargs="?", help="its id or its domain; not with list")


def run(arguments: argparse.Namespace) -> int:
    from backup_core.service import open_service

    if (arguments.action == "list") != (arguments.tenant is None):
        raise Usage(
            "`tenants list` takes no tenant." if arguments.tenant else f"`tenants {arguments.action}` needs a tenant.",
            remedy="Name it by its id or its domain, as `drivekeep tenants list` shows them.",
        )
    # The tenant that a command is about is no setting of the program.
    name, arguments.tenant = arguments.tenant, None
    service = open_service(settings_from(arguments), arguments.clock)
    if arguments.action == "list":
        return _list(arguments, service)
    tenant = find_tenant(service, name)
    if arguments.action == "approve":
        tenant = _approve(arguments, service, tenant)
    if arguments.json:
        arguments.output.document(_described(service, tenant))
    else:
        arguments.output.table(
            ("NAME", "VALUE"), [(name, _shown(value)) for name, value in _described(service, tenant).items()]
        )
    return 0


def all_tenants(service: "Service") -> "Iterator[Tenant]":
    """By id, read page by page."""
    after: str | None = None
    while page := service.registry.tenants.page(after, _PAGE):
        yield from page
        after = page[-1].id


def find_tenant(service: "Service", id_or_domain: str) -> "Tenant":
    """NotFound; Usage where several tenants have that domain."""
    found = service.registry.tenants.get(id_or_domain)
    if found is not None:
        return found
    same = [tenant for tenant in all_tenants(service) if tenant.domain.lower() == id_or_domain.lower()]
    if not same:
        raise NotFound(
            f"There is no tenant {id_or_domain}.",
            why="It has not consented, or it is another installation's.",
            remedy="`drivekeep tenants list` shows those that are there.",
        )
    if len(same) > 1:
        raise Usage(
            f"Several tenants are called {id_or_domain}: {', '.join(each.id for each in same)}.",
            remedy="Name one by its id.",
        )
    return same[0]


def _list(arguments: argparse.Namespace, service: "Service") -> int:
    documents = [_described(service, tenant) for tenant in all_tenants(service)]
    if arguments.json:
        arguments.output.document(documents)
        return 0
    rows = [(each["id"], each["domain"], _state(each), _shown(each["accounts"]), each["name"]) for each in documents]
    arguments.output.table(("ID", "DOMAIN", "STATE", "ACCOUNTS", "NAME"), rows)
    if not rows:
        arguments.output.message("No tenant has consented yet. An administrator begins at the app's page /onboard.")
    return 0


def _approve(arguments: argparse.Namespace, service: "Service", tenant: "Tenant") -> "Tenant":
    """Connected, with its users to be read at the next tick, and with the people let in who wait for it."""
    from dataclasses import replace

    from backup_core.onboarding.connect import approve_people
    from backup_core.registry.audit import entry
    from backup_core.registry.table import Change
    from backup_core.registry.tenants import CONNECTED, PENDING

    def changes() -> list[Change]:
        now = service.registry.tenants.get(tenant.id)
        if now is None or now.state not in {PENDING, CONNECTED}:
            raise DrivekeepError(
                "The tenant cannot be approved.",
                why="Its consent is not there any more.",
                remedy="Have one of its administrators open the app's page /onboard again.",
                reason="consent-lost",
            )
        if now.state == CONNECTED:
            return []
        note = entry(service.clock, WHO, "tenant.approve", now.id)
        return [*service.registry.tenants.changes(now, replace(now, state=CONNECTED, users_read_at=None)), note]

    service.registry.commit(tenant.id, changes)
    approve_people(service, tenant.id, WHO)
    already = tenant.state == CONNECTED
    if already:
        arguments.output.message("The tenant was connected already.")
    elif tenant.connected_at is None:
        arguments.output.message(
            "The tenant is connected. Whoever of it has signed in is backed up from the next tick."
        )
    else:
        arguments.output.message("The tenant is connected. Its users are read at the next tick.")
    return find_tenant(service, tenant.id)


def _described(service: "Service", tenant: "Tenant") -> dict[str, Any]:
    from backup_core.registry import keys

    return {
        "id": tenant.id,
        "name": tenant.name,
        "domain": tenant.domain,
        "state": tenant.state,
        "paused": tenant.paused,
        "destination": tenant.destination,
        "connected_at": tenant.connected_at and keys.stamp(tenant.connected_at),
        "accounts": service.registry.accounts.counts(tenant.id).states,
    }


def _state(document: dict[str, Any]) -> str:
    return f"{document['state']}, paused" if document["paused"] else str(document["state"])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {state}" for state, count in sorted(value.items())) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value or "-")
