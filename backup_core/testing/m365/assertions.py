"""Checks the signed statement with which an app proves itself instead of a secret: its own, by the key of one of its
certificates, or one that the sign-in host made for a managed identity which the app trusts.

It does not decide which certificates and identities an app has: `registrations.py` holds them.
"""

import base64
import binascii
import datetime
import json
from collections.abc import Callable, Collection
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.registrations import FederatedCredential
from backup_core.testing.m365.tokens import base64url, public_key

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CLOCK_SKEW = datetime.timedelta(minutes=5)


def check_assertion(
    assertion: str,
    client_id: str,
    certificates: list[x509.Certificate],
    audiences: Collection[str],
    now: datetime.datetime,
) -> None:
    """Raises Refused unless one of the certificates signed it for this app, this host and this moment."""
    head, claims = _parts(assertion)
    certificate = _named_certificate(head, certificates)
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refused(5002723, "the certificate holds no RSA key")
    if not _signed_by(key, head.get("alg"), assertion):
        raise Refused(700027, certificate.fingerprint(hashes.SHA256()).hex())
    if claims.get("aud") not in audiences:
        raise Refused(5002723, "the audience is not this token endpoint")
    if not claims.get("iss") == claims.get("sub") == client_id:
        raise Refused(5002723, "issuer and subject are not the client id")
    _check_time(claims, now)


def is_federated(assertion: str) -> bool:
    """Whether it names a key of a sign-in host, and not one of the app's certificates."""
    return "kid" in _parts(assertion)[0]


def check_federated(
    assertion: str,
    trusted: Collection[FederatedCredential],
    issuer_of: Callable[[str], str],
    now: datetime.datetime,
) -> None:
    """Raises Refused unless this sign-in host signed it, for an identity that the app trusts and for this moment.

    `issuer_of` gives the issuer of a tenant's tokens.
    """
    head, claims = _parts(assertion)
    if not _signed_by(public_key(), head.get("alg"), assertion):
        raise Refused(50013, "the key was not found, or did not sign")
    rest = list(trusted)
    for number, claim, expected in (
        (700211, "iss", lambda credential: issuer_of(credential.tenant_id)),
        (700213, "sub", lambda credential: credential.subject),
        (700212, "aud", lambda credential: credential.audience),
    ):
        rest = [credential for credential in rest if expected(credential) == claims.get(claim)]
        if not rest:
            raise Refused(number, str(claims.get(claim)))
    _check_time(claims, now)


def _named_certificate(head: dict[str, Any], certificates: list[x509.Certificate]) -> x509.Certificate:
    named = {name: str(head.get(name, "")).rstrip("=") for name in ("x5t#S256", "x5t")}  # msal leaves the padding on
    for certificate in certificates:
        if named["x5t#S256"] == base64url(certificate.fingerprint(hashes.SHA256())):
            return certificate
        if named["x5t"] == base64url(certificate.fingerprint(hashes.SHA1())):  # noqa: S303 - the older header names it so
            return certificate
    raise Refused(700027, named["x5t#S256"] or named["x5t"])


def _signed_by(key: rsa.RSAPublicKey, algorithm: object, assertion: str) -> bool:
    signed, _, signature = assertion.rpartition(".")
    scheme: padding.AsymmetricPadding
    if algorithm == "PS256":
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    elif algorithm == "RS256":
        scheme = padding.PKCS1v15()
    else:
        raise Refused(5002723, "the algorithm is neither PS256 nor RS256")
    try:
        key.verify(_bytes_of(signature), signed.encode(), scheme, hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _check_time(claims: dict[str, Any], now: datetime.datetime) -> None:
    until, since = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(until, int | float) or not isinstance(since, int | float):
        raise Refused(5002723, "exp and nbf are seconds since 1970")
    moment, skew = now.timestamp(), _CLOCK_SKEW.total_seconds()
    if not since - skew <= moment < until + skew:
        raise Refused(700024)


def _parts(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Head and claims."""
    head, _, claims = assertion.rpartition(".")[0].partition(".")
    return _json_part(head), _json_part(claims)


def _json_part(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_bytes_of(part))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refused(5002723, "its parts are not JSON objects in base64url")
    return value


def _bytes_of(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise Refused(5002723, "its parts are not base64url") from None
