"""Minting and verifying: pure functions on bytes, keys and an instant that is handed in.

Prior art and its mistakes set the rules: an id is a hash over signed content, never over signature bytes (an id over
a malleable signature lets a revoked holder change it) and never over the whole token (appending would reset a
counter); later blocks never widen earlier ones.
"""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from remit.capabilities.encoding import (
    SIGNATURE_BYTES,
    Frame,
    FramedBlock,
    Invalid,
    UnencodableError,
    decode_token,
    encode_token,
)
from remit.capabilities.model import (
    Block0,
    CapabilityProblem,
    IssuerKey,
    IssuerKeys,
    Minted,
    StoredCapability,
    Verified,
    VerifiedBlock,
)
from remit.capabilities.payload import block0_payload, parse_block0

NO_BLOCK = bytes(32)
"""Stands for the id before block_0."""

_SIGNATURE_DOMAIN = b"rmt1\0"
_ID_DOMAIN = b"rmt1-id\0"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def block_id(previous_id: bytes, payload: bytes) -> bytes:
    """The 32-byte id of a block: what revocations name and what buckets are keyed by."""
    assert len(previous_id) == 32
    return hashlib.sha256(_ID_DOMAIN + previous_id + payload).digest()


def public_key_of(secret: bytes) -> bytes:
    """The 32-byte Ed25519 public key of a 32-byte secret: a block's `next_key`."""
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def mint_block0(private_key: Ed25519PrivateKey, issuer: IssuerKey, block: Block0, next_secret: bytes | None) -> Minted:
    """Signs an issuer's block. The token carries `next_secret` (32 bytes), the stored form does not.

    With None the token has no tail: `next_key` is the holder's own, and possession of it is proven at every request.

    Raises UnencodableError for fields out of range, a `next_key` that is not the secret's, a public key that is not
    the private one's, or a verify-only issuer key. The caller draws `next_secret` and `nonce` at random.
    """
    if private_key.public_key().public_bytes_raw() != issuer.public_key or issuer.verify_only:
        raise UnencodableError(f"issuer key `{issuer.kid}` does not sign with this private key")
    if next_secret is not None and (len(next_secret) != 32 or public_key_of(next_secret) != block.next_key):
        raise UnencodableError("`next_key` is not the public key of the next secret")
    payload = block0_payload(block)
    signature = private_key.sign(_SIGNATURE_DOMAIN + NO_BLOCK + payload)
    token = encode_token(Frame(issuer.kid, (FramedBlock(payload, signature),), next_secret))
    return Minted(token, StoredCapability(issuer.kid, payload, signature), block_id(NO_BLOCK, payload).hex())


def verify(token: str, issuer_keys: IssuerKeys, audience: str, now: datetime) -> Verified | CapabilityProblem:
    """What a presented token authorises at this gateway now; never raises, whatever the text.

    Says nothing about revocation or the stored grant. Order of problems: invalid, not yet valid, expired, proof.
    """
    frame = decode_token(token)
    if isinstance(frame, Invalid):
        return CapabilityProblem("invalid", frame.reason)
    if len(frame.blocks) > 1:
        return CapabilityProblem("invalid", "attenuated chains are not accepted by this release")
    stored = StoredCapability(frame.kid, frame.blocks[0].payload, frame.blocks[0].signature)
    block = _authentic_block0(stored, issuer_keys, audience)
    if isinstance(block, CapabilityProblem):
        return block
    secret = frame.bearer_secret
    if secret is not None and not hmac.compare_digest(public_key_of(secret), block.next_key):
        return CapabilityProblem("invalid", "the tail's secret does not belong to the last block")
    return _usable(stored, block, now, bearer=secret is not None)


def verify_stored(
    stored: StoredCapability, issuer_keys: IssuerKeys, audience: str, now: datetime
) -> Verified | CapabilityProblem:
    """What a stored capability authorises, once its access key was matched; the same checks but for the tail."""
    block = _authentic_block0(stored, issuer_keys, audience)
    if isinstance(block, CapabilityProblem):
        return block
    return _usable(stored, block, now, bearer=True)


def check_window(not_before: int, not_after: int, now: datetime) -> CapabilityProblem | None:
    """The problem with `not_before <= now < not_after` (Unix seconds), if any; also for a cached `Verified`."""
    assert now.tzinfo is not None, "instants are aware"
    second = (now - _EPOCH) // _SECOND
    if second < not_before:
        return CapabilityProblem("not_yet_valid", f"capability is valid from {_instant(not_before)}")
    if second >= not_after:
        return CapabilityProblem("expired", f"capability expired at {_instant(not_after)}")
    return None


def _authentic_block0(stored: StoredCapability, keys: IssuerKeys, audience: str) -> Block0 | CapabilityProblem:
    """The block, if it is well formed, signed by a known issuer key after its cut-off, and meant for this audience."""
    block = parse_block0(stored.payload)
    if isinstance(block, Invalid):
        return CapabilityProblem("invalid", block.reason)
    issuer = keys.get(stored.kid)
    if issuer is None:
        return CapabilityProblem("invalid", "capability is signed by an unknown issuer key")
    if len(stored.signature) != SIGNATURE_BYTES:
        return CapabilityProblem("invalid", "signature is out of size")
    try:
        Ed25519PublicKey.from_public_bytes(issuer.public_key).verify(
            stored.signature, _SIGNATURE_DOMAIN + NO_BLOCK + stored.payload
        )
    except (InvalidSignature, ValueError):
        return CapabilityProblem("invalid", "signature does not verify")
    if issuer.min_issued_at is not None and block.issued_at < issuer.min_issued_at:
        return CapabilityProblem("invalid", "capability was issued before its issuer key's cut-off")
    if block.audience != audience:
        return CapabilityProblem("invalid", "capability is meant for another audience")
    return block


def _usable(stored: StoredCapability, block: Block0, now: datetime, *, bearer: bool) -> Verified | CapabilityProblem:
    if problem := check_window(block.not_before, block.not_after, now):
        return problem
    verified = Verified(
        kid=stored.kid,
        grant=block.grant,
        tenant=block.tenant,
        epoch=block.epoch,
        audience=block.audience,
        issued_at=block.issued_at,
        not_before=block.not_before,
        not_after=block.not_after,
        delegate=block.delegate,
        labels=block.labels,
        blocks=(
            VerifiedBlock(
                block_id(NO_BLOCK, stored.payload).hex(), block.limits, block.models, block.surfaces, block.not_after
            ),
        ),
    )
    if block.confirmation is not None or not bearer:
        reason = "proof of possession is not accepted by this release"
        return CapabilityProblem("proof_required", reason, unproven=verified)
    return verified


def _instant(second: int) -> str:
    return (_EPOCH + second * _SECOND).isoformat().replace("+00:00", "Z")
