"""A proof that comes with a request for a capability (RFC 9449, section 5): the key that the capability is bound to.

A proof that is used again does no harm here: whoever replays it gets a capability that only the key's owner can use, and
needs the workload's token besides. So used ones are not remembered.
"""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from joserfc.errors import JoseError

from remit.api.jwks import import_public
from remit.api.subject_tokens import is_signed, object_of
from remit.capabilities.encoding import Invalid, decode_base64url

MAX_PROOF_CHARS: Final = 4_096
PROOF_SECONDS: Final = 60
_ALGORITHMS = {"EdDSA": ("kty", "crv", "x"), "ES256": ("kty", "crv", "x", "y")}


@dataclass(frozen=True, slots=True)
class ProvenKey:
    """The thumbprint of the key (RFC 7638), and its 32 bytes where it is Ed25519 and can sign further blocks."""

    thumbprint: str
    ed25519: bytes | None = field(repr=False)


def read_proof(text: str, method: str, host: str, path: str, now_seconds: int) -> ProvenKey | str:
    """The key that a proof proves, made for this very request; a text instead says what is wrong with it.

    The scheme is not compared: TLS ends in a proxy in front, which this server cannot see.
    """
    parts = text.split(".")
    if len(text) > MAX_PROOF_CHARS or len(parts) != 3:
        return "the proof is no compact token, or too long"
    header, claims = object_of(parts[0]), object_of(parts[1])
    if header is None or claims is None or header.get("typ") != "dpop+jwt" or "crit" in header:
        return "the proof is not of the type `dpop+jwt`"
    algorithm, jwk = header.get("alg"), header.get("jwk")
    members = _ALGORITHMS.get(algorithm) if isinstance(algorithm, str) else None
    if members is None or not isinstance(jwk, dict) or not isinstance(algorithm, str):
        return "the proof's algorithm is neither EdDSA nor ES256, or its key is missing"
    if "d" in jwk or not all(isinstance(jwk.get(name), str) for name in members):
        return "the proof's key is not a public one"
    public = {name: str(jwk[name]) for name in members}
    try:
        key, algorithms = import_public(public)
        if algorithm not in algorithms or not is_signed(text, algorithm, key):
            return "the proof's signature does not verify"
        thumbprint = str(key.thumbprint())
    except (JoseError, ValueError, TypeError, KeyError):
        return "the proof's key cannot be used"
    issued, proof_id = claims.get("iat"), claims.get("jti")
    if type(issued) is not int or abs(now_seconds - issued) > PROOF_SECONDS:
        return f"the proof is not from within {PROOF_SECONDS} seconds"
    if not isinstance(proof_id, str) or not 0 < len(proof_id) <= 256:
        return "the proof has no `jti`"
    if claims.get("htm") != method or not _is_here(claims.get("htu"), host, path):
        return "the proof is for another request"
    raw = decode_base64url(public["x"]) if algorithm == "EdDSA" else None
    return ProvenKey(thumbprint, None if isinstance(raw, Invalid) else raw)


def _is_here(stated: object, host: str, path: str) -> bool:
    if not isinstance(stated, str):
        return False
    try:
        url = urlsplit(stated)
    except ValueError:
        return False
    same = url.netloc.casefold() == host.casefold() and url.path == path
    return same and url.scheme in ("https", "http") and not url.query and not url.fragment
