"""The tokens that the simulated sign-in host has given out, and what each of them allows.

It does not know who may ask for one: that is `sign_in.py`.
"""

import base64
import datetime
import json
import secrets
import threading
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from backup_core.clock import Clock
from backup_core.testing.m365.refusals import Refused

CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"  # the one tenant of all personal accounts
ACCESS_SECONDS = 3600
REFRESH_IDLE = datetime.timedelta(days=90)
KEY_ID = "simulated-signing-key"


@dataclass(frozen=True)
class Grant:
    """`user` is an object id, None for an app that acts by itself; such an app has `roles`, a user's app `scopes`."""

    tenant_id: str
    app_id: str
    user: str | None = None
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Session:
    """Whom a refresh token stands for; `app_id` is None until the first app redeems it."""

    tenant_id: str
    user: str
    app_id: str | None = None
    scopes: frozenset[str] | None = None  # None: whatever the redeeming app has consent for


@dataclass
class _Refresh:
    session: Session
    used_at: datetime.datetime
    uses: int = 0
    revoked: bool = False


@dataclass
class TokenBook:
    """Thread-safe. `refresh_uses`: how often one refresh token is honoured, though each use brings a new one."""

    clock: Clock
    refresh_uses: int = 2
    _access: dict[str, tuple[Grant, datetime.datetime]] = field(default_factory=dict)
    _refresh: dict[str, _Refresh] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def issue(self, grant: Grant, seconds: float = ACCESS_SECONDS) -> str:
        """An access token: a JWT for work and school, opaque for personal accounts, as Microsoft's are."""
        until = self.clock.now() + datetime.timedelta(seconds=seconds)
        if grant.tenant_id == CONSUMERS:
            token = "EwB" + secrets.token_urlsafe(600)
        else:
            token = self.signed(_access_claims(grant, self.clock.now(), until))
        self._access[token] = (grant, until)
        return token

    def check(self, token: str) -> Grant | None:
        """None where the token is unknown, changed, revoked or expired."""
        grant, until = self._access.get(token, (None, None))
        return grant if until is not None and self.clock.now() < until else None

    def revoke_access(self, token: str | None = None) -> None:
        """One access token, or all that were given out so far, answer 401 from now on."""
        if token is None:
            self._access.clear()
        else:
            self._access.pop(token, None)

    def issue_refresh(self, session: Session) -> str:
        token = ("M.C5_BAY." if session.tenant_id == CONSUMERS else "1.AXQA") + secrets.token_urlsafe(300)
        with self._lock:
            self._refresh[token] = _Refresh(session, self.clock.now())
        return token

    def redeem(self, token: str, app_id: str) -> Session:
        """The session behind a refresh token, bound to this app. Raises Refused."""
        with self._lock:
            refresh = self._refresh.get(token)
            if refresh is None or refresh.session.app_id not in (None, app_id):
                raise Refused(70000, "refresh_token")
            if refresh.revoked:
                raise Refused(50173)
            if self.clock.now() - refresh.used_at > REFRESH_IDLE:
                raise Refused(700082)
            if refresh.uses >= self.refresh_uses:
                raise Refused(70000, "refresh_token")
            refresh.uses += 1
            session = refresh.session
        return Session(session.tenant_id, session.user, app_id, session.scopes)

    def revoke_refresh(self, user: str | None = None) -> None:
        """As an administrator does it: the sessions of one user, or of all, end."""
        with self._lock:
            for refresh in self._refresh.values():
                refresh.revoked |= user in (None, refresh.session.user)

    def signed(self, claims: dict[str, Any]) -> str:
        head = {"typ": "JWT", "alg": "RS256", "kid": KEY_ID}
        signing = f"{_part(head)}.{_part(claims)}"
        signature = _signing_key().sign(signing.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signing}.{base64url(signature)}"


def public_keys() -> dict[str, Any]:
    """The key set (JWKS) with which anybody can verify what `TokenBook.signed` signed."""
    numbers = public_key().public_numbers()
    key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID}
    for name, number in (("n", numbers.n), ("e", numbers.e)):
        key[name] = base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
    return {"keys": [key]}


def public_key() -> rsa.RSAPublicKey:
    return _signing_key().public_key()


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _part(value: dict[str, Any]) -> str:
    return base64url(json.dumps(value, separators=(",", ":")).encode())


@cache  # one key for a process: making an RSA key takes longer than everything else at a simulation's start
def _signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _access_claims(grant: Grant, now: datetime.datetime, until: datetime.datetime) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "aud": "https://graph.microsoft.com",
        "iss": f"https://sts.windows.net/{grant.tenant_id}/",
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int(until.timestamp()),
        "appid": grant.app_id,
        "tid": grant.tenant_id,
        "oid": grant.user or grant.app_id,
        "ver": "1.0",
        "uti": secrets.token_urlsafe(16),  # two tokens of one second differ
    }
    if grant.user is None:
        claims["roles"] = sorted(grant.roles)
    else:
        claims["scp"] = " ".join(sorted(grant.scopes))
    return claims
