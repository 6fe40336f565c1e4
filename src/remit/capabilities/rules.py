"""Minting, appending and verifying: pure functions on bytes, keys and an instant that is handed in.

Prior art and its mistakes set the rules: an id is a hash over signed content, never over signature bytes (an id over
a malleable signature lets a revoked holder change it) and never over the whole token (appending would reset a
counter); later blocks never widen earlier ones.
"""

import hmac
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from remit.capabilities.chain import NO_BLOCK, authority_of, block_ids, first_block_id
from remit.capabilities.encoding import (
    MAX_BLOCKS,
    SECRET_BYTES,
    SIGNATURE_BYTES,
    Frame,
    FramedBlock,
    Invalid,
    UnencodableError,
    decode_token,
    encode_token,
)
from remit.capabilities.model import (
    Appended,
    Block0,
    CapabilityProblem,
    HolderBlock,
    IssuerKey,
    IssuerKeys,
    Minted,
    StoredCapability,
    Verified,
)
from remit.capabilities.payload import block0_payload, holder_payload
from remit.capabilities.reading import read_blocks

_SIGNATURE_DOMAIN = b"rmt1\0"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def public_key_of(secret: bytes) -> bytes:
    """The 32-byte Ed25519 public key of a 32-byte secret: a block's `next_key`."""
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def mint_block0(private_key: Ed25519PrivateKey, issuer: IssuerKey, block: Block0, next_secret: bytes | None) -> Minted:
    """Signs an issuer's block. The token carries `next_secret` (32 bytes), the stored form does not.

    With None the token carries no secret: `block.next_key` is the holder's, who proves possession of its other half.
    Raises UnencodableError for fields out of range, a `next_key` that is not the secret's, a public key that is not
    the private one's, or a verify-only issuer key. The caller draws `next_secret` and `nonce` at random.
    """
    if private_key.public_key().public_bytes_raw() != issuer.public_key or issuer.verify_only:
        raise UnencodableError(f"issuer key `{issuer.kid}` does not sign with this private key")
    _require_its_key(next_secret, block.next_key)
    payload = block0_payload(block)
    signature = private_key.sign(_SIGNATURE_DOMAIN + NO_BLOCK + payload)
    token = encode_token(Frame(issuer.kid, (FramedBlock(payload, signature),), next_secret))
    return Minted(token, StoredCapability(issuer.kid, payload, signature), first_block_id(payload))


def append_block(
    token: str, block: HolderBlock, next_secret: bytes | None, *, signing_secret: bytes | None = None
) -> Appended | CapabilityProblem:
    """The chain with one more block; needs no network and no issuer. The parent's block is not changed by it.

    It is signed by the bearer's tail, or, where the token has none, by `signing_secret`, the other half of the last
    `next_key`. `next_secret` becomes the new tail; None makes a chain whose holder proves possession of `block.next_key`.
    Whether the issuer's signature verifies is not known here. Raises UnencodableError for fields out of range, a `next_key`
    that is not the secret's, or a text that becomes too long.
    """
    frame = decode_token(token)
    if isinstance(frame, Invalid):
        return CapabilityProblem("invalid", frame.reason)
    if len(frame.blocks) == MAX_BLOCKS:
        return CapabilityProblem("invalid", f"the chain has {MAX_BLOCKS} blocks already")
    signing = frame.bearer_secret if signing_secret is None else signing_secret
    if signing is None:
        return CapabilityProblem("proof_required", "the capability carries no secret; appending takes its holder's key")
    _require_its_key(next_secret, block.next_key)
    payload = holder_payload(block)
    parsed = read_blocks(frame)
    if isinstance(parsed, Invalid):
        return CapabilityProblem("invalid", parsed.reason)
    first, later = parsed
    last_key = (later[-1] if later else first).next_key
    if len(signing) != SECRET_BYTES or not hmac.compare_digest(public_key_of(signing), last_key):
        return CapabilityProblem("invalid", "the secret does not belong to the last block")
    ids = block_ids([one.payload for one in frame.blocks] + [payload])
    authority = authority_of(frame.kid, first, ids, [*later, block], bearer=next_secret is not None)
    if isinstance(authority, Invalid):
        return CapabilityProblem("invalid", authority.reason)
    signature = Ed25519PrivateKey.from_private_bytes(signing).sign(_SIGNATURE_DOMAIN + ids[-2] + payload)
    longer = Frame(frame.kid, (*frame.blocks, FramedBlock(payload, signature)), next_secret)
    return Appended(encode_token(longer), ids[-1].hex())


