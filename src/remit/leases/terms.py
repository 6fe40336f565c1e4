"""From a grant, or a block of a capability, to the terms its buckets are made of."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from remit.capabilities.model import Limit, Verified, VerifiedBlock
from remit.grants.model import Grant
from remit.leases.model import Chain, ChainBlock, NodeLimit, NodeTerms


def terms_of_grant(grant: Grant) -> NodeTerms:
    """What one grant allows by itself; its ancestors have terms of their own."""
    return NodeTerms(
        node_id=grant.id,
        path=grant.path,
        owner=grant.owner,
        grant_class=grant.grant_class,
        zone=ZoneInfo(grant.time_zone),
        limits=tuple(NodeLimit(limit.dimension, limit.amount, limit.period) for limit in grant.limits),
        requests_per_minute=grant.rate.rpm,
        tokens_per_minute=grant.rate.tpm,
        concurrency=grant.rate.concurrency,
        overdraft_nanousd=grant.overdraft.max_nanousd if grant.overdraft else 0,
        pace_from_percent=grant.on_exhausted.pace_from_percent,
        page_percents=grant.on_exhausted.page_percents,
    )


def terms_of_block(block: VerifiedBlock, leaf: Grant) -> NodeTerms:
    """What one block of a capability allows: its limits, in the calendar of the grant it was issued from."""
    return NodeTerms(
        node_id=block.block_id,
        path=path_of_block(leaf.path, block.block_id),
        owner=leaf.owner,
        grant_class=leaf.grant_class,
        zone=ZoneInfo(leaf.time_zone),
        limits=_limits(block.limits),
    )


def path_of_block(grant_path: str, block_id: str) -> str:
    """How people read a block: the path of its grant and the beginning of its id."""
    return f"{grant_path}#{block_id[:12]}"


def chain_of(verified: Verified) -> Chain:
    """The blocks of a verified capability as the authority keeps count of them."""
    return Chain(
        kid=verified.kid,
        issued_at=datetime.fromtimestamp(verified.issued_at, UTC),
        blocks=tuple(
            ChainBlock(
                id=block.block_id,
                not_after=datetime.fromtimestamp(block.not_after, UTC),
                max_children=block.delegate.max_children,
                limits=_limits(block.limits),
            )
            for block in verified.blocks
        ),
    )


def _limits(limits: tuple[Limit, ...]) -> tuple[NodeLimit, ...]:
    return tuple(NodeLimit(limit.dimension, limit.amount, limit.period) for limit in limits)
