"""What the sign-in host says when it refuses: an AADSTS number with its OAuth error, status and words.

It does not decide anything: the endpoints and the books of codes and tokens raise, `sign_in.py` renders.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class _Wording:
    error: str
    status: int
    text: str


# The words of Microsoft's reference of error codes, shortened; programs act on `error`, people read the number.
_WORDINGS = {
    50011: _Wording(
        "invalid_request", 400, "The redirect URI '{}' specified in the request does not match the configured ones."
    ),
    50013: _Wording("invalid_client", 401, "Assertion failed signature validation: {}."),
    50020: _Wording("invalid_grant", 400, "User account from identity provider does not exist in the tenant '{}'."),
    50034: _Wording("invalid_grant", 400, "The user account does not exist in the directory."),
    50057: _Wording("invalid_grant", 400, "The user account is disabled."),
    50058: _Wording("login_required", 400, "A silent sign-in request was sent but no user is signed in."),
    50076: _Wording("interaction_required", 400, "You must use multi-factor authentication to access the resource."),
    50147: _Wording("invalid_request", 400, "The size or the method of the code challenge parameter isn't valid."),
    50173: _Wording("invalid_grant", 400, "The provided grant has expired due to it being revoked."),
    54005: _Wording("invalid_grant", 400, "The authorization code was already redeemed."),
    65001: _Wording(
        "invalid_grant", 400, "The user or administrator has not consented to use the application with ID '{}'."
    ),
    65004: _Wording("access_denied", 400, "User declined to consent to access the app."),
    70000: _Wording("invalid_grant", 400, "The provided value for the '{}' is not valid."),
    70003: _Wording("unsupported_grant_type", 400, "The app requested an unsupported grant type '{}'."),
    70008: _Wording("invalid_grant", 400, "The provided authorization code or refresh token has expired."),
    90002: _Wording("invalid_request", 400, "Tenant '{}' not found. Check that you have the correct tenant ID."),
    90094: _Wording("access_denied", 400, "The grant requires admin permission."),
    90095: _Wording("consent_required", 400, "Admin consent is required; a request for it was sent to the admins."),
    90124: _Wording("invalid_request", 400, "Resource '{}' is not supported over the /common or /consumers endpoints."),
    500011: _Wording("invalid_resource", 400, "The resource principal named '{}' was not found in the tenant."),
    500112: _Wording(
        "invalid_client",
        401,
        "The reply address '{}' does not match the one of the request for the authorization code.",
    ),
    501481: _Wording("invalid_grant", 400, "The code_verifier does not match the code_challenge of the request."),
    700016: _Wording("unauthorized_client", 400, "Application with identifier '{}' was not found in the directory."),
    700024: _Wording("invalid_client", 401, "Client assertion is not within its valid time range."),
    700025: _Wording("invalid_client", 401, "Client is public: it must not present a secret or an assertion."),
    700027: _Wording("invalid_client", 401, "The certificate with identifier '{}' is not registered, or did not sign."),
    700054: _Wording("unsupported_response_type", 400, "response_type '{}' is not enabled for the application."),
    700082: _Wording("invalid_grant", 400, "The refresh token has expired due to inactivity."),
    700211: _Wording("invalid_client", 401, "No matching federated identity record found for issuer '{}'."),
    700212: _Wording("invalid_client", 401, "No matching federated identity record found for audience '{}'."),
    700213: _Wording("invalid_client", 401, "No matching federated identity record found for subject '{}'."),
    900144: _Wording("invalid_request", 400, "The request body must contain the following parameter: '{}'."),
    900971: _Wording("invalid_request", 400, "No reply address provided."),
    1002012: _Wording(
        "invalid_scope", 400, "The scope '{}' is not valid: client credentials need one that ends in /.default."
    ),
    5002723: _Wording("invalid_client", 401, "Invalid JWT token: {}."),
    7000215: _Wording("invalid_client", 401, "Invalid client secret provided for app '{}'."),
    7000218: _Wording(
        "invalid_client", 401, "The request body must contain the parameter 'client_assertion' or 'client_secret'."
    ),
    7000229: _Wording(
        "unauthorized_client", 400, "The client application '{}' is missing its service principal in the tenant."
    ),
    9001023: _Wording("invalid_request", 400, "The grant type is not supported over /common or /consumers."),
}


class Refused(Exception):
    """`number` is one of the table above; `detail` fills its blank."""

    def __init__(self, number: int, detail: str = "") -> None:
        wording = _WORDINGS[number]
        self.number, self.error, self.status = number, wording.error, wording.status
        self.suberror = "consent_required" if number == 65001 else ""
        super().__init__(f"AADSTS{number}: {wording.text.format(detail)}")
