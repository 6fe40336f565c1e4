"""What a path really grants: every node, and the intersection of what they allow, from root to leaf."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from remit.grants.model import Grant, Rate, Scope, Shape
from remit.grants.shapes import both_names, both_shapes, merged_scope
from remit.grants.words import instant_text
from remit.kernel.decisions import GrantClass, RefusalCode, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRate:
    """The rate of one node; nodes without any are left out."""

    node_id: str
    path: str
    owner: str
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveGrant:
    """The authority at the end of a path. Limits and rates of **all** nodes bind; none shadows another.

    `nodes` runs from root to leaf, and each has its own limits. The class is the leaf's. `starts_at` is the latest and `expires_at` the earliest
    of the path.
    """

    nodes: tuple[Grant, ...]
    scope: Scope
    shape: Shape
    data_classes: tuple[str, ...] | None
    required_tags: tuple[str, ...]
    starts_at: datetime
    expires_at: datetime
    rates: tuple[NodeRate, ...]

    @property
    def leaf(self) -> Grant:
        return self.nodes[-1]

    @property
    def grant_class(self) -> GrantClass:
        return self.leaf.grant_class

    def refusal_at(self, now: datetime) -> Refused | None:
        """`grant_inactive` before `grant_expired`, each naming the highest such node and its owner, or `None`."""
        for node in self.nodes:
            if node.status == "requested":
                return self._not_activated(node)
            if node.status in ("suspended", "revoked"):
                return self._refused(RefusalCode.grant_inactive, node, f"`{node.path}` is {node.status}")
            if now < node.starts_at:
                sentence = f"`{node.path}` starts at {instant_text(node.starts_at)}"
                return self._refused(RefusalCode.grant_inactive, node, sentence)
        for node in self.nodes:
            if node.status == "expired" or now >= node.expires_at:
                sentence = f"`{node.path}` expired at {instant_text(node.expires_at)}"
                return self._refused(RefusalCode.grant_expired, node, sentence)
        return None

    def _not_activated(self, node: Grant) -> Refused:
        """Names who can activate it, which its own owner cannot."""
        above = self.nodes[: self.nodes.index(node)]
        helper = f"`{above[-1].owner}`, the owner of `{above[-1].path}`," if above else "an admin"
        sentence = f"`{node.path}` is requested and not activated yet; ask {helper} to activate it"
        return self._refusal(RefusalCode.grant_inactive, node, sentence)

    def _refused(self, code: RefusalCode, node: Grant, sentence: str) -> Refused:
        return self._refusal(code, node, f"{sentence}; ask its owner `{node.owner}`")

    def _refusal(self, code: RefusalCode, node: Grant, detail: str) -> Refused:
        return Refused(
            code=code,
            detail=detail,
            path=self.leaf.path,
            binding_node=node.path,
            owner=node.owner,
        )


def effective(nodes: Sequence[Grant]) -> EffectiveGrant:
    """The effective grant of a path given from root to leaf, not empty (`Tree.path_to`)."""
    assert nodes, "a path has at least its root"
    assert nodes[0].parent_id is None
    assert all(lower.parent_id == upper.id for upper, lower in pairwise(nodes))
    scope, shape, data_classes = nodes[0].scope, nodes[0].shape, nodes[0].data_classes
    tags = dict.fromkeys(nodes[0].required_tags)
    for node in nodes[1:]:
        scope = merged_scope(scope, node.scope)
        shape = both_shapes(shape, node.shape)
        data_classes = both_names(data_classes, node.data_classes)
        tags |= dict.fromkeys(node.required_tags)
    return EffectiveGrant(
        nodes=tuple(nodes),
        scope=scope,
        shape=shape,
        data_classes=data_classes,
        required_tags=tuple(tags),
        starts_at=max(node.starts_at for node in nodes),
        expires_at=min(node.expires_at for node in nodes),
        rates=tuple(
            NodeRate(node_id=node.id, path=node.path, owner=node.owner, rate=node.rate)
            for node in nodes
            if node.rate != Rate()
        ),
    )
