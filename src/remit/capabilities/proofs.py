"""Proofs of possession: one signed text for one request (RFC 9449, with a digest of the body besides).

Made here for holders, read here by gateways; specified in docs/reference/token-format.md. Written on `cryptography`
alone: one header, two algorithms and exactly six claims are understood, and whatever else a general library admits would
have to be switched off one by one. Whether a proof was used before is not known here.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from remit.capabilities.encoding import Invalid, decode_base64url, encode_base64url
from remit.capabilities.model import CapabilityProblem

MAX_PROOF_CHARS = 4096
WINDOW_SECONDS = 60
"""How far `iat` may be from the gateway's clock, both ways, both ends included."""

RECORD_SECONDS = WINDOW_SECONDS + 60 + 5 * 60
"""How long after `iat` a used proof is remembered.

A gateway accepts it until `iat` + 60 s by its own clock. Used proofs are dropped by the database's clock, which may be
ahead of that one: a minute as clocks usually differ, and five for one that nobody looked after.
"""

ALGORITHMS = ("EdDSA", "ES256")
_TYPE = "dpop+jwt"
_HEADER = frozenset(("typ", "alg", "jwk"))
_CLAIMS = frozenset(("htm", "htu", "iat", "jti", "ath", "body_sha256"))
_MEMBERS = {"EdDSA": ("crv", "kty", "x"), "ES256": ("crv", "kty", "x", "y")}
_KINDS = {"EdDSA": ("OKP", "Ed25519"), "ES256": ("EC", "P-256")}
_ID_DOMAIN = b"rmt1-proof\0"
_JTI = re.compile(r"[\x20-\x7e]{1,128}")
_URL = re.compile(r"(https?)://([A-Za-z0-9._~%!$&'()*+,;=:\[\]-]+)(/[\x21\x22\x24-\x3e\x40-\x7e]*)", re.IGNORECASE)
_DEFAULT_PORT = {"http": ":80", "https": ":443"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COORDINATE_BYTES = 32
_SIGNATURE_BYTES = 64

HolderKey = Ed25519PrivateKey | EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a proof has to be about.

    `urls` are the forms under which the request's address may be written, `token_sha256` is over the credential as it was
    sent. `body_sha256` answers the body's digest; it is asked for only once the signature verified.
    """

    method: str
    urls: tuple[str, ...]
    token_sha256: bytes
    body_sha256: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that holds for its request. `jkt` is whose it is, `id` (32 bytes) what is remembered of it.

    `issued_at` and `expires_at` are Unix seconds; it has to be remembered until the latter.
    """

    jkt: str
    id: bytes
    issued_at: int

    @property
    def expires_at(self) -> int:
        return self.issued_at + RECORD_SECONDS


class _BadProofError(Exception):
    """Leaves a proof's reader; never leaves this module."""


def make_proof(
    private_key: HolderKey, *, method: str, url: str, token: str, body_sha256: bytes, now: datetime, unique_id: str
) -> str:
    """The value of a `dpop` header for one request.

    `token` is the capability or access key as it is sent; `body_sha256` is over the bytes as they are sent, of no bytes
    where there is no body. `unique_id` (1 to 128 characters) is drawn at random for each attempt. A query or fragment of
    `url` is left out. Raises ValueError for a key of another kind, or a url or an id that cannot stand in a proof.
    """
    target = re.split(r"[?#]", url, maxsplit=1)[0]
    if comparable_url(target) is None or not _JTI.fullmatch(unique_id):
        raise ValueError("the url or the unique id cannot stand in a proof")
    jwk = public_jwk(private_key)
    algorithm = "EdDSA" if isinstance(private_key, Ed25519PrivateKey) else "ES256"
    header = {"typ": _TYPE, "alg": algorithm, "jwk": jwk}
    claims = {
        "htm": method,
        "htu": target,
        "iat": (now - _EPOCH) // timedelta(seconds=1),
        "jti": unique_id,
        "ath": encode_base64url(hashlib.sha256(token.encode("ascii")).digest()),
        "body_sha256": encode_base64url(body_sha256),
    }
    signed = ".".join(encode_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{signed}.{encode_base64url(_sign(private_key, signed.encode()))}"


def read_proof(text: str, expected: Expected, now: datetime) -> Proof | CapabilityProblem:
    """The proof, where it holds for this request now; never raises, whatever the text. Time is bounded by 4 KiB."""
    try:
        return _read(text, expected, now)
    except _BadProofError as bad:
        return CapabilityProblem("proof_required", f"the proof is of no use: {bad}")


def public_jwk(private_key: HolderKey) -> dict[str, str]:
    """The public half as a JWK with nothing but its required members. Raises ValueError for another curve than P-256."""
    if isinstance(private_key, Ed25519PrivateKey):
        raw = private_key.public_key().public_bytes_raw()
        return {"crv": "Ed25519", "kty": "OKP", "x": encode_base64url(raw)}
    if not isinstance(private_key.curve, SECP256R1):
        raise ValueError("the key is neither an Ed25519 nor a P-256 key")
    point = private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    x, y = point[1 : 1 + _COORDINATE_BYTES], point[1 + _COORDINATE_BYTES :]
    return {"crv": "P-256", "kty": "EC", "x": encode_base64url(x), "y": encode_base64url(y)}


def jwk_thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638 over a public JWK of required members only: what `cnf` names as `jkt`."""
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode("ascii")
    return encode_base64url(hashlib.sha256(canonical).digest())


def comparable_url(text: str) -> str | None:
    """A URL without query or fragment in the one form in which it is compared; None where it is no such URL.

    Scheme and host in lower case and without the scheme's own port (RFC 3986 section 6.2); the path as it is.
    """
    found = _URL.fullmatch(text)
    if found is None:
        return None
    scheme, authority = found[1].lower(), found[2].lower()
    return f"{scheme}://{authority.removesuffix(_DEFAULT_PORT[scheme])}{found[3]}"


def _read(text: str, expected: Expected, now: datetime) -> Proof:
    if len(text) > MAX_PROOF_CHARS:
        raise _BadProofError(f"it is longer than {MAX_PROOF_CHARS} characters")
    parts = text.split(".")
    if len(parts) != 3:
        raise _BadProofError("it is no signed text of three parts")
    header = _object(parts[0], "header", _HEADER)
    if header["typ"] != _TYPE:
        raise _BadProofError(f"its `typ` is not `{_TYPE}`")
    algorithm = header["alg"]
    if algorithm not in ALGORITHMS:
        raise _BadProofError("its `alg` is neither `EdDSA` nor `ES256`")
    jwk = _public_key_members(header["jwk"], algorithm)
    claims = _object(parts[1], "claims", _CLAIMS)
    for name in _CLAIMS - {"iat"}:
        if not isinstance(claims[name], str) or not claims[name].isascii():
            raise _BadProofError(f"its `{name}` is not ASCII text")
    # What costs little comes before the signature.
    _check_claims(claims, expected, now)
    _verify(algorithm, jwk, f"{parts[0]}.{parts[1]}".encode("ascii"), _bytes(parts[2], "signature", _SIGNATURE_BYTES))
    if not _same(claims["body_sha256"], encode_base64url(expected.body_sha256())):
        raise _BadProofError("it is for another body")
    jkt = jwk_thumbprint(jwk)
    # Both parts have one length for one key: no two pairs run together to the same bytes.
    digest = hashlib.sha256(_ID_DOMAIN + jkt.encode() + b"\0" + claims["jti"].encode()).digest()
    return Proof(jkt, digest, claims["iat"])


def _check_claims(claims: dict[str, Any], expected: Expected, now: datetime) -> None:
    issued_at = claims["iat"]
    if type(issued_at) is not int:
        raise _BadProofError("its `iat` is not a whole number")
    second = (now - _EPOCH) // timedelta(seconds=1)
    if not second - WINDOW_SECONDS <= issued_at <= second + WINDOW_SECONDS:
        late = "old" if issued_at < second else "far ahead"
        raise _BadProofError(f"its `iat` is too {late}: it may differ by {WINDOW_SECONDS} seconds from the time here")
    if not _JTI.fullmatch(claims["jti"]):
        raise _BadProofError("its `jti` does not have 1 to 128 printable characters")
    if not _same(claims["htm"], expected.method):
        raise _BadProofError("it is for another method")
    url = comparable_url(claims["htu"])
    if url is None:
        raise _BadProofError("its `htu` is no URL of scheme, host and path alone")
    if not any(_same(url, one) for one in expected.urls):
        raise _BadProofError("it is for another URL")
    if not _same(claims["ath"], encode_base64url(expected.token_sha256)):
        raise _BadProofError("it is for another credential")


def _object(part: str, what: str, members: frozenset[str]) -> dict[str, Any]:
    """A JSON object with exactly these members."""
    raw = decode_base64url(part)
    if isinstance(raw, Invalid):
        raise _BadProofError(f"its {what} is {raw.reason}")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    # ValueError covers UnicodeDecodeError and JSONDecodeError; nesting is bounded only by the text's size.
    except (ValueError, RecursionError):
        raise _BadProofError(f"its {what} is not JSON") from None
    if not isinstance(value, dict) or value.keys() != members:
        names = ", ".join(f"`{name}`" for name in sorted(members))
        raise _BadProofError(f"its {what} does not have exactly the members {names}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _BadProofError("a member comes twice")
    return value


def _public_key_members(jwk: object, algorithm: str) -> dict[str, str]:
    """The members of a public key, of which none is left out and none added: least of all a private one."""
    members = _MEMBERS[algorithm]
    if not isinstance(jwk, dict) or jwk.keys() != set(members):
        private = isinstance(jwk, dict) and "d" in jwk
        why = "holds a private key" if private else f"does not have exactly the members {', '.join(members)}"
        raise _BadProofError(f"its `jwk` {why}")
    if (jwk["kty"], jwk["crv"]) != _KINDS[algorithm]:
        raise _BadProofError("its `jwk` is not of the kind that its `alg` takes")
    return {name: jwk[name] for name in members}


def _bytes(text: object, what: str, size: int) -> bytes:
    raw = decode_base64url(text) if isinstance(text, str) else Invalid("no text")
    if isinstance(raw, Invalid) or len(raw) != size:
        raise _BadProofError(f"its {what} is not base64url of {size} bytes")
    return raw


def _verify(algorithm: str, jwk: dict[str, str], signed: bytes, signature: bytes) -> None:
    x = _bytes(jwk["x"], "`x`", _COORDINATE_BYTES)
    try:
        if algorithm == "EdDSA":
            Ed25519PublicKey.from_public_bytes(x).verify(signature, signed)
        else:
            point = b"\x04" + x + _bytes(jwk["y"], "`y`", _COORDINATE_BYTES)
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            public_key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
            public_key.verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        raise _BadProofError("its signature does not verify") from None


def _sign(private_key: HolderKey, signed: bytes) -> bytes:
    if isinstance(private_key, Ed25519PrivateKey):
        return private_key.sign(signed)
    r, s = decode_dss_signature(private_key.sign(signed, ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _same(one: str, other: str) -> bool:
    """In constant time; what is not ASCII has been refused before."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
