"""The bytes of a token: base64url, canonical JSON and the framing of blocks; docs/reference/token-format.md.

Nothing here touches a key, and nothing here raises for bad input from outside: a bad token is an `Invalid` value.
All limits on size are enforced before any work that grows with the input.
"""

import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

TOKEN_PREFIX = "rmt1."  # noqa: S105 - a public prefix, not a secret
MAX_TOKEN_CHARS = 4096
MAX_BODY_BYTES = (MAX_TOKEN_CHARS - len(TOKEN_PREFIX)) * 3 // 4
MAX_BLOCKS = 8
SIGNATURE_BYTES = 64
SECRET_BYTES = 32
MAX_INTEGER = 2**63 - 1
MIN_INTEGER = -(2**63)
MAX_NESTING = 8
MAX_CONTAINERS = 64

_TAIL_NONE = 0
_TAIL_BEARER = 1
_KID = re.compile(rb"[a-z0-9_-]{1,32}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_LAST_OF_TWO = frozenset("AQgw")
"""What a last group of two characters can end in where its four stray bits are zero."""
_LAST_OF_THREE = frozenset("AEIMQUYcgkosw048")
"""The same for three characters and two stray bits."""
_STANDARD = bytes.maketrans(b"-_", b"+/")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)

_KINDS = frozenset((int, str, dict, list))
_TEXT_ONLY = frozenset((str,))

Canonical = dict[str, "Canonical"] | list["Canonical"] | str | int


@dataclass(frozen=True, slots=True)
class Invalid:
    """Bytes from outside that are not a token, a payload or a field; `reason` is one lower-case phrase."""

    reason: str


class UnencodableError(ValueError):
    """A value this process built itself has no encoding; a mistake of the caller, never of a token's holder."""


class _BadInputError(Exception):
    """Leaves a parser from any depth; never leaves this module."""


@dataclass(frozen=True, slots=True)
class FramedBlock:
    """One block as it travels: payload bytes not yet looked into, and a 64-byte signature not yet checked."""

    payload: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """A token taken apart. `bearer_secret` is the 32-byte tail, or None where the token carries no secret."""

    kid: str
    blocks: tuple[FramedBlock, ...]
    bearer_secret: bytes | None = field(repr=False)


def encode_base64url(raw: bytes) -> str:
    """RFC 4648 section 5, without padding."""
    return binascii.b2a_base64(raw, newline=False).rstrip(b"=").translate(_URL_SAFE).decode("ascii")


def decode_base64url(text: str) -> bytes | Invalid:
    """The bytes, where the text is the one unpadded base64url form of them."""
    # The standard library skips foreign characters and ignores stray bits, so both are looked at before it is asked.
    if not _BASE64URL.fullmatch(text):
        return Invalid("not base64url without padding")
    over = len(text) % 4
    if over == 1:
        return Invalid("base64url of an impossible length")
    if over and text[-1] not in (_LAST_OF_TWO if over == 2 else _LAST_OF_THREE):
        return Invalid("base64url with stray bits")
    return binascii.a2b_base64(text.encode("ascii").translate(_STANDARD) + b"==")


def encode_canonical(value: Mapping[str, Any]) -> bytes:
    """The one canonical JSON encoding of an object; raises UnencodableError where there is none."""
    try:
        return _canonical_bytes(dict(value))
    except _BadInputError as bad:
        raise UnencodableError(str(bad)) from None


def decode_canonical(payload: bytes) -> dict[str, Canonical] | Invalid:
    """The object of a payload, where the payload is exactly that object's canonical encoding."""
    if len(payload) > MAX_BODY_BYTES:
        return Invalid(f"payload is longer than {MAX_BODY_BYTES} bytes")
    try:
        # No hooks: one Python call per object or number would be most of a hostile payload's cost. What the parser
        # forgives (a duplicate key, 1e0, white space, an escape) shows when the value is written again.
        value = json.loads(payload.decode("utf-8"))
        if not isinstance(value, dict):
            return Invalid("payload is not a JSON object")
        if _canonical_bytes(value) != payload:
            return Invalid("payload is not in canonical form")
    except _BadInputError as bad:
        return Invalid(str(bad))
    # ValueError covers UnicodeDecodeError, UnicodeEncodeError (a lone surrogate) and JSONDecodeError.
    except ValueError:
        return Invalid("payload is not canonical JSON")
    # Nesting is bounded only by the payload's size until it is parsed; the parser gives up by itself.
    except RecursionError:
        return Invalid("payload is nested too deeply")
    return value


