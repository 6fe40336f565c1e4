"""Access keys and issuer keys: their shapes, and what is not one."""

import hashlib
import re
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from remit.capabilities.access_keys import (
    ACCESS_KEY_CHARS,
    AccessKey,
    hash_secret,
    matches,
    new_access_key,
    parse_access_key,
)
from remit.capabilities.encoding import TOKEN_PREFIX
from remit.capabilities.issuer_keys import (
    IssuerKeyError,
    generate_issuer_key,
    issuer_key_of,
    kid_of,
    load_issuer_key,
    serialise_issuer_key,
)


def test_new_access_key_parses_and_matches() -> None:
    """A new key's text gives back its id and a secret whose hash is the stored one."""
    made = new_access_key(secrets.token_bytes)
    parsed = parse_access_key(made.text)
    assert parsed is not None
    assert parsed.key_id == made.key_id
    assert matches(made.secret_hash, parsed.secret)
    assert not matches(made.secret_hash, bytes(32))
    assert hash_secret(parsed.secret) == made.secret_hash


def test_access_key_shape() -> None:
    """An access key has 59 characters and looks neither like a vendor's key nor like a capability."""
    for _ in range(50):
        text = new_access_key(secrets.token_bytes).text
        assert len(text) == ACCESS_KEY_CHARS
        assert re.fullmatch(r"rk_[0-9a-z]{12}_[A-Za-z0-9_-]{43}", text)
        assert not text.startswith(("sk-", TOKEN_PREFIX, "rk_live_", "rk_test_"))


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32))
def test_access_keys_come_back(id_bytes: bytes, secret: bytes) -> None:
    """Whatever the randomness, the text parses into exactly the secret that was drawn."""
    made = new_access_key(lambda size: id_bytes if size == 8 else secret)
    assert parse_access_key(made.text) == AccessKey(made.key_id, secret)


@given(st.text(max_size=80) | st.text("rk_0aAlL-= \n", max_size=60).map(lambda text: "rk_" + text))
def test_other_text_is_no_access_key(text: str) -> None:
    """Other text never raises, and what parses is the one form of its parts."""
    parsed = parse_access_key(text)
    assert parsed is None or len(text) == ACCESS_KEY_CHARS


def test_damaged_access_keys() -> None:
    """A key with another length, alphabet, prefix, stray bits or white space is none."""
    text = new_access_key(lambda size: bytes([7]) * size).text
    assert parse_access_key(text) is not None
    # The last of 43 characters carries four bits of the secret and two that must be zero.
    stray = text[:-1] + chr(ord(text[-1]) + 1)
    for damaged in (
        stray,
        text[:-1],
        text + "A",
        text + "\n",
        " " + text,
        text.upper(),
        "sk-" + text[3:],
        text[:3] + "l" + text[4:],
        text[:15] + "-" + text[16:],
        text.replace(text[-1], "=", 1),
    ):
        assert parse_access_key(damaged) is None, damaged


def test_access_key_secrets_stay_out_of_representations() -> None:
    """Neither a new nor a parsed key shows its secret when it is logged by accident."""
    made = new_access_key(secrets.token_bytes)
    parsed = parse_access_key(made.text)
    assert parsed is not None
    assert made.text[-43:] not in repr(made)
    assert repr(parsed) == f"AccessKey(key_id='{made.key_id}')"


def test_hash_is_under_its_own_domain() -> None:
    """The same bytes hashed for another purpose do not give an access key's hash."""
    assert hash_secret(bytes(32)) != hashlib.sha256(bytes(32)).digest()


def test_issuer_key_comes_back_from_pem() -> None:
    """A key survives its PEM form, and its kid is derived from the public half only."""
    key = generate_issuer_key()
    pem = serialise_issuer_key(key)
    again = load_issuer_key(pem)
    assert serialise_issuer_key(again) == pem
    assert issuer_key_of(again) == issuer_key_of(key)
    public = key.public_key().public_bytes_raw()
    assert issuer_key_of(key).kid == kid_of(public)
    assert re.fullmatch("[0-9a-f]{24}", kid_of(public))


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_bytes_that_are_no_key(pem: bytes) -> None:
    """Other bytes are told to be no issuer key, without showing them."""
    with pytest.raises(IssuerKeyError, match="not an"):
        load_issuer_key(pem)


def test_other_keys_are_no_issuer_keys() -> None:
    """A key of another algorithm and an encrypted key are told apart from an issuer key."""
    curve = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(IssuerKeyError, match="Ed25519"):
        load_issuer_key(curve)
    locked = generate_issuer_key().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
    )
    with pytest.raises(IssuerKeyError, match="unencrypted"):
        load_issuer_key(locked)
