"""The master key: what is derived from it, and what is refused as one."""

import base64
import hashlib
import hmac
import re
import secrets

import pytest

from backup_core.errors import DrivekeepError, Usage
from backup_core.registry import keys
from backup_core.registry.installation import check_fingerprint
from backup_core.registry.master_key import MasterKey
from backup_core.registry.table import Table
from backup_core.testing.fake_clock import FakeClock

TENANT = "7f3c0b1e-52a4-4c8e-9d0c-6a1f2b3c4d5e"
ACCOUNT = "0f8fad5b-d9cb-469f-a165-70867728950e"
KEY = bytes(range(32))
# openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:0001…1f -kdfopt salt: -kdfopt info:drivekeep/… HKDF
PASSWORD = "ybmBucn2F4i66vifNMZtt4kQqW23_HtlF9O3yUzmFzU"


def text(key: bytes) -> str:
    """A key as it is set."""
    return base64.b64encode(key).decode()


def test_a_repositorys_password_is_what_openssl_derives() -> None:
    """Whoever has the master key and any HKDF opens every repository without us."""
    assert MasterKey(KEY).repository_passwords(TENANT, ACCOUNT) == [PASSWORD]
    assert MasterKey(KEY).repository_passwords(TENANT.upper(), ACCOUNT.upper()) == [PASSWORD]


def test_derive_is_hkdf_sha256_with_an_empty_salt() -> None:
    """Equal to RFC 5869 written out: extract with no salt, then one block of expand."""
    extracted = hmac.digest(b"", KEY, hashlib.sha256)
    assert MasterKey(KEY).derive("drivekeep/state") == hmac.digest(extracted, b"drivekeep/state\x01", hashlib.sha256)


def test_former_keys_give_further_passwords_and_never_the_first() -> None:
    """After a change of keys the new one is used for what is new, and each former one is tried for what is old."""
    new, older, oldest = (secrets.token_bytes(32) for _ in range(3))
    rotated = MasterKey.from_text(text(new), f" {text(older)} ,{text(oldest)},")
    expected = [MasterKey(key).repository_passwords(TENANT, ACCOUNT)[0] for key in (new, older, oldest)]
    assert rotated.repository_passwords(TENANT, ACCOUNT) == expected
    assert rotated.derive("x") == MasterKey(new).derive("x")
    assert rotated.fingerprint() == MasterKey(new).fingerprint()


def test_every_account_has_a_password_of_its_own() -> None:
    """Another tenant, another account, another purpose: another secret."""
    key = MasterKey(KEY)
    passwords = [key.repository_passwords(*ids)[0] for ids in ((TENANT, ACCOUNT), (ACCOUNT, TENANT), (TENANT, TENANT))]
    assert len({*passwords, text(key.derive("a")), text(key.derive("b"))}) == 5


@pytest.mark.parametrize(
    "wrong",
    [None, "", " ", "x", text(KEY)[:-1], text(KEY) + "=", text(KEY[:-1]), text(KEY + b"x"), "ä" * 44, KEY.hex()],
)
def test_what_is_no_key_is_refused_without_being_shown(wrong: str | None) -> None:
    """Usage names the setting, never the text that was set."""
    with pytest.raises(Usage) as told:
        MasterKey.from_text(wrong)
    assert "DRIVEKEEP_MASTER_KEY" in str(told.value)
    assert told.value.reason == "usage"
    assert not (wrong or "").strip() or len(wrong or "") < 2 or wrong not in str(told.value)
    if (wrong or "").strip():
        with pytest.raises(Usage, match="DRIVEKEEP_MASTER_KEY_PREVIOUS"):
            MasterKey.from_text(text(KEY), wrong)


def test_a_key_does_not_show_where_it_is_printed() -> None:
    """Neither the key nor a former one is in the text of the object; a fingerprint is no part of anything derived."""
    key = MasterKey(KEY, (KEY[::-1],))
    assert re.fullmatch(r"MasterKey\(\)", repr(key))
    assert re.fullmatch("[0-9a-f]{32}", key.fingerprint())


# -- the key of an installation ----------------------------------------------------------------------------------------


def test_the_first_key_is_recorded_and_another_is_refused(table: Table) -> None:
    """A wrong key stops before anything is written with it, and the record stays."""
    ours, foreign = MasterKey(KEY), MasterKey(secrets.token_bytes(32))
    check_fingerprint(table, ours, FakeClock())
    check_fingerprint(table, ours, FakeClock())
    with pytest.raises(DrivekeepError) as told:
        check_fingerprint(table, foreign, FakeClock())
    assert told.value.reason == "wrong-key"
    assert ours.fingerprint() in str(told.value)
    check_fingerprint(table, ours, FakeClock())
    row = table.get(keys.INSTALLATION, "master-key")
    assert row is not None
    assert KEY.hex() not in str(row)


def test_a_new_key_is_taken_over_where_the_former_one_is_named(table: Table) -> None:
    """After the change the former key alone is refused; going back the same way is possible."""
    old, new = KEY, secrets.token_bytes(32)
    check_fingerprint(table, MasterKey(old), FakeClock())
    check_fingerprint(table, MasterKey(new, (secrets.token_bytes(32), old)), FakeClock())
    check_fingerprint(table, MasterKey(new), FakeClock())
    with pytest.raises(DrivekeepError):
        check_fingerprint(table, MasterKey(old), FakeClock())
    check_fingerprint(table, MasterKey(old, (new,)), FakeClock())
    check_fingerprint(table, MasterKey(old), FakeClock())
