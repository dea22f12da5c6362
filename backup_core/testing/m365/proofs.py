"""How an app proves to the token endpoint that it is itself: a secret, a certificate, or a managed identity.

It does not decide which grants need a proof: `token_endpoint.py` does.
"""

from backup_core.testing.m365.assertions import ASSERTION_TYPE, check_assertion, check_federated, is_federated
from backup_core.testing.m365.realm import Realm
from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.registrations import Registration


def proved(realm: Realm, form: dict[str, str], app: Registration, tenant_id: str | None) -> bool:
    """Whether the app showed a credential at all; a wrong one is Refused."""
    secret, assertion = form.get("client_secret"), form.get("client_assertion")
    if not secret and not assertion:
        return False
    if not app.confidential:
        raise Refused(700025)
    if secret:
        if not app.any_secret and secret not in app.secrets:
            raise Refused(7000215, app.client_id)
        return True
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise Refused(900144, "client_assertion_type")
    assert assertion is not None
    now = realm.clock.now()
    if is_federated(assertion):
        check_federated(assertion, app.federated, lambda tenant: f"{realm.login_url()}/{tenant}/v2.0", now)
        return True
    ends = ("oauth2/v2.0/token", "v2.0")
    audiences = {f"{realm.login_url()}/{name}/{end}" for name in realm.names_of(tenant_id) for end in ends}
    check_assertion(assertion, app.client_id, app.certificates, audiences, now)
    return True
