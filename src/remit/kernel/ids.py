"""Ids: a prefix that names the kind, and 26 characters that sort by time.

The 26 characters are a ULID (48 bits of milliseconds, 80 random bits) in Crockford's base 32, lower case.
"""

import secrets
from datetime import UTC, datetime, timedelta

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)


def new_id(prefix: str, now: datetime) -> str:
    """A fresh id such as `grant_01k9...`; ids of one prefix sort by the instant they were made at."""
    # In whole numbers: a float loses the last millisecond of some instants.
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)
    return f"{prefix}_{encode_ulid((milliseconds << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS))}"


def encode_ulid(value: int) -> str:
    """26 base-32 characters of a 128-bit number."""
    assert 0 <= value < 1 << 128
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def is_id(text: str, prefix: str) -> bool:
    """Whether the text has the shape of an id of that kind."""
    head, _, tail = text.rpartition("_")
    return head == prefix and len(tail) == 26 and all(c in ALPHABET for c in tail) and tail[0] < "8"
