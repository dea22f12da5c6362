"""From an id to the tenant or account that it names, among those that the caller sees. It changes nothing."""

from collections.abc import Iterator

from backup_core.registry.accounts import Account
from backup_core.registry.tenants import Tenant
from backup_core.service import Service
from backup_core.triggers import ids
from backup_core.triggers.principal import Operator
from backup_core.triggers.problems import not_here

_TENANTS_A_PAGE = 200


def visible_tenant(service: Service, operator: Operator, tenant_id: str) -> Tenant:
    """Refusal 404, before anything is read where it is another's."""
    operator.require(tenant_id)
    found = service.registry.tenants.get(tenant_id)
    if found is None:
        raise not_here()
    return found


def visible_account(service: Service, operator: Operator, text: str) -> Account:
    """Refusal 404. A tenant's operator looks into no other partition than their own."""
    wanted = ids.account_in_path(text)
    for tenant in visible_tenants(service, operator):
        found = service.registry.accounts.find(tenant, wanted)
        if found is not None:
            return found
    raise not_here()


def visible_tenants(service: Service, operator: Operator) -> Iterator[str]:
    """The ids of the tenants whose things the caller may see, as they are asked for."""
    if operator.tenant is not None:
        yield operator.tenant
        return
    after: str | None = None
    while page := service.registry.tenants.page(after, _TENANTS_A_PAGE):
        yield from (tenant.id for tenant in page)
        after = page[-1].id
