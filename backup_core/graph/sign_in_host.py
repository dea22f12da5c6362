"""The sign-in host: how requests get there, and what it means when it says no.

It is what msal is given for an HTTP client, so that certificates, proxies, timeouts and retries are ours; which tokens
are asked for is `sign_in.py`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import requests

from backup_core.clock import Clock
from backup_core.errors import AccessDenied, DrivekeepError, Temporary, Usage
from backup_core.graph.attempts import Attempts, Cut
from backup_core.graph.gate import Gate
from backup_core.graph.links import Origin, origin_of
from backup_core.graph.refusals import RETRIED, read_refusal
from backup_core.graph.transport import read_body, send

# Microsoft's own, as msal knows them; they stand in for each other within a cloud, and msal asks one about the others.
MICROSOFT_HOSTS = frozenset(
    {
        "login.microsoftonline.com",
        "login.microsoft.com",
        "login.windows.net",
        "sts.windows.net",
        "login.microsoftonline.us",
        "login.usgovcloudapi.net",
        "login.partner.microsoftonline.cn",
        "login.chinacloudapi.cn",
    }
)
_MICROSOFT_ORIGINS = frozenset(Origin("https", host, 443) for host in MICROSOFT_HOSTS)
_ANSWER_MAX_BYTES = 1 << 20


class Answer(NamedTuple):
    """An answer as msal wants to see it."""

    status_code: int
    headers: Mapping[str, str]
    text: str

    def raise_for_status(self) -> None:
        """msal's own wrapper does this."""


class SignInHost:
    """An authority, with its own gate: throttling there says nothing about Graph. Shared by all threads."""

    def __init__(
        self, authority_url: str, session: requests.Session, gate: Gate, retries: int = 3, patience: float = 900.0
    ) -> None:
        self.url = authority_url.rstrip("/")
        self.gate = gate
        self._session, self._retries, self._patience = session, retries, patience
        origin = origin_of(self.url)
        if origin is None or origin.scheme != "https":
            raise Usage(
                "DRIVEKEEP_AUTHORITY_URL is not usable.",
                why="Credentials go there, so it must be an https address.",
                remedy="Leave it unset, or give an address like https://login.microsoftonline.com.",
            )
        self.host = origin.host
        self.is_microsoft = origin.host in MICROSOFT_HOSTS
        self._origin = origin

    def get(self, url: str, params: Any = None, headers: Any = None, **_: Any) -> Answer:
        return self._exchange("GET", url, headers, params=params)

    def post(self, url: str, params: Any = None, data: Any = None, headers: Any = None, **_: Any) -> Answer:
        return self._exchange("POST", url, headers, params=params, data=data)

    def close(self) -> None:
        """The session is not ours."""

    def _exchange(self, method: str, url: str, headers: Mapping[str, str] | None, **body: Any) -> Answer:
        self._check(url)
        attempts = Attempts(self.gate, self._retries, self._patience)
        return answered(
            lambda: send(self._session, method, url, headers=headers or {}, **body),
            attempts,
            self.gate.clock,
            _ANSWER_MAX_BYTES,
            said=("the sign-in host", "Sign-in"),
        )

    def _check(self, url: str) -> None:
        """The authority describes itself where its tokens are given out: credentials must not follow that elsewhere."""
        origin = origin_of(url)
        same_cloud = self.is_microsoft and origin in _MICROSOFT_ORIGINS
        if origin != self._origin and not same_cloud:
            raise DrivekeepError(
                "oauth2: cannot fetch token: the sign-in host names an address on another host. It was not followed.",
                remedy="Check DRIVEKEEP_AUTHORITY_URL.",
                reason="foreign-link",
            )


