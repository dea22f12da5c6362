"""Every blueprint of the app, in one list."""

from backup_core.triggers import (
    activities,
    api_accounts,
    api_misc,
    api_runs,
    api_snapshots,
    api_tenants,
    dashboard,
    onboarding,
    orchestrations,
    tick,
)

BLUEPRINTS = [
    module.blueprint
    for module in (
        dashboard,
        onboarding,
        api_runs,
        api_tenants,
        api_accounts,
        api_snapshots,
        api_misc,
        tick,
        orchestrations,
        activities,
    )
]