def verify(token: str, issuer_keys: IssuerKeys, audience: str, now: datetime) -> Verified | CapabilityProblem:
    """What a presented token authorises at this gateway now; never raises, whatever the text.

    Says nothing about revocation or the stored grant. Order of problems: invalid, not yet valid, expired, proof. Where
    only the proof is missing the problem carries what it would authorise, with what has to be proven.
    """
    frame = decode_token(token)
    if isinstance(frame, Invalid):
        return CapabilityProblem("invalid", frame.reason)
    authority = _authentic(frame, issuer_keys, audience, bearer=frame.bearer_secret is not None)
    if isinstance(authority, Invalid):
        return CapabilityProblem("invalid", authority.reason)
    return _usable(authority, now)


def verify_stored(
    stored: StoredCapability, issuer_keys: IssuerKeys, audience: str, now: datetime
) -> Verified | CapabilityProblem:
    """What a stored capability authorises, once its access key was matched; the same checks but for the tail."""
    frame = Frame(stored.kid, (FramedBlock(stored.payload, stored.signature),), None)
    authority = _authentic(frame, issuer_keys, audience, bearer=True)
    return CapabilityProblem("invalid", authority.reason) if isinstance(authority, Invalid) else _usable(authority, now)


def check_window(not_before: int, not_after: int, now: datetime) -> CapabilityProblem | None:
    """The problem with `not_before <= now < not_after` (Unix seconds), if any; also for a cached `Verified`."""
    assert now.tzinfo is not None, "instants are aware"
    second = (now - _EPOCH) // _SECOND
    if second < not_before:
        return CapabilityProblem("not_yet_valid", f"capability is valid from {_instant(not_before)}")
    if second >= not_after:
        return CapabilityProblem("expired", f"capability expired at {_instant(not_after)}")
    return None


def _require_its_key(next_secret: bytes | None, next_key: bytes) -> None:
    if next_secret is not None and (len(next_secret) != 32 or public_key_of(next_secret) != next_key):
        raise UnencodableError("`next_key` is not the public key of the next secret")


def _authentic(frame: Frame, keys: IssuerKeys, audience: str, *, bearer: bool) -> Verified | Invalid:
    """The chain's authority, if each block is well formed, signed as it has to be, and meant for this audience."""
    parsed = read_blocks(frame)
    if isinstance(parsed, Invalid):
        return parsed
    first, later = parsed
    issuer = keys.get(frame.kid)
    if issuer is None:
        return Invalid("capability is signed by an unknown issuer key")
    ids = block_ids([one.payload for one in frame.blocks])
    # What costs nothing comes before signatures.
    authority = authority_of(frame.kid, first, ids, later, bearer=bearer)
    if isinstance(authority, Invalid):
        return authority
    if issuer.min_issued_at is not None and first.issued_at < issuer.min_issued_at:
        return Invalid("capability was issued before its issuer key's cut-off")
    if first.audience != audience:
        return Invalid("capability is meant for another audience")
    signers = [issuer.public_key, first.next_key, *(block.next_key for block in later)]
    for number, framed in enumerate(frame.blocks):
        if len(framed.signature) != SIGNATURE_BYTES:
            return Invalid("signature is out of size")
        try:
            Ed25519PublicKey.from_public_bytes(signers[number]).verify(
                framed.signature, _SIGNATURE_DOMAIN + (ids[number - 1] if number else NO_BLOCK) + framed.payload
            )
        except (InvalidSignature, ValueError):
            return Invalid(
                "signature does not verify" if number == 0 else f"signature of block {number} does not verify"
            )
    secret = frame.bearer_secret
    if secret is not None and not hmac.compare_digest(public_key_of(secret), signers[-1]):
        return Invalid("the tail's secret does not belong to the last block")
    return authority


def _usable(authority: Verified, now: datetime) -> Verified | CapabilityProblem:
    if problem := check_window(authority.not_before, authority.not_after, now):
        return problem
    if authority.confirmations:
        kinds = " and ".join(_PROOF_BY[one.kind] for one in authority.confirmations)
        return CapabilityProblem("proof_required", f"possession has to be proven by {kinds}", unproven=authority)
    return authority


_PROOF_BY = {"jkt": "a signed proof", "x5t#S256": "a client certificate", "spiffe": "a certificate with a SPIFFE id"}


def _instant(second: int) -> str:
    return (_EPOCH + second * _SECOND).isoformat().replace("+00:00", "Z")
