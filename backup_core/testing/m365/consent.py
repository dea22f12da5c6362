"""Which tenant has given which app its roles, and how long a consent takes until tokens show it.

Consents of single people to their own files are not kept here: whoever signs in gives them.
"""

import threading
from dataclasses import dataclass
from typing import Literal, Protocol

from backup_core.clock import Clock
from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.registrations import Registration

ConsentOutcome = Literal["grant", "deny", "cancel", "not-admin", "approval-workflow"]

# What token requests are told while a consent is on its way, in turn; the real host has been seen to give each of them.
_NOT_ARRIVED = (700016, 7000229, 65001)
_APP_IS_KNOWN = 0.75  # of the way: from here on there are tokens, still without roles


class Identified(Protocol):
    @property
    def id(self) -> str: ...


@dataclass
class _Given:
    roles: frozenset[str] | None  # None: whatever the registration asks for
    at: float = 0.0
    seconds: float = 0.0
    calls: int = 0
    asked: int = 0

    def way(self, now: float) -> float:
        """From 0 to 1, where it has arrived."""
        by_time = (now - self.at) / self.seconds if self.seconds else 1.0
        by_calls = self.asked / self.calls if self.calls else 1.0
        return min(by_time, by_calls, 1.0)


class Consent:
    """What the consent page does, set at any time, and what has been consented to. Thread-safe.

    `tenant`: whose administrator sits before the page; None: of the tenant in the page's address, and where that is
    anybody's, of the first that has not consented yet.
    `roles`: what an administrator's grant holds, None for all that the app asks for. A grant shows in tokens once both
    `arrives_after` seconds have passed and `arrives_calls` token requests have been made; until then these are refused,
    and towards the end they bring tokens without roles. The first tenant has consented to everything from the start.
    """

    def __init__(self, home: Identified, app: Registration, clock: Clock) -> None:
        self.tenant: Identified | None = None
        self.outcome: ConsentOutcome = "grant"
        self.roles: frozenset[str] | None = None
        self.arrives_after = 0.0
        self.arrives_calls = 0
        self._home, self._app, self._clock = home, app, clock
        self._given: dict[tuple[str, str], _Given | None] = {}
        self._lock = threading.Lock()

    def grant(
        self, tenant: Identified, app: Registration | None = None, *, roles: frozenset[str] | None = None
    ) -> None:
        """As on the page, or in the tenant's own portal. `app` None: the app that reads."""
        app = app or self._app
        given = app.roles if self.roles is None else self.roles
        with self._lock:
            self._given[tenant.id, app.client_id] = _Given(
                given if roles is None else roles, self._clock.monotonic(), self.arrives_after, self.arrives_calls
            )

    def revoke(self, tenant: Identified, app: Registration | None = None) -> None:
        """The app is removed from the tenant. Access tokens that it has go on for their hour, as the real ones do."""
        with self._lock:
            self._given[tenant.id, (app or self._app).client_id] = None

    def has(self, tenant: Identified, app: Registration | None = None) -> bool:
        """Whether it was given, arrived or not."""
        with self._lock:
            return self._find(tenant.id, app or self._app) is not None

    def roles_of(self, tenant_id: str, app: Registration) -> frozenset[str]:
        """What a token that is made now may hold. Raises Refused where the tenant does not know the app, or not yet."""
        with self._lock:
            given = self._find(tenant_id, app)
            if given is None:
                raise Refused(7000229, app.client_id)
            way = given.way(self._clock.monotonic())
            given.asked += 1
        if way < _APP_IS_KNOWN:
            raise Refused(_NOT_ARRIVED[(given.asked - 1) % len(_NOT_ARRIVED)], app.client_id)
        if way < 1:
            return frozenset()
        return app.roles if given.roles is None else given.roles & app.roles

    def _find(self, tenant_id: str, app: Registration) -> _Given | None:
        from_the_start = _Given(None) if tenant_id == self._home.id else None
        return self._given.get((tenant_id, app.client_id), from_the_start)
