"""JSON web tokens of workloads: taken apart, and verified with a key of their issuer. No token is ever logged."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError

from remit.api.jwks import IssuerPublicKey, PublicKey
from remit.capabilities.encoding import Invalid, decode_base64url

MAX_TOKEN_CHARS: Final = 16 * 1024
MAX_CLAIMS: Final = 100
MAX_SUBJECT: Final = 1_024
MAX_AUDIENCES: Final = 20
MAX_LIFE_SECONDS: Final = 24 * 3600
LEEWAY_SECONDS: Final = 60
ALGORITHMS: Final = ("RS256", "ES256", "EdDSA", "PS256")
_TYPES = (None, "jwt", "at+jwt", "jose")
_MAX_INSTANT = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says of itself. Nothing of it is to be believed before its signature was verified."""

    text: str = field(repr=False)
    algorithm: str
    kid: str
    claims: Mapping[str, Any] = field(repr=False)
    issuer: str | None
    subject: str
    audiences: tuple[str, ...]


def read_token(text: str) -> Unverified | str:
    """The token's parts where they are well formed; a text instead says what is not. No cryptography happens here."""
    if len(text) > MAX_TOKEN_CHARS:
        return f"the token is longer than {MAX_TOKEN_CHARS} characters"
    parts = text.split(".")
    if len(parts) != 3 or not all(parts):
        return "the token does not have three parts"
    header, claims = object_of(parts[0]), object_of(parts[1])
    if header is None or claims is None:
        return "the token's header or payload is not an object in strict JSON"
    if not isinstance(algorithm := header.get("alg"), str) or algorithm not in ALGORITHMS:
        return "the token's algorithm is not one of " + ", ".join(ALGORITHMS)
    if not isinstance(kid := header.get("kid"), str) or not 0 < len(kid) <= 300:
        return "the token names no key"
    if "crit" in header or "b64" in header or "zip" in header:
        return "the token's header asks for what is not understood here"
    kind = header.get("typ")
    if (kind is not None and not isinstance(kind, str)) or _media(kind) not in _TYPES:
        return "the token is of another type"
    if len(claims) > MAX_CLAIMS:
        return f"the token has more than {MAX_CLAIMS} claims"
    return _with_parties(text, algorithm, kid, claims)


def _media(kind: str | None) -> str | None:
    return None if kind is None else kind.casefold().removeprefix("application/")


def _with_parties(text: str, algorithm: str, kid: str, claims: dict[str, Any]) -> Unverified | str:
    issuer, subject, audience = claims.get("iss"), claims.get("sub"), claims.get("aud")
    if issuer is not None and not isinstance(issuer, str):
        return "`iss` is no text"
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        return f"`sub` is not 1 to {MAX_SUBJECT} printable characters"
    audiences = (audience,) if isinstance(audience, str) else audience
    if not isinstance(audiences, tuple | list) or not all(isinstance(one, str) for one in audiences):
        return "`aud` is neither a text nor a list of texts"
    if len(audiences) > MAX_AUDIENCES:
        return f"`aud` has more than {MAX_AUDIENCES} items"
    return Unverified(text, algorithm, kid, claims, issuer, subject, tuple(audiences))


def time_problem(claims: Mapping[str, Any], now_seconds: int) -> str | None:
    """What is wrong with `exp`, `nbf` and `iat` at that second, if anything. Clocks may differ by a minute."""
    instants = {name: _second(claims[name]) for name in ("exp", "nbf", "iat") if name in claims}
    if any(second is None for second in instants.values()):
        return "`exp`, `nbf` or `iat` is no instant"
    expires, begins, issued = (instants.get(name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        return "the token has no `exp`"
    if now_seconds - LEEWAY_SECONDS >= expires:
        return "the token has expired"
    if begins is not None and now_seconds + LEEWAY_SECONDS < begins:
        return "the token is not valid yet"
    if issued is not None and now_seconds + LEEWAY_SECONDS < issued:
        return "the token was issued in the future"
    # Without `iat`, what is left of its life cannot be more than the whole of it.
    if expires - (now_seconds - LEEWAY_SECONDS if issued is None else issued) > MAX_LIFE_SECONDS + LEEWAY_SECONDS:
        return f"the token lives longer than {MAX_LIFE_SECONDS // 3600} hours"
    return None


def _second(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_INSTANT:
        return None
    return int(value)


def is_signed_by(token: Unverified, known: IssuerPublicKey) -> bool:
    """Whether the key's owner signed the token, by an algorithm that fits the key."""
    return token.algorithm in known.algorithms and is_signed(token.text, token.algorithm, known.key)


def is_signed(text: str, algorithm: str, key: PublicKey) -> bool:
    """Whether a compact JWS verifies by exactly this algorithm and key."""
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    try:
        with warnings.catch_warnings():
            # The library would rather have `Ed25519` than `EdDSA`; issuers write the latter.
            warnings.simplefilter("ignore")
            jws.deserialize_compact(text, key, algorithms=[algorithm], registry=registry)
    except (JoseError, ValueError, TypeError):
        return False
    return True


class _StrictJsonError(ValueError):
    pass


def object_of(part: str) -> dict[str, Any] | None:
    """The JSON object of a part of a token, where it means one thing only."""
    raw = decode_base64url(part)
    if isinstance(raw, Invalid):
        return None
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse_constant)
        # Half a surrogate pair passes for text until somebody writes it, and the log would be the first.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _StrictJsonError("a name stands twice")
    return value


def _refuse_constant(name: str) -> None:
    raise _StrictJsonError(name)
