"""The tree as one gateway process knows it: indexes over one revision, nothing that outlives it."""

from dataclasses import dataclass

from remit.capabilities.chain import NO_BLOCK, block_id
from remit.capabilities.model import IssuerKeys, Verified, VerifiedBlock, issuer_key_ring
from remit.grants.effective import EffectiveGrant, effective
from remit.grants.tree import Tree
from remit.leases.model import NodeTerms
from remit.leases.terms import terms_of_block, terms_of_grant
from remit.store.postgres_tree import KnownKey, StoredTree


@dataclass(frozen=True, slots=True)
class Leaf:
    """A grant with everything above it: what it may do, and the terms of its nodes from root to leaf."""

    grant: EffectiveGrant
    terms: tuple[NodeTerms, ...]

    def terms_with(self, blocks: tuple[VerifiedBlock, ...]) -> tuple[NodeTerms, ...]:
        """The terms of the path followed by those of the capability's blocks that have limits."""
        owned = tuple(terms_of_block(block, self.grant.leaf) for block in blocks if block.limits)
        return self.terms + owned


class TreeSnapshot:
    """One revision of the tree. Leaves are worked out when first asked for and kept."""

    def __init__(self, stored: StoredTree) -> None:
        self.revision = stored.revision
        self.keys: dict[str, KnownKey] = {key.id: key for key in stored.keys}
        self.issuers: IssuerKeys = issuer_key_ring(stored.issuers)
        self.verified: dict[bytes, Verified] = {}
        # A capability dies with the last access key that stands for it; a rotated key has the old one's capability.
        living = {key.capability.payload for key in stored.keys if key.revoked_at is None}
        self.revoked_blocks: frozenset[str] = frozenset(
            block_id(NO_BLOCK, key.capability.payload).hex()
            for key in stored.keys
            if key.capability.payload not in living
        )
        self._tree = Tree(stored.grants)
        self._leaves: dict[str, Leaf] = {}

    def leaf(self, grant_id: str) -> Leaf | None:
        """The grant of that id with its path, or None where there is none."""
        leaf = self._leaves.get(grant_id)
        if leaf is None:
            grant = self._tree.find(grant_id)
            if grant is None or grant.id != grant_id:
                return None
            nodes = self._tree.path_to(grant)
            leaf = Leaf(effective(nodes), tuple(terms_of_grant(node) for node in nodes))
            self._leaves[grant_id] = leaf
        return leaf
