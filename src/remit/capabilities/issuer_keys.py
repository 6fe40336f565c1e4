"""Issuer keys: Ed25519, PKCS #8 PEM text, and the kid derived from the public key. Files are bootstrap's business."""

import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from remit.capabilities.model import IssuerKey

# For callers that hold a key and have no business with the library it comes from.
IssuerPrivateKey = Ed25519PrivateKey

_KID_DOMAIN = b"rmt1-kid\0"
_KID_CHARS = 24


class IssuerKeyError(ValueError):
    """The bytes are not an unencrypted Ed25519 private key in PEM."""


def generate_issuer_key() -> IssuerPrivateKey:
    """A new key from the operating system's randomness."""
    return Ed25519PrivateKey.generate()


def serialise_issuer_key(private_key: IssuerPrivateKey) -> bytes:
    """Unencrypted PKCS #8 PEM; whoever writes it to a file gives the file mode 0600."""
    return private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_issuer_key(pem: bytes) -> IssuerPrivateKey:
    """The key of such PEM bytes; raises IssuerKeyError for anything else."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise IssuerKeyError("not an unencrypted private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise IssuerKeyError("not an Ed25519 private key")
    return key


def kid_of(public_key: bytes) -> str:
    """24 hex digits of the SHA-256 of a 32-byte public key, so that a kid can name one key only."""
    assert len(public_key) == 32
    return hashlib.sha256(_KID_DOMAIN + public_key).hexdigest()[:_KID_CHARS]


def issuer_key_of(private_key: IssuerPrivateKey) -> IssuerKey:
    """The public half, with its kid, as verifiers hold it."""
    public_key = private_key.public_key().public_bytes_raw()
    return IssuerKey(kid_of(public_key), public_key)
