"""What the sign-in host says when it refuses: an AADSTS number with its OAuth error, status and words.

It does not decide anything: `sign_in.py`, `assertions.py` and `tokens.py` raise, the endpoint renders.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class _Wording:
    error: str
    status: int
    text: str


# The words of Microsoft's reference of error codes, shortened; programs act on `error`, people read the number.
_WORDINGS = {
    50020: _Wording("invalid_grant", 400, "User account from identity provider does not exist in the tenant '{}'."),
    50057: _Wording("invalid_grant", 400, "The user account is disabled."),
    50173: _Wording("invalid_grant", 400, "The provided grant has expired due to it being revoked."),
    65001: _Wording(
        "invalid_grant", 400, "The user or administrator has not consented to use the application with ID '{}'."
    ),
    70000: _Wording("invalid_grant", 400, "The provided value for the 'refresh_token' is not valid."),
    70003: _Wording("unsupported_grant_type", 400, "The app requested an unsupported grant type '{}'."),
    90002: _Wording("invalid_request", 400, "Tenant '{}' not found. Check that you have the correct tenant ID."),
    500011: _Wording("invalid_resource", 400, "The resource principal named '{}' was not found in the tenant."),
    700016: _Wording("unauthorized_client", 400, "Application with identifier '{}' was not found in the directory."),
    700024: _Wording("invalid_client", 401, "Client assertion is not within its valid time range."),
    700025: _Wording("invalid_client", 401, "Client is public: it must not present a secret or an assertion."),
    700027: _Wording("invalid_client", 401, "The certificate with identifier '{}' is not registered, or did not sign."),
    700082: _Wording("invalid_grant", 400, "The refresh token has expired due to inactivity."),
    900144: _Wording("invalid_request", 400, "The request body must contain the following parameter: '{}'."),
    1002012: _Wording(
        "invalid_scope", 400, "The scope '{}' is not valid: client credentials need one that ends in /.default."
    ),
    5002723: _Wording("invalid_client", 401, "Invalid JWT token: {}."),
    7000215: _Wording("invalid_client", 401, "Invalid client secret provided for app '{}'."),
    7000218: _Wording(
        "invalid_client", 401, "The request body must contain the parameter 'client_assertion' or 'client_secret'."
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
