"""What a chain of blocks says as a whole: pure, on blocks that were read; signatures are not its business.

Every field is intersected, so that a later block can never widen an earlier one: in budgets carried by tokens the last
block of a kind winning is the classic mistake.
"""

import hashlib
from collections.abc import Sequence

from remit.capabilities.encoding import Invalid, encode_base64url
from remit.capabilities.model import Block0, Confirmation, Delegate, HolderBlock, Verified, VerifiedBlock

TTL_LEEWAY_SECONDS = 60
"""A block has no instant of issue, only an end. Its holder's clock may be this far ahead of the gateway's."""

NO_BLOCK = bytes(32)
"""Stands for the id before block_0."""

_ID_DOMAIN = b"rmt1-id\0"


def block_id(previous_id: bytes, payload: bytes) -> bytes:
    """The 32-byte id of a block: what revocations name and what buckets are keyed by."""
    assert len(previous_id) == 32
    return hashlib.sha256(_ID_DOMAIN + previous_id + payload).digest()


def first_block_id(payload: bytes) -> str:
    """The id of an issuer's block, 64 hex digits."""
    return block_id(NO_BLOCK, payload).hex()


def block_ids(payloads: Sequence[bytes]) -> tuple[bytes, ...]:
    """The ids of a chain's blocks, from the issuer's to the last one."""
    ids = []
    previous = NO_BLOCK
    for payload in payloads:
        previous = block_id(previous, payload)
        ids.append(previous)
    return tuple(ids)


def thumbprint(public_key: bytes) -> str:
    """The JWK thumbprint of an Ed25519 public key of 32 bytes (RFC 7638 and RFC 8037 appendix A.3), in base64url."""
    key = f'{{"crv":"Ed25519","kty":"OKP","x":"{encode_base64url(public_key)}"}}'
    return encode_base64url(hashlib.sha256(key.encode("ascii")).digest())


def authority_of(
    kid: str, first: Block0, ids: Sequence[bytes], later: Sequence[HolderBlock], *, bearer: bool
) -> Verified | Invalid:
    """The authority of a whole chain, or why its blocks do not make one. `ids` has one id for each block.

    Without a bearer's tail the last `next_key` has to be proven, unless the last block itself says in `cnf` what has.
    """
    delegate, not_before, not_after, labels = first.delegate, first.not_before, first.not_after, dict(first.labels)
    keys = {first.next_key}
    blocks = [VerifiedBlock(ids[0].hex(), first.limits, first.models, first.surfaces, not_after, delegate)]
    for number, block in enumerate(later, start=1):
        if not delegate.max_depth or not delegate.max_children or not delegate.max_ttl_seconds:
            return Invalid(f"block {number - 1} may not be handed on")
        if block.not_after > not_after:
            return Invalid(f"block {number} outlives block {number - 1}")
        # Whoever holds the secret of two blocks' one key can leave out what lies between them.
        if block.next_key in keys:
            return Invalid(f"block {number} has the key of an earlier block")
        if not labels.keys().isdisjoint(block.labels):
            return Invalid(f"block {number} sets a label that is set already")
        keys.add(block.next_key)
        labels.update(block.labels)
        not_after = block.not_after
        not_before = max(not_before, not_after - delegate.max_ttl_seconds - TTL_LEEWAY_SECONDS)
        delegate = _narrowed(delegate, block.delegate)
        blocks.append(VerifiedBlock(ids[number].hex(), block.limits, block.models, block.surfaces, not_after, delegate))
    confirmations = _confirmations((first, *later), bearer=bearer)
    if isinstance(confirmations, Invalid):
        return confirmations
    return Verified(
        kid=kid,
        grant=first.grant,
        tenant=first.tenant,
        epoch=first.epoch,
        audience=first.audience,
        issued_at=first.issued_at,
        not_before=not_before,
        not_after=not_after,
        delegate=delegate,
        labels=labels,
        blocks=tuple(blocks),
        confirmations=confirmations,
    )


def _narrowed(parent: Delegate, own: Delegate | None) -> Delegate:
    """What a block may hand on: one level less than its parent, and no more than it says itself."""
    depth = parent.max_depth - 1
    if own is None:
        return Delegate(depth, parent.max_children, parent.max_ttl_seconds)
    return Delegate(
        min(depth, own.max_depth),
        min(parent.max_children, own.max_children),
        min(parent.max_ttl_seconds, own.max_ttl_seconds),
    )


def _confirmations(blocks: Sequence[Block0 | HolderBlock], *, bearer: bool) -> tuple[Confirmation, ...] | Invalid:
    """Everything that has to be proven. What one block demands every later one demands as well.

    A thief of a bearer's tail can append a block; if that could leave out `cnf`, or name another, it would prove nothing.
    """
    wanted = [block.confirmation for block in blocks if block.confirmation is not None]
    if not bearer and blocks[-1].confirmation is None:
        wanted.append(Confirmation("jkt", thumbprint(blocks[-1].next_key)))
    found = tuple(dict.fromkeys(wanted))
    if len({one.kind for one in found}) < len(found):
        return Invalid("two blocks demand proof of possession by different keys")
    return found
