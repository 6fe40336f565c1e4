"""Dividing what a grant holds: split it among new children, move a part to a sibling, take the unspent back.

Amounts are whole units (nano-USD, tokens, requests): what a share does not divide evenly stays with the parent.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from remit.grants.boundary import Used
from remit.grants.edits import NewGrant, resolve_new
from remit.grants.model import Grant, Limit, Problem, Shape
from remit.grants.serialise import to_plain
from remit.grants.shares import shares_of
from remit.grants.tree import Tree
from remit.grants.words import amount_text, limit_text, period_text
from remit.kernel.decisions import GrantClass


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
        """`$80.00 of $100.00 per month handed out`, and by how much too much, where that is allowed and done."""
        handed = amount_text(self.limit.dimension, self.amount)
        over = self.amount - self.limit.amount
        beyond = f", {amount_text(self.limit.dimension, over)} more than it holds" if over > 0 else ""
        return f"{handed} of {limit_text(self.limit)} handed out{beyond}"


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


def split_grants(
    tree: Tree, parent: Grant, parts: Sequence[Part], make_id: Callable[[datetime], str], now: datetime
) -> list[Grant] | Problem:
    """The new children of a split, each with the period of the parent's usd limit; or what is wrong with the parts."""
    money = [one for one in handed_out(tree, parent, now) if one.limit.dimension == "usd"]
    if len(money) != 1:
        detail = f"`{parent.path}` has {len(money)} usd limits; a split divides the one that a grant has"
        return Problem(code="split_unclear", path=parent.path, field="limits", detail=detail)
    (whole,) = money
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


def moved_limit(tree: Tree, source_ref: str, target_ref: str, part: Limit, used: Used) -> tuple[Grant, Grant] | Problem:
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
            detail = f"`{grant.path}` has no limit in {part.dimension} {period_text(part.period)}"
            return Problem(code="limit_unknown", path=grant.path, field="limits", detail=detail)
    given, spent = _limit(source, part), used.get((source.id, part.dimension, part.period), 0)
    assert given is not None
    unspent = max(0, given.amount - spent)
    if not 0 < part.amount <= unspent:
        detail = (
            f"`{source.path}` has {amount_text(part.dimension, unspent)} unspent {period_text(part.period)},"
            f" and {amount_text(part.dimension, part.amount)} cannot be moved from it"
        )
        return Problem(code="not_unspent", path=source.path, field="amount", detail=detail)
    return _with(source, part, -part.amount), _with(target, part, part.amount)


def reclaimed(grant: Grant, used: Used) -> Grant:
    """The grant with every limit at what is posted and held of it, where that is less."""
    limits = tuple(
        replace(one, amount=min(one.amount, used.get((grant.id, one.dimension, one.period), 0))) for one in grant.limits
    )
    return grant if limits == grant.limits else replace(grant, limits=limits, revision=grant.revision + 1)


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
