"""Who is asking: from the authorization header to a grant, or the refusal that answers it."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from remit.capabilities.access_keys import hash_secret, matches, parse_access_key
from remit.capabilities.encoding import TOKEN_PREFIX
from remit.capabilities.model import CapabilityProblem, Verified
from remit.capabilities.rules import check_window, verify, verify_stored
from remit.gateway.snapshot import Leaf, TreeSnapshot
from remit.kernel.decisions import RefusalCode, Refused

_BEARER = b"bearer "
_MAX_CREDENTIAL_BYTES = 8192
# How many verified capabilities are remembered; beyond that the oldest one is verified afresh when it comes again.
_MAX_CACHED = 10_000
_NO_HASH = hash_secret(bytes(32))


@dataclass(frozen=True, slots=True)
class Principal:
    """A holder whose capability was verified for this very moment, and the grant it draws on.

    `key_id` is the access key that stood for the capability, None where the capability itself was presented.
    """

    verified: Verified
    leaf: Leaf
    key_id: str | None = None


def authenticate(
    snapshot: TreeSnapshot, authorizations: list[bytes], audience: str, now: datetime
) -> Principal | Refused:
    """The principal of a request's authorization headers, checked against this revision of the tree."""
    if len(authorizations) != 1 or authorizations[0][:7].lower() != _BEARER:
        return _refused(RefusalCode.unauthenticated, "send one header `authorization: Bearer` with a key or capability")
    raw = authorizations[0][7:].strip()
    if not raw or len(raw) > _MAX_CREDENTIAL_BYTES or not raw.isascii():
        return _refused(RefusalCode.unauthenticated, "the bearer credential is empty, too long or not ASCII")
    text = raw.decode("ascii")
    if text.startswith(TOKEN_PREFIX):
        found = _verify_token(snapshot, text, audience, now)
        key_id, grant_id = None, None
    else:
        access = parse_access_key(text)
        known = snapshot.keys.get(access.key_id) if access else None
        # An unknown key id takes the same steps as a wrong secret.
        if not matches(known.secret_hash if known else _NO_HASH, access.secret if access else b"") or known is None:
            return _refused(RefusalCode.unauthenticated, "the key is not known here")
        found = _cached(snapshot, known.secret_hash, now) or verify_stored(
            known.capability, snapshot.verifying, audience, now
        )
        if isinstance(found, Verified):
            _cache(snapshot, known.secret_hash, found)
        key_id, grant_id = known.id, known.grant_id
    verified = found if isinstance(found, Verified) else found.unproven
    if verified is None:
        assert isinstance(found, CapabilityProblem)
        # The secret of a key was right, so its holder may know whom to ask.
        return _refused(found.refusal_code, found.reason, snapshot.leaf(grant_id) if grant_id else None)
    leaf = snapshot.leaf(verified.grant)
    if leaf is None:
        return _refused(RefusalCode.capability_invalid, "the capability's grant does not exist")
    if why := _revocation(snapshot, verified, leaf, key_id):
        return _refused(RefusalCode.capability_revoked, why, leaf)
    if isinstance(found, CapabilityProblem):
        return _refused(found.refusal_code, found.reason, leaf)
    return Principal(found, leaf, key_id)


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
    found = _cached(snapshot, digest, now) or verify(text, snapshot.verifying, audience, now)
    if isinstance(found, Verified):
        _cache(snapshot, digest, found)
    return found


def _cached(snapshot: TreeSnapshot, digest: bytes, now: datetime) -> Verified | CapabilityProblem | None:
    found = snapshot.verified.get(digest)
    return None if found is None else check_window(found.not_before, found.not_after, now) or found


def _cache(snapshot: TreeSnapshot, digest: bytes, found: Verified) -> None:
    cache = snapshot.verified
    if digest not in cache:
        while len(cache) >= _MAX_CACHED:
            del cache[next(iter(cache))]
        cache[digest] = found


def _refused(code: RefusalCode, detail: str, leaf: Leaf | None = None) -> Refused:
    if leaf is None:
        return Refused(code=code, detail=detail)
    node = leaf.grant.leaf
    return Refused(code=code, detail=f"{detail}; ask `{node.owner}`", path=node.path, owner=node.owner)
