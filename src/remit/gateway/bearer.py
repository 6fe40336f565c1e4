"""What a policy lets bearer capabilities be: whoever has one can spend it, so neither its amount nor its life may be large."""

from dataclasses import dataclass

from remit.capabilities.chain import TTL_LEEWAY_SECONDS
from remit.capabilities.model import Verified
from remit.gateway.snapshot import Leaf
from remit.kernel.money import format_usd


@dataclass(frozen=True, slots=True)
class BearerPolicy:
    """The most a capability that demands no proof may be worth, in nano-USD, and live, in seconds. None forbids nothing."""

    max_nanousd: int | None = None
    max_ttl_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Which rule forbids a capability, and a sentence that says what would be allowed."""

    policy_id: str
    detail: str


def forbidden(policy: BearerPolicy, verified: Verified, leaf: Leaf) -> Forbidden | None:
    """The first rule that forbids this capability as a bearer's; access keys are bearer secrets as well.

    Its worth is the least money limit of its blocks and its grants, an overdraft that can be drawn included. Its life is
    the time in which it can be used at all: from `issued_at` or `not_before`, whichever is later, to `not_after`. Both
    ends are enforced, so a holder who states a shorter life has one; when a holder's block was made cannot be known.
    """
    if verified.confirmations:
        return None
    allowed = policy.max_nanousd
    if allowed is not None and ((worth := _worth_nanousd(verified, leaf)) is None or worth > allowed):
        has = "has no limit in money" if worth is None else f"has {format_usd(worth)} as its least limit"
        detail = f"a capability without proof of possession may be worth {format_usd(allowed)} at most, this one {has}"
        return Forbidden("gateway.bearer.max_usd", detail)
    lifetime = verified.not_after - max(verified.issued_at, verified.not_before)
    # The start of a holder's block is set this much early, for clocks that differ.
    if policy.max_ttl_seconds is not None and lifetime > policy.max_ttl_seconds + TTL_LEEWAY_SECONDS:
        most = f"a capability without proof of possession may live {policy.max_ttl_seconds:,} seconds at most"
        return Forbidden("gateway.bearer.max_ttl", f"{most}, this one lives {lifetime:,}")
    return None


def _worth_nanousd(verified: Verified, leaf: Leaf) -> int | None:
    """The least money limit, each with what its node may draw beyond it; None where there is none."""
    overdraws = leaf.grant.grant_class == "production"
    amounts = [
        limit.amount + (node.overdraft_nanousd if overdraws else 0)
        for node in leaf.terms_with(verified.blocks)
        for limit in node.limits
        if limit.dimension == "usd"
    ]
    return min(amounts, default=None)
