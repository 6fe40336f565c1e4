"""Access keys: short opaque secrets that stand for a stored capability, for tools that only take short keys.

`rk_` + 12 characters of key id + `_` + 43 characters of secret, 59 in all. The key id is public (lists and logs show
it); the secret is 256 random bits in base64url and is shown once.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from remit.capabilities.encoding import Invalid, decode_base64url, encode_base64url
from remit.kernel.ids import ALPHABET

ACCESS_KEY_PREFIX = "rk_"
ACCESS_KEY_CHARS = 59
_KEY_ID_CHARS = 12
_SECRET_BYTES = 32
_HASH_DOMAIN = b"rmt1-access-key\0"
_SHAPE = re.compile(r"rk_([0-9a-hjkmnp-tv-z]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key taken apart; the secret is 32 bytes and stays out of the representation."""

    key_id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewAccessKey:
    """`text` is shown once and never stored; `key_id` and `secret_hash` (32 bytes) are what a row keeps."""

    text: str = field(repr=False)
    key_id: str
    secret_hash: bytes


def new_access_key(random: Callable[[int], bytes]) -> NewAccessKey:
    """A fresh key; `random(n)` gives n bytes of a cryptographic source such as `secrets.token_bytes`.

    The key id has 60 random bits: the store must refuse a second key of the same id.
    """
    bits = int.from_bytes(random(8), "big")
    key_id = "".join(ALPHABET[(bits >> (5 * place)) & 31] for place in range(_KEY_ID_CHARS))
    secret = random(_SECRET_BYTES)
    assert len(secret) == _SECRET_BYTES
    return NewAccessKey(f"{ACCESS_KEY_PREFIX}{key_id}_{encode_base64url(secret)}", key_id, hash_secret(secret))


def parse_access_key(text: str) -> AccessKey | None:
    """The parts of a well-formed access key, or None; never raises."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return None
    secret = decode_base64url(shape[2])
    return None if isinstance(secret, Invalid) else AccessKey(shape[1], secret)


def hash_secret(secret: bytes) -> bytes:
    """SHA-256 under its own domain.

    No slow hash: it exists to make guessing a human's password costly, and 256 random bits cannot be guessed; it
    would only cost every uncached request.
    """
    return hashlib.sha256(_HASH_DOMAIN + secret).digest()


def matches(secret_hash: bytes, secret: bytes) -> bool:
    """Whether the stored hash is this secret's, in constant time."""
    return hmac.compare_digest(secret_hash, hash_secret(secret))
