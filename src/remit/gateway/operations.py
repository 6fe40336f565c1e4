"""What a request is a part of: the operation it is an attempt at (retries of one call share its id), and the caller's trace."""

import hashlib
import re
from collections import OrderedDict
from datetime import datetime

from remit.gateway.wire.exchange import Exchange
from remit.kernel.ids import encode_ulid, new_id

MAX_REMEMBERED = 10_000
_RETRY_COUNT = b"x-stainless-retry-count"
_MAX_DIGITS = 4
# W3C Trace Context, section 3.2. A version after 00 may have more behind a further dash; ff is none.
_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)


class Operations:
    """The operations of one gateway process.

    A caller names an operation by `idempotency-key`. OpenAI's libraries send none, but number their attempts
    (`x-stainless-retry-count`, from 0): an attempt that is not the first belongs to the last first attempt of the same
    holder with the same body, if it came to this process and was among its latest `MAX_REMEMBERED`.
    """

    def __init__(self) -> None:
        self._remembered: OrderedDict[bytes, str] = OrderedDict()

    def of(self, exchange: Exchange, now: datetime) -> str:
        """The id of the operation."""
        holder = exchange.header(b"authorization") or b""
        if key := exchange.header(b"idempotency-key"):
            return f"op_{encode_ulid(int.from_bytes(_digest(holder, key)[:16], 'big'))}"
        attempt = exchange.header(_RETRY_COUNT)
        if attempt is None:
            return new_id("op", now)
        digest = _digest(holder, exchange.body)
        if attempt != b"0" and (known := self._remembered.get(digest)) is not None:
            return known
        fresh = self._remembered[digest] = new_id("op", now)
        self._remembered.move_to_end(digest)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return fresh


def attempt_of(exchange: Exchange) -> int | None:
    """Which attempt at its operation the caller's library says this is, from 1; None where it does not say."""
    said = exchange.header(_RETRY_COUNT)
    if said is None or len(said) > _MAX_DIGITS or not said.isdigit():
        return None
    return int(said) + 1


def trace_id_of(exchange: Exchange) -> str | None:
    """The trace id of the caller's `traceparent`, None where there is none, or none that can be read: then it is ignored."""
    parent = parent_of(exchange)
    return None if parent is None else parent[0]


def parent_of(exchange: Exchange) -> tuple[str, str, bool] | None:
    """Trace id, span id and whether the caller records it, of the same header; None as above."""
    values = [value for name, value in exchange.headers if name == b"traceparent"]
    found = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    return found[2].decode(), found[3].decode(), bool(int(found[4], 16) & 1)


def _digest(holder: bytes, what: bytes) -> bytes:
    return hashlib.sha256(holder + b"\0" + what).digest()
