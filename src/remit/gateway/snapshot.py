"""The tree as one gateway process knows it: indexes over one revision, nothing that outlives it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from remit.capabilities.chain import first_block_id
from remit.capabilities.model import IssuerKeys, Verified, VerifiedBlock, issuer_key_ring
from remit.grants.effective import EffectiveGrant, effective
from remit.grants.tree import Tree
from remit.grants.vocabulary import NOTHING_GOVERNED, governing
from remit.grants.vocabulary_model import GovernedTag
from remit.leases.model import NodeTerms
from remit.leases.terms import terms_of_block, terms_of_grant
from remit.store.postgres_tree import KnownKey, StoredTree


@dataclass(frozen=True, slots=True)
class Leaf:
    """A grant with everything above it: what it may do, and the terms of its nodes from root to leaf.

    `governed` are the tags whose values are restricted there.
    """

    grant: EffectiveGrant
    terms: tuple[NodeTerms, ...]
    governed: Mapping[str, GovernedTag] = field(default_factory=lambda: NOTHING_GOVERNED)

    def terms_with(self, blocks: tuple[VerifiedBlock, ...]) -> tuple[NodeTerms, ...]:
        """The terms of the path followed by those of the capability's blocks that have limits."""
        owned = tuple(terms_of_block(block, self.grant.leaf) for block in blocks if block.limits)
        return self.terms + owned


class TreeSnapshot:
    """One revision of the tree. Leaves are worked out when first asked for and kept."""

    def __init__(self, stored: StoredTree, previous: "TreeSnapshot | None" = None) -> None:
        """`previous` lends what it has verified, which another tree does not change as long as the issuer keys are the same."""
        self.revision = stored.revision
        self.trips = stored.trips
        self.keys: dict[str, KnownKey] = {key.id: key for key in stored.keys}
        self.issuers: IssuerKeys = issuer_key_ring(stored.issuers)
        # Cut-offs are looked at with the other revocations: to a verifier what is cut off is invalid, and its holder is to know.
        self.verifying: IssuerKeys = issuer_key_ring(replace(key, min_issued_at=None) for key in stored.issuers)
        same_issuers = previous is not None and previous.issuers == self.issuers
        self.verified: dict[bytes, Verified] = previous.verified if previous is not None and same_issuers else {}
        # A capability dies with the last access key that stands for it; a rotated key has the old one's capability.
        living = {key.capability.payload for key in stored.keys if key.revoked_at is None}
        revoked = {
            key.id: first_block_id(key.capability.payload)
            for key in stored.keys
            if key.capability.payload not in living
        }
        blocks = (one.subject for one in stored.revocations if one.kind == "block")
        self.revoked_blocks: frozenset[str] = frozenset([*revoked.values(), *blocks])
        self._cut = frozenset((one.kind, one.subject) for one in stored.revocations if one.cut_streams)
        # Whoever presents the capability that dies with its last key is cut with that key's callers.
        dead = {("block", revoked[name]) for kind, name in self._cut if kind == "key" and name in revoked}
        self._cut |= dead
        self._tree = Tree(stored.grants)
        self._tags = stored.tags
        self._leaves: dict[str, Leaf] = {}

    def leaf(self, grant_id: str) -> Leaf | None:
        """The grant of that id with its path, or None where there is none."""
        leaf = self._leaves.get(grant_id)
        if leaf is None:
            grant = self._tree.find(grant_id)
            if grant is None or grant.id != grant_id:
                return None
            nodes = self._tree.path_to(grant)
            governed = governing(self._tags, {node.id for node in nodes})
            leaf = Leaf(effective(nodes), tuple(terms_of_grant(node) for node in nodes), governed)
            self._leaves[grant_id] = leaf
        return leaf

    def id_of(self, path: str) -> str | None:
        """The id of the grant at a path, None where there is none."""
        grant = self._tree.at_path(path)
        return None if grant is None else grant.id

    def cuts(self, verified: Verified, key_id: str | None) -> bool:
        """Whether a call under way of that capability, presented by that access key, is to be ended now.

        A revocation that does not ask for it lets calls finish that were sent before it.
        """
        if not self._cut:
            return False
        leaf = self.leaf(verified.grant)
        nodes = () if leaf is None else leaf.grant.nodes
        return (
            ("key", key_id) in self._cut
            or any(("block", block) in self._cut for block in verified.block_ids)
            or any(("grant", node.id) in self._cut for node in nodes)
            or (("issuer", verified.kid) in self._cut and self.issuer_refuses(verified))
        )

    def issuer_refuses(self, verified: Verified) -> bool:
        """Whether the issuer key was revoked, as a whole or for what it had signed by the time this was issued."""
        issuer = self.issuers.get(verified.kid)
        if issuer is None or issuer.revoked:
            return True
        return issuer.min_issued_at is not None and verified.issued_at < issuer.min_issued_at
