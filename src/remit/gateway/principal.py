"""Who is asking: from the authorization header to a grant, or the refusal that answers it."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from remit.capabilities.access_keys import hash_secret, matches, parse_access_key
from remit.capabilities.encoding import TOKEN_PREFIX
from remit.capabilities.model import CapabilityProblem, Verified
from remit.capabilities.rules import check_window, verify, verify_stored
from remit.gateway.proving import Credential, Presented, prove
from remit.gateway.snapshot import Leaf, TreeSnapshot
from remit.kernel.decisions import RefusalCode, Refused
from remit.leases.model import UsedProof

# Either may carry a capability that is bound to a key; what it demands decides, not what the caller calls it.
_SCHEMES = {b"bearer": False, b"dpop": True}
_MAX_CREDENTIAL_BYTES = 8192
# How many verified capabilities are remembered; beyond that the oldest one is verified afresh when it comes again.
_MAX_CACHED = 10_000
_NO_HASH = hash_secret(bytes(32))


@dataclass(frozen=True, slots=True)
class Principal:
    """A holder whose capability was verified for this very moment, and the grant it draws on.

    `key_id` is the access key that stood for the capability, None where the capability itself was presented.
    `proof` is the one that was presented where a key had to be proven; it is good for one hold.
    """

    verified: Verified
    leaf: Leaf
    key_id: str | None = None
    proof: UsedProof | None = None


def authenticate(snapshot: TreeSnapshot, presented: Presented, audience: str, now: datetime) -> Principal | Refused:
    """The principal of a request, checked against this revision of the tree.

    Whether a proof was used before is not known here: that is decided where the hold is taken.
    """
    credential = _credential(presented.authorizations)
    if isinstance(credential, Refused):
        return credential
    if credential.text.startswith(TOKEN_PREFIX):
        found = _verify_token(snapshot, credential.text, audience, now)
        key_id, grant_id = None, None
    else:
        access = parse_access_key(credential.text)
        known = snapshot.keys.get(access.key_id) if access else None
        # An unknown key id takes the same steps as a wrong secret.
        if not matches(known.secret_hash if known else _NO_HASH, access.secret if access else b"") or known is None:
            return _refused(RefusalCode.unauthenticated, "the key is not known here")
        found = _cached(snapshot, known.secret_hash, now) or _kept(
            snapshot, known.secret_hash, verify_stored(known.capability, snapshot.verifying, audience, now)
        )
        key_id, grant_id = known.id, known.grant_id
    if isinstance(found, CapabilityProblem):
        # The secret of a key was right, so its holder may know whom to ask.
        return _refused(found.refusal_code, found.reason, snapshot.leaf(grant_id) if grant_id else None)
    leaf = snapshot.leaf(found.grant)
    if leaf is None:
        return _refused(RefusalCode.capability_invalid, "the capability's grant does not exist")
    if why := _revocation(snapshot, found, leaf, key_id):
        return _refused(RefusalCode.capability_revoked, why, leaf)
    proof = prove(found, credential, presented, now)
    if isinstance(proof, str):
        return _refused(RefusalCode.proof_required, proof, leaf)
    return Principal(found, leaf, key_id, proof)


def _credential(authorizations: tuple[bytes, ...]) -> Credential | Refused:
    """The one credential of a request, under a scheme that is understood."""
    scheme, _, raw = authorizations[0].partition(b" ") if len(authorizations) == 1 else (b"", b"", b"")
    by_proof = _SCHEMES.get(scheme.lower())
    if by_proof is None:
        return _refused(RefusalCode.unauthenticated, "send one header `authorization: Bearer` with a key or capability")
    raw = raw.strip()
    if not raw or len(raw) > _MAX_CREDENTIAL_BYTES or not raw.isascii():
        return _refused(RefusalCode.unauthenticated, "the bearer credential is empty, too long or not ASCII")
    return Credential(raw.decode("ascii"), by_proof)


def holder_of(snapshot: TreeSnapshot, presented: Presented) -> tuple[str, str] | None:
    """The grant and the name of whoever presented a credential that was verified: an access key's id or a first block's.

    Both are the issuer's words; a holder cannot choose them. None for strangers.
    """
    credential = _credential(presented.authorizations)
    if isinstance(credential, Refused):
        return None
    if credential.text.startswith(TOKEN_PREFIX):
        found = snapshot.verified.get(hashlib.sha256(credential.text.encode()).digest())
        return None if found is None else (found.grant, found.block_ids[0])
    access = parse_access_key(credential.text)
    known = snapshot.keys.get(access.key_id) if access else None
    if access is None or known is None or not matches(known.secret_hash, access.secret):
        return None
    return known.grant_id, known.id


def still_refused(snapshot: TreeSnapshot, principal: Principal, now: datetime) -> Refused | None:
    """Why a principal of an earlier tree may not spend by this one, None where they may."""
    leaf = snapshot.leaf(principal.verified.grant)
    if leaf is None:
        return _refused(RefusalCode.capability_invalid, "the capability's grant does not exist")
    if why := _revocation(snapshot, principal.verified, leaf, principal.key_id):
        return _refused(RefusalCode.capability_revoked, why, leaf)
    return leaf.grant.refusal_at(now)


def _revocation(snapshot: TreeSnapshot, verified: Verified, leaf: Leaf, key_id: str | None) -> str | None:
    """How the capability was revoked, None where it was not."""
    key = None if key_id is None else snapshot.keys.get(key_id)
    if key is not None and key.revoked_at is not None:
        return f"access key `{key_id}` was revoked"
    if snapshot.issuer_refuses(verified):
        return "the issuer key that signed the capability was revoked, or what it had signed by then"
    if not snapshot.revoked_blocks.isdisjoint(verified.block_ids):
        return "the capability was revoked, alone or with its access key"
    if verified.epoch < leaf.grant.leaf.epoch:
        return f"`{leaf.grant.leaf.path}` was revoked after this capability was issued"
    return None


def _verify_token(snapshot: TreeSnapshot, text: str, audience: str, now: datetime) -> Verified | CapabilityProblem:
    digest = hashlib.sha256(text.encode()).digest()
    return _cached(snapshot, digest, now) or _kept(snapshot, digest, verify(text, snapshot.verifying, audience, now))


def _cached(snapshot: TreeSnapshot, digest: bytes, now: datetime) -> Verified | CapabilityProblem | None:
    found = snapshot.verified.get(digest)
    return None if found is None else check_window(found.not_before, found.not_after, now) or found


def _kept(snapshot: TreeSnapshot, digest: bytes, found: Verified | CapabilityProblem) -> Verified | CapabilityProblem:
    """What was verified, from now on cached. What it demands to be proven stays demanded, on every request."""
    verified = found if isinstance(found, Verified) else found.unproven
    if verified is None:
        return found
    cache = snapshot.verified
    while len(cache) >= _MAX_CACHED:
        del cache[next(iter(cache))]
    cache[digest] = verified
    return verified


def _refused(code: RefusalCode, detail: str, leaf: Leaf | None = None) -> Refused:
    if leaf is None:
        return Refused(code=code, detail=detail)
    node = leaf.grant.leaf
    return Refused(code=code, detail=f"{detail}; ask `{node.owner}`", path=node.path, owner=node.owner)