def answered(
    ask: Callable[[], requests.Response], attempts: Attempts, clock: Clock, bytes_max: int, *, said: tuple[str, str]
) -> Answer:
    """What comes back, asked for as often as the attempts allow, for msal to judge. `said`: who answers, and what was
    asked for, in the words of an error. Temporary.
    """
    who, what = said
    while True:
        attempts.begin()
        try:
            with ask() as response:
                content = read_body(response, clock, bytes_max)
                refusal = read_refusal(response.status_code, response.headers, content, clock)
                if refusal.throttling:
                    attempts.throttled(refusal.retry_after or 0.0)
                elif refusal.status in RETRIED:
                    raise Cut(f"{who} answered {refusal.status}")
                else:
                    return Answer(response.status_code, response.headers, content.decode("utf-8", "replace"))
        except Cut as cut:
            attempts.failed(cut, what)


def sign_in_error(result: Mapping[str, Any] | None, again: str = "") -> DrivekeepError:
    """msal's result without a token, in words. `again`: how a person signs in anew; empty for an app's own credentials.

    Only the error's word and numbers are taken over: descriptions repeat what was sent. The reason is `sign-in-again`
    where a person's sign-in has ended, `consent-lost` where the tenant does not know the app, else `sign-in`.
    """
    result = result or {}
    word = re.sub("[^a-z_]", "", str(result.get("error", "")).lower()) or "no token"
    numbers = error_numbers(result)
    answer = word + "".join(f", AADSTS{number}" for number in numbers)
    if word == "temporarily_unavailable" or _PASSING & numbers:
        return Temporary(
            f"oauth2: cannot fetch token: sign-in is not available now ({answer}).",
            remedy="Run the same command again later.",
        )
    known = next((_REMEDIES[number] for number in sorted(numbers) if number in _REMEDIES), "")
    if again and word in ("invalid_grant", "interaction_required", "login_required"):
        return expired(f"Microsoft no longer takes the stored sign-in ({answer}).", f"{known} {again}".lstrip())
    remedy = known or f"{again} Check the account, and the client id and tenant in use.".lstrip()
    return AccessDenied(
        f"oauth2: cannot fetch token ({answer}).",
        why="Microsoft refuses the sign-in.",
        remedy=remedy,
        reason="consent-lost" if _NOT_CONSENTED & numbers and not again else "sign-in",
    )


def expired(why: str, remedy: str) -> AccessDenied:
    """A person's tokens no longer work, whatever the reason."""
    return AccessDenied("token expired and refresh failed.", why=why, remedy=remedy, reason="sign-in-again")


def error_numbers(result: Mapping[str, Any]) -> set[int]:
    """The AADSTS numbers of a refusal."""
    codes = result.get("error_codes")
    numbers = {code for code in codes if isinstance(code, int)} if isinstance(codes, list) else set()
    return numbers or {int(number) for number in re.findall(r"AADSTS(\d{4,8})", str(result.get("error_description")))}


# The tenant does not know the app, or has not granted it anything: never, not yet, or no longer.
_NOT_CONSENTED = frozenset({65001, 700016, 7000229})
_PASSING = {90033, 90012, 90055, 90090, 50196}
_CONSENT = "An administrator of the tenant must consent to the app's permissions (Files.Read.All, User.Read.All)."
_NOT_THERE = "Check DRIVEKEEP_TENANT and DRIVEKEEP_CLIENT_ID: that app is not known in that tenant. " + _CONSENT
_REMEDIES = {
    65001: _CONSENT,
    90094: _CONSENT,
    700016: _NOT_THERE,
    7000229: _NOT_THERE,
    650052: _NOT_THERE,
    7000112: "The app registration is disabled. Enable it.",
    7000215: "The client secret is wrong: DRIVEKEEP_CLIENT_SECRET takes the secret's value, not its id.",
    7000218: "This app registration wants a secret or a certificate: allow public client flows for it, or use another.",
    7000222: "The client secret has expired. Make a new one and set DRIVEKEEP_CLIENT_SECRET.",
    700025: "This app registration is a public client, which has no secret: unset DRIVEKEEP_CLIENT_SECRET.",
    700027: "The certificate is not the one that the app registration knows. Check DRIVEKEEP_CLIENT_CERTIFICATE.",
    90002: "There is no such tenant. Check DRIVEKEEP_TENANT.",
    50057: "The account is disabled. Enable it, or back it up app-only.",
    53003: "A conditional access policy forbids it. Sign in again where the policy allows it.",
}