def encode_token(frame: Frame) -> str:
    """The text of a token; raises UnencodableError where a part is out of its range or the text too long."""
    kid = frame.kid.encode("utf-8")
    if not _KID.fullmatch(kid):
        raise UnencodableError("`kid` is 1 to 32 characters of a-z, 0-9, `_` and `-`")
    if not 1 <= len(frame.blocks) <= MAX_BLOCKS:
        raise UnencodableError(f"a token has 1 to {MAX_BLOCKS} blocks")
    parts = [bytes([len(kid)]), kid, bytes([len(frame.blocks)])]
    for block in frame.blocks:
        if not 1 <= len(block.payload) <= MAX_BODY_BYTES or len(block.signature) != SIGNATURE_BYTES:
            raise UnencodableError("a payload or signature is out of size")
        parts += [len(block.payload).to_bytes(2, "big"), block.payload, block.signature]
    if frame.bearer_secret is None:
        parts.append(bytes([_TAIL_NONE]))
    elif len(frame.bearer_secret) == SECRET_BYTES:
        parts += [bytes([_TAIL_BEARER]), frame.bearer_secret]
    else:
        raise UnencodableError(f"a bearer secret has {SECRET_BYTES} bytes")
    text = TOKEN_PREFIX + encode_base64url(b"".join(parts))
    if len(text) > MAX_TOKEN_CHARS:
        raise UnencodableError(f"the token is {len(text)} characters long, more than {MAX_TOKEN_CHARS}")
    return text


def decode_token(text: str) -> Frame | Invalid:
    """A token's parts; payloads are not parsed and signatures not checked."""
    if len(text) > MAX_TOKEN_CHARS:
        return Invalid(f"token is longer than {MAX_TOKEN_CHARS} characters")
    if not text.startswith(TOKEN_PREFIX):
        return Invalid(f"token does not start with `{TOKEN_PREFIX}`")
    body = decode_base64url(text[len(TOKEN_PREFIX) :])
    if isinstance(body, Invalid):
        return body
    try:
        return _read_frame(_Reader(body))
    except _BadInputError as bad:
        return Invalid(str(bad))


class _Reader:
    """Takes bytes off the front, or leaves with _BadInputError."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int, what: str) -> bytes:
        end = self._at + size
        if end > len(self._body):
            raise _BadInputError(f"token ends within its {what}")
        taken = self._body[self._at : end]
        self._at = end
        return taken

    def finish(self) -> None:
        if self._at != len(self._body):
            raise _BadInputError("token has bytes after its tail")


def _read_frame(reader: _Reader) -> Frame:
    kid = reader.take(reader.take(1, "kid")[0], "kid")
    if not _KID.fullmatch(kid):
        raise _BadInputError("`kid` is malformed")
    block_count = reader.take(1, "block count")[0]
    if not 1 <= block_count <= MAX_BLOCKS:
        raise _BadInputError(f"token does not have 1 to {MAX_BLOCKS} blocks")
    blocks = []
    for _ in range(block_count):
        payload = reader.take(int.from_bytes(reader.take(2, "payload length"), "big"), "payload")
        if not payload:
            raise _BadInputError("a payload is empty")
        blocks.append(FramedBlock(payload, reader.take(SIGNATURE_BYTES, "signature")))
    kind = reader.take(1, "tail")[0]
    if kind not in (_TAIL_NONE, _TAIL_BEARER):
        raise _BadInputError("tail is of an unknown kind")
    secret = reader.take(SECRET_BYTES, "tail") if kind == _TAIL_BEARER else None
    reader.finish()
    return Frame(kid.decode("ascii"), tuple(blocks), secret)


def _canonical_bytes(value: dict[str, Any]) -> bytes:
    _check(value)
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except UnicodeEncodeError:
        raise _BadInputError("payload has text that is not Unicode") from None


def _check(document: dict[Any, Any]) -> None:
    """Only objects, arrays, strings and 64-bit integers; `bool` is an `int` to Python and must not pass as one.

    A loop with a bound and not a recursion: a hostile payload is mostly leaves and empty containers.
    """
    pending: list[tuple[dict[Any, Any] | list[Any], int]] = [(document, MAX_NESTING)]
    containers = 0
    while pending:
        container, nesting_left = pending.pop()
        containers += 1
        if containers + len(pending) > MAX_CONTAINERS:
            raise _BadInputError(f"payload has more than {MAX_CONTAINERS} objects and arrays")
        if nesting_left == 0:
            raise _BadInputError("payload is nested too deeply")
        items: Iterable[Any] = container
        if type(container) is dict:
            if not set(map(type, container)) <= _TEXT_ONLY:
                raise _BadInputError("payload has a key that is not text")
            items = container.values()
        kinds = set(map(type, items))
        if not kinds <= _KINDS:
            raise _BadInputError("payload has a value that is no object, array, text or integer")
        if kinds == _TEXT_ONLY:
            continue
        for item in items:
            kind = type(item)
            if kind is int:
                if not MIN_INTEGER <= item <= MAX_INTEGER:
                    raise _BadInputError("payload has an integer beyond 64 bits")
            elif kind is not str:
                pending.append((item, nesting_left - 1))
