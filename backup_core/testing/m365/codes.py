"""Authorization codes: each is good for one use, a few minutes, one app and one redirect address."""

import datetime
import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass

from backup_core.clock import Clock
from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.tokens import Session, base64url

CODE_LIFE = datetime.timedelta(minutes=10)


@dataclass(frozen=True)
class SignedIn:
    """What a code stands for. `challenge` is the S256 of PKCE, "" where the app sent none."""

    session: Session
    redirect_uri: str
    scopes: tuple[str, ...]
    nonce: str
    challenge: str


class CodeBook:
    """Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._codes: dict[str, tuple[SignedIn, datetime.datetime]] = {}
        self._used: set[str] = set()
        self._lock = threading.Lock()

    def issue(self, signed_in: SignedIn) -> str:
        code = "1.AXQA" + secrets.token_urlsafe(200)
        with self._lock:
            self._codes[code] = signed_in, self._clock.now() + CODE_LIFE
        return code

    def redeem(self, code: str, app_id: str, redirect_uri: str, verifier: str) -> SignedIn:
        """Raises Refused. A code is spent by its first use, also by one that is refused."""
        with self._lock:
            if code in self._used:
                raise Refused(54005)
            signed_in, until = self._codes.get(code, (None, self._clock.now()))
            if signed_in is None or signed_in.session.app_id != app_id:
                raise Refused(70000, "code")
            self._used.add(code)
            del self._codes[code]
        if self._clock.now() >= until:
            raise Refused(70008)
        if redirect_uri != signed_in.redirect_uri:
            raise Refused(500112, redirect_uri)
        _check_verifier(verifier, signed_in.challenge)
        return signed_in


def _check_verifier(verifier: str, challenge: str) -> None:
    expected = base64url(hashlib.sha256(verifier.encode()).digest()) if verifier else ""
    if not hmac.compare_digest(expected.encode(), challenge.encode()):
        raise Refused(501481)
