"""What the routes of handing on take and give out: splits, transfers, what is taken back, and why."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from remit.api.answers import BoundaryGiven, Given, GrantGiven
from remit.api.bodies import Amount, Body, Instant, LimitBody, Reason, Text, Texts
from remit.capabilities.model import LimitPeriod
from remit.grants.division import HandedOut, Part
from remit.grants.model import Limit
from remit.grants.serialise import to_plain
from remit.grants.why import Why
from remit.kernel.decisions import Dimension, GrantClass


class PartBody(Body, frozen=True, kw_only=True):
    """One child of a split: the last segment of its path, its owner, and `amount` (nano-USD) or `percent` of what is free."""

    name: Text
    owner: Text
    amount: Amount | None = None
    percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    grant_class: GrantClass | None = msgspec.field(name="class", default=None)
    expires_at: Instant | None = None
    models: Texts | None = None

    def part(self) -> Part:
        expires_at = None if self.expires_at is None else self.expires_at.astimezone(UTC)
        return Part(**{**self.parts(), "expires_at": expires_at})


class SplitGrant(Body, frozen=True, kw_only=True):
    """Several children in one write. `period` says which usd limit is divided, where the grant has more than one."""

    parts_: Annotated[tuple[PartBody, ...], Meta(min_length=1, max_length=200)] = msgspec.field(name="parts")
    period: LimitPeriod | None = None
    reason: Reason


class TransferLimit(Body, frozen=True, kw_only=True):
    """How much of which limit goes to which sibling (id or path)."""

    to: Text
    limit: LimitBody
    reason: Reason

    def moved(self) -> Limit:
        return Limit(self.limit.dimension, self.limit.amount, self.limit.period)


class ReclaimGrant(Body, frozen=True, kw_only=True):
    """Null takes back of every limit what is neither used nor handed on; a limit takes that much of it."""

    limit: LimitBody | None = None
    reason: Reason

    def part(self) -> Limit | None:
        one = self.limit
        return None if one is None else Limit(one.dimension, one.amount, one.period)


class HandedOutGiven(Given, frozen=True, kw_only=True):
    """How much of one limit live children hold, how much they do not, and the same as a sentence."""

    dimension: Dimension
    period: LimitPeriod
    limit: int
    handed_out: int
    left: int
    overcommit_percent: int
    text: str


class SplitGiven(Given, frozen=True, kw_only=True):
    """The new children, and what is now handed out of the grant that was split."""

    grants: list[GrantGiven]
    handed_out: list[HandedOutGiven]


class MovedGiven(Given, frozen=True, kw_only=True):
    """Both grants as they are now."""

    source: GrantGiven
    target: GrantGiven


class NodeGiven(Given, frozen=True, kw_only=True):
    """A grant on the way from the root (level 1); path and owner are null for one that the asker does not see."""

    level: int
    path: str | None
    owner: str | None


class LimitLineGiven(Given, frozen=True, kw_only=True):
    """One limit now. `left` includes escrowed overdraft; `binds` is true for the least of its dimension."""

    node: NodeGiven
    dimension: Dimension
    period: LimitPeriod
    limit: int
    posted: int
    held: int
    overdraft: int
    borrowed: int
    left: int
    binds: bool


class RestrictionGiven(Given, frozen=True, kw_only=True):
    """What one grant says about requests, in the words of the grants file."""

    node: NodeGiven
    field: str
    says: str


class BoundaryLineGiven(Given, frozen=True, kw_only=True):
    """A boundary on the way; `most` has what may be handed to one grant now, as pairs of period and nano-USD."""

    node: NodeGiven
    boundary: BoundaryGiven
    most: list[tuple[LimitPeriod, int]]


class HandOnGiven(HandedOutGiven, frozen=True, kw_only=True):
    """What may still be handed out below; `most_to_one` by the boundaries that bind the grant's owner, null for none."""

    left_with_overcommit: int
    most_to_one: int | None


class VerdictGiven(Given, frozen=True, kw_only=True):
    """Whether the call asked about would pass the grants, and what is first in its way."""

    passes: bool
    code: str | None
    detail: str
    node: NodeGiven | None


class WhyGiven(Given, frozen=True, kw_only=True):
    """Every limit, restriction and boundary from the root to the grant, at one instant."""

    path: str
    at: datetime
    spendable_nanousd: int | None
    limits: list[LimitLineGiven]
    restrictions: list[RestrictionGiven]
    boundaries: list[BoundaryLineGiven]
    hand_on: list[HandOnGiven]
    hands_on: bool
    levels_below: int | None
    verdict: VerdictGiven


def why_given(answer: Why) -> WhyGiven:
    """The answer as a route gives it."""
    return msgspec.convert(to_plain(asdict(answer)), WhyGiven)


def handed_out_given(one: HandedOut) -> HandedOutGiven:
    """One limit of a grant that was split."""
    return HandedOutGiven(
        dimension=one.limit.dimension,
        period=msgspec.convert(one.limit.period, LimitPeriod),
        limit=one.limit.amount,
        handed_out=one.amount,
        left=one.left,
        overcommit_percent=one.overcommit_percent,
        text=one.text(),
    )
