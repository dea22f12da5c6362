"""Checks the signed statement with which an app proves itself by certificate instead of a secret.

It does not decide which certificates an app has: `registrations.py` holds them.
"""

import base64
import binascii
import datetime
import json
from collections.abc import Collection
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.tokens import base64url

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
    signed, _, signature = assertion.rpartition(".")
    head_part, _, claims_part = signed.partition(".")
    head, claims = _json_part(head_part), _json_part(claims_part)
    certificate = _named_certificate(head, certificates)
    _check_signature(head.get("alg"), certificate, signed.encode(), _bytes_of(signature))
    if claims.get("aud") not in audiences:
        raise Refused(5002723, "the audience is not this token endpoint")
    if not claims.get("iss") == claims.get("sub") == client_id:
        raise Refused(5002723, "issuer and subject are not the client id")
    _check_time(claims, now)


def _named_certificate(head: dict[str, Any], certificates: list[x509.Certificate]) -> x509.Certificate:
    named = {name: str(head.get(name, "")).rstrip("=") for name in ("x5t#S256", "x5t")}  # msal leaves the padding on
    for certificate in certificates:
        if named["x5t#S256"] == base64url(certificate.fingerprint(hashes.SHA256())):
            return certificate
        if named["x5t"] == base64url(certificate.fingerprint(hashes.SHA1())):  # noqa: S303 - the older header names it so
            return certificate
    raise Refused(700027, named["x5t#S256"] or named["x5t"])


def _check_signature(algorithm: object, certificate: x509.Certificate, signed: bytes, signature: bytes) -> None:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refused(5002723, "the certificate holds no RSA key")
    scheme: padding.AsymmetricPadding
    if algorithm == "PS256":
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    elif algorithm == "RS256":
        scheme = padding.PKCS1v15()
    else:
        raise Refused(5002723, "the algorithm is neither PS256 nor RS256")
    try:
        key.verify(signature, signed, scheme, hashes.SHA256())
    except InvalidSignature:
        raise Refused(700027, certificate.fingerprint(hashes.SHA256()).hex()) from None


def _check_time(claims: dict[str, Any], now: datetime.datetime) -> None:
    until, since = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(until, int | float) or not isinstance(since, int | float):
        raise Refused(5002723, "exp and nbf are seconds since 1970")
    moment, skew = now.timestamp(), _CLOCK_SKEW.total_seconds()
    if not since - skew <= moment < until + skew:
        raise Refused(700024)


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
