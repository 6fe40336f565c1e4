"""Dividing what a grant holds: split it among new children, move a part to a sibling, take the unspent back.

Amounts are whole units (nano-USD, tokens, requests): what a share does not divide evenly stays with the parent.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from remit.grants.edits import NewGrant, resolve_new
from remit.grants.model import Actor, Grant, Limit, Problem, Shape, same_person
from remit.grants.outside import ReadUsage, usd_limits
from remit.grants.permissions import raised_fields
from remit.grants.serialise import to_plain
from remit.grants.shares import amount_with_escrow, is_comparable, longest_rank, shares_of
from remit.grants.tree import Tree
from remit.grants.usage import Usage
from remit.grants.words import amount_text, limit_text, listed, period_text
from remit.kernel.decisions import GrantClass
from remit.kernel.periods import PeriodKind

# In what a sibling must not allow more than the grant whose owner gives to it: money stays as narrow as it was given.
_KEPT_NARROW = ("class", "shape", "data_classes", "required_tags", "expires_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One grant of a split: its last path segment, its owner, and either an amount or a percentage of what is left to divide."""

    name: str
    owner: str
    amount: int | None = None
    percent: int | None = None
    grant_class: GrantClass | None = None
    expires_at: datetime | None = None
    models: tuple[str, ...] | None = None

    def body(self) -> dict[str, Any]:
        """JSON-able form, part of what an idempotency key remembers."""
        return {name: to_plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOut:
    """How much of one limit of a grant its live children hold, in the limit's own unit."""

    limit: Limit
    amount: int
    overcommit_percent: int

    @property
    def left(self) -> int:
        """What may still be handed out without overcommitting; 0 where more than all of it is."""
        return max(0, self.limit.amount - self.amount)

    def text(self) -> str:
        """`$120.00 of $100.00 per month handed out, 20 % overcommitted`, or `..., $20.00 not handed out`."""
        dimension, whole = self.limit.dimension, self.limit.amount
        words = f"{amount_text(dimension, self.amount)} of {limit_text(self.limit)} handed out"
        if self.amount <= whole:
            return f"{words}, {amount_text(dimension, self.left)} not handed out"
        over = self.amount - whole
        share = f"{-(-over * 100 // whole)} %" if whole else amount_text(dimension, over)
        return f"{words}, {share} overcommitted"


def handed_out(tree: Tree, grant: Grant, now: datetime) -> list[HandedOut]:
    """For each limit of a grant, what its live children count for (see `shares.py`)."""
    return [
        HandedOut(
            limit=limit,
            amount=sum(share.amount for share in shares_of(tree, grant, limit, now)),
            overcommit_percent=grant.delegation.overcommit_percent,
        )
        for limit in grant.limits
    ]


def split_grants(  # noqa: PLR0917 - one parameter per part of the split, and what it is made in
    tree: Tree,
    parent: Grant,
    parts: Sequence[Part],
    period: PeriodKind | None,
    make_id: Callable[[datetime], str],
    now: datetime,
) -> list[Grant] | Problem:
    """The new children of a split, or what is wrong with the parts.

    They divide the parent's usd limit of that period, and get limits of the same period; without a period the parent has
    one usd limit. Percentages are of what is not handed out before the split.
    """
    known = usd_limits(parent)
    wanted = [one for one in known if period in (None, one.period)]
    if len(wanted) != 1:
        has = listed(limit_text(one) for one in known) or "no usd limit"
        detail = f"`{parent.path}` has {has}; a split divides one usd limit, so say of which period"
        return Problem(code="split_unclear", path=parent.path, field="period", detail=detail)
    (whole,) = (one for one in handed_out(tree, parent, now) if one.limit == wanted[0])
    if not parts or sum(part.percent or 0 for part in parts) > 100:
        return Problem(
            code="split_invalid", path=parent.path, detail="a split has parts, and shares of at most 100 percent"
        )
    grants: list[Grant] = []
    for part in parts:
        if (part.amount is None) == (part.percent is None):
            detail = f"the part `{part.name}` states either an amount or a percentage"
            return Problem(code="split_invalid", path=parent.path, detail=detail)
        amount = part.amount if part.amount is not None else whole.left * (part.percent or 0) // 100
        new = NewGrant(
            path=f"{parent.path}/{part.name}",
            owner=part.owner,
            grant_class=part.grant_class,
            expires_at=part.expires_at,
            limits=(Limit("usd", amount, whole.limit.period),),
            shape=Shape(models=part.models),
        )
        grant = resolve_new(new, parent, make_id(now), now)
        if isinstance(grant, Problem):
            return grant
        grants.append(grant)
    if len({grant.path for grant in grants}) != len(grants):
        return Problem(code="split_invalid", path=parent.path, detail="two parts have one name")
    return grants


def moved_limit(
    tree: Tree, source_ref: str, target_ref: str, part: Limit, read: ReadUsage
) -> tuple[Grant, Grant] | Problem:
    """The two revisions of a move between siblings; their limits sum to what they did before."""
    found = [tree.find(ref) for ref in (source_ref, target_ref)]
    for ref, one in zip((source_ref, target_ref), found, strict=True):
        if one is None:
            return Problem(code="grant_unknown", path=ref, detail=f"there is no grant `{ref}`")
    source, target = (one for one in found if one is not None)
    if source.id == target.id or source.parent_id is None or source.parent_id != target.parent_id:
        detail = f"`{source.path}` and `{target.path}` are no siblings"
        return Problem(code="not_siblings", path=source.path, detail=detail)
    for grant in (source, target):
        if _limit(grant, part) is None:
            return _no_such_limit(grant, part)
    given = _limit(source, part)
    assert given is not None
    unspent = read([source.id]).left(source, given)
    if not 0 < part.amount <= unspent:
        return _not_unspent(source, part, unspent, "moved")
    return _with(source, part, -part.amount), _with(target, part, part.amount)


def giver_of(actor: Actor, source: Grant, target: Grant) -> Actor:
    """The author of a move, with the authority over both siblings that giving away one's own carries.

    Only to a sibling that is no wider than the source: what was given for small models must not come to pay for large ones.
    """
    owns = same_person(actor.name, source.owner) or source.id in actor.acts_for
    wider = set(raised_fields(source, target)) & set(_KEPT_NARROW)
    if not owns or wider or source.parent_id is None:
        return actor
    return replace(actor, acts_for=actor.acts_for | {source.parent_id})


def reclaimed(tree: Tree, grant: Grant, part: Limit | None, usage: Usage, now: datetime) -> Grant | Problem:
    """The grant with its limits lowered: one of them by an amount, or without a part each to the least it can be.

    That is what is posted and held, and what its own live children hold: theirs is taken back from them first.
    """
    if part is None:
        limits = tuple(
            replace(one, amount=min(one.amount, _least(tree, grant, one, usage, now))) for one in grant.limits
        )
        return grant if limits == grant.limits else replace(grant, limits=limits, revision=grant.revision + 1)
    own = _limit(grant, part)
    if own is None:
        return _no_such_limit(grant, part)
    free = max(0, own.amount - _least(tree, grant, own, usage, now))
    return (
        _with(grant, part, -part.amount) if 0 < part.amount <= free else _not_unspent(grant, part, free, "taken back")
    )


def _least(tree: Tree, grant: Grant, limit: Limit, usage: Usage, now: datetime) -> int:
    """The least a limit can be lowered to without undoing what was used of it or handed on."""
    handed = sum(share.amount for share in shares_of(tree, grant, limit, now))
    longest = longest_rank(tree.path_to(grant), limit.dimension)
    single = [
        amount_with_escrow(node, one)
        for node in tree.live_below(grant.id, now)
        for one in node.limits
        if one.dimension == limit.dimension and is_comparable(one.period, limit.period, longest)
    ]
    covered = -(-handed * 100 // (100 + grant.delegation.overcommit_percent))
    return max([usage.taken(grant, limit), covered, *single])


def _no_such_limit(grant: Grant, part: Limit) -> Problem:
    detail = f"`{grant.path}` has no limit in {part.dimension} {period_text(part.period)}"
    return Problem(code="limit_unknown", path=grant.path, field="limits", detail=detail)


def _not_unspent(grant: Grant, part: Limit, unspent: int, deed: str) -> Problem:
    detail = (
        f"`{grant.path}` has {amount_text(part.dimension, unspent)} {period_text(part.period)} that is neither used nor "
        f"handed on, and {amount_text(part.dimension, part.amount)} cannot be {deed}"
    )
    return Problem(code="not_unspent", path=grant.path, field="amount", detail=detail)


def _limit(grant: Grant, like: Limit) -> Limit | None:
    return next((one for one in grant.limits if (one.dimension, one.period) == (like.dimension, like.period)), None)


def _with(grant: Grant, like: Limit, change: int) -> Grant:
    limits = tuple(
        replace(one, amount=one.amount + change)
        if (one.dimension, one.period) == (like.dimension, like.period)
        else one
        for one in grant.limits
    )
    return replace(grant, limits=limits, revision=grant.revision + 1)
