"""The registry as a whole: what the service builds once, and hands to whoever reads or changes it."""

from collections.abc import Callable, Sequence
from functools import cached_property

from backup_core.clock import Clock
from backup_core.registry import keys
from backup_core.registry.accounts import Accounts
from backup_core.registry.audit import Audit
from backup_core.registry.nonces import Nonces
from backup_core.registry.sealing import Sealer
from backup_core.registry.table import COMMIT_TRIES, Change, Table, commit
from backup_core.registry.tenants import Tenants
from backup_core.registry.throttle import TenantThrottle
from backup_core.registry.tokens import Tokens


class Registry:
    """`token_sealer` makes what seals the tokens of people who connected (purpose `tokens.PURPOSE`).

    It is asked only where there are such tokens to read or keep, since nothing else here needs a master key.
    """

    def __init__(self, table: Table, clock: Clock, token_sealer: Callable[[], Sealer]) -> None:
        self.table = table
        self.clock = clock
        self.tenants = Tenants(table)
        self.accounts = Accounts(table)
        self.audit = Audit(table)
        self.nonces = Nonces(table, clock)
        self._token_sealer = token_sealer

    @cached_property
    def tokens(self) -> Tokens:
        """The kept sign-ins. What `token_sealer` raises, where there is no usable master key."""
        return Tokens(self.table, self._token_sealer())

    def throttle(self, tenant: str) -> TenantThrottle:
        """What the gates of a tenant tell each other."""
        return TenantThrottle(self.table, tenant, self.clock)

    def commit(self, tenant: str, make_changes: Callable[[], Sequence[Change]], tries: int = COMMIT_TRIES) -> None:
        """Change rows of one tenant; `make_changes` is asked anew each time another writer was first (see `commit`)."""
        commit(self.table, self.clock, keys.part(tenant), make_changes, tries)
