"""The page on which an administrator consents for a whole tenant, as a browser meets it: one redirect back to the app.

Nobody clicks: `consent.py` says who sits there and what they do.
"""

from backup_core.testing.m365.consent import Consent
from backup_core.testing.m365.directory import Tenant
from backup_core.testing.m365.realm import Realm
from backup_core.testing.m365.redirects import redirect, redirect_uri
from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.registrations import Registration
from backup_core.testing.m365.tokens import CONSUMERS
from backup_core.testing.m365.wire import Request, Response

_REFUSALS = {"deny": 65004, "not-admin": 90094, "approval-workflow": 90095}


class ConsentPage:
    def __init__(self, realm: Realm) -> None:
        self._realm = realm

    def version_2(self, request: Request, name: str) -> Response:
        """With `.default` it grants all roles that the app asks for; other scopes are a person's and bring no role."""
        if name.lower() in ("common", "consumers", CONSUMERS):
            raise Refused(90124, "adminconsent")
        scope = request.query.get("scope", "")
        if not scope:
            raise Refused(900144, "scope")
        roles = None
        for word in scope.split():
            resource, _, action = word.rpartition("/")
            self._realm.check_resource(resource)
            if action != ".default":
                roles = frozenset[str]()
        return self._answer(request, name, {"scope": scope}, roles)

    def version_1(self, request: Request, name: str) -> Response:
        return self._answer(request, name, {}, None)

    def _answer(self, request: Request, name: str, granted: dict[str, str], roles: frozenset[str] | None) -> Response:
        app = self._realm.app(request.query.get("client_id", ""))
        back = redirect_uri(request, app)
        consent = self._realm.consent
        tenant = self._who(name, app)
        answer = self._decided(consent, app, tenant, roles)
        if "error" not in answer:
            answer |= {"tenant": tenant.id, **granted}
        return redirect(request, back, answer)

    def _decided(
        self, consent: Consent, app: Registration, tenant: Tenant, roles: frozenset[str] | None
    ) -> dict[str, str]:
        """What goes back. A cancelled page says so in two words and nothing else, as has been seen."""
        if consent.outcome == "cancel":
            return {"error": "access_denied", "error_subcode": "cancel"}
        if consent.outcome == "grant":
            consent.grant(tenant, app, roles=roles)
            return {"admin_consent": "True"}
        refused = Refused(_REFUSALS[consent.outcome])
        return {"admin_consent": "True", "error": refused.error, "error_description": str(refused)}

    def _who(self, name: str, app: Registration) -> Tenant:
        """The tenant of whoever sits there. Raises Refused where the address names another one."""
        named, consent = self._realm.tenant_id(name), self._realm.consent
        there = consent.tenant.id if consent.tenant else None
        organisations = [each.tenant for each in self._realm.tenants if each.tenant.id != CONSUMERS]
        for tenant in sorted(organisations, key=lambda tenant: consent.has(tenant, app)):
            if {named, there} <= {None, tenant.id}:
                return tenant
        raise Refused(50020, name)
