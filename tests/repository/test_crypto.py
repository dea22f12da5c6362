"""The envelope: what was sealed comes back, and nothing else ever does."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Damaged
from backup_core.repository.crypto import OVERHEAD, Keys

KEYS = Keys(bytes(range(32)), bytes(range(32, 48)), bytes(range(48, 64)))


@given(st.binary(max_size=5000))
def test_what_was_sealed_comes_back(plain: bytes) -> None:
    """Sealing and opening return the bytes, whatever they are, and add 32."""
    sealed = KEYS.seal(plain)
    assert len(sealed) == len(plain) + OVERHEAD
    assert KEYS.open(sealed) == plain
    assert bytes(KEYS.open_into(memoryview(sealed), memoryview(bytearray(len(plain) + 7)))) == plain


@given(st.binary(max_size=300), st.data())
def test_any_changed_byte_is_found(plain: bytes, data: st.DataObject) -> None:
    """A changed byte anywhere in an envelope, or a missing one, is damage; it never opens as something else."""
    sealed = bytearray(KEYS.seal(plain))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    for wrong in (sealed, sealed[:-1], sealed[:at], b""):
        with pytest.raises(Damaged):
            KEYS.open(wrong)
        with pytest.raises(Damaged):
            KEYS.open_into(memoryview(wrong), memoryview(bytearray(400)))


def test_other_keys_do_not_open() -> None:
    """An envelope opens with the keys that sealed it only: encryption key and both halves of the other matter."""
    sealed = KEYS.seal(b"secret")
    k, r = bytes(range(32, 48)), bytes(range(48, 64))
    for other in (Keys(bytes(range(32)), bytes(16), r), Keys(bytes(range(32)), k, bytes(16)), Keys.random()):
        with pytest.raises(Damaged):
            other.open(sealed)
    assert Keys(bytes(32), k, r).open(sealed) != b"secret"


def test_an_envelope_is_as_restic_describes_it() -> None:
    """AES-256-CTR from the nonce, Poly1305 over the ciphertext under r and AES(k, nonce): computed here by hand."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.poly1305 import Poly1305

    sealed = KEYS.seal(b"forty-two bytes of text that are not aligned")
    nonce, text, code = sealed[:16], sealed[16:-16], sealed[-16:]
    stream = Cipher(algorithms.AES(bytes(range(32))), modes.CTR(nonce)).decryptor()
    assert stream.update(text) == b"forty-two bytes of text that are not aligned"
    once = Cipher(algorithms.AES(bytes(range(32, 48))), modes.ECB()).encryptor().update(nonce)
    Poly1305.verify_tag(bytes(range(48, 64)) + once, text, code)


def test_equal_texts_are_sealed_differently() -> None:
    """No nonce is used twice, so that equal content cannot be recognised."""
    assert len({KEYS.seal(b"the same")[:16] for _ in range(500)}) == 500


def test_seal_into_touches_only_its_place() -> None:
    """Sealing into a shared pack buffer leaves the bytes before and behind as they are."""
    out = bytearray(b"x" * 200)
    end = KEYS.seal_into(b"p" * 50, memoryview(out), 20)
    assert end == 20 + 50 + OVERHEAD
    assert (out[:20], out[end:]) == (b"x" * 20, b"x" * (200 - end))
    assert KEYS.open(out[20:end]) == b"p" * 50


def test_many_threads_share_keys() -> None:
    """Threads that seal and open at the same time never get in each other's way."""
    wrong: list[bytes] = []

    def work(number: int) -> None:
        plain = bytes([number]) * 30_000
        for _ in range(50):
            if KEYS.open(KEYS.seal(plain)) != plain:
                wrong.append(plain)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_keys_survive_their_json() -> None:
    """The master keys in a key file are the same keys when it is read."""
    assert Keys.from_json(KEYS.to_json()).open(KEYS.seal(b"x")) == b"x"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"mac":{"k":"","r":""},"encrypt":""}',
        b'{"mac":1,"encrypt":2}',
        b"\xff",
        b'{"encrypt":"AAAA"}',
    ],
)
def test_what_holds_no_keys_is_damage(text: bytes) -> None:
    """A key file that opens and holds something else is damage, not a crash."""
    with pytest.raises(Damaged):
        Keys.from_json(text)


def test_keys_do_not_print() -> None:
    """No text form of the keys holds them: a log or a traceback may show an object."""
    import base64

    for text in (repr(KEYS), str(KEYS), f"{KEYS}"):
        assert not any(part in text for part in ("\\x01\\x02", base64.b64encode(bytes(range(32))).decode(), "000102"))
