"""Budget boundaries: the most a delegator may ever hand out.

A boundary binds every write below its grant whose author's authority does not come from above that grant: its owner, and
whoever stands below. It never stands in the way of giving authority back.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import translate

from remit.grants.model import Actor, Boundary, Envelope, Grant, Problem, same_person
from remit.grants.shapes import names_outside, patterns_outside
from remit.grants.tree import Tree
from remit.grants.words import amount_text, listed, period_text
from remit.kernel.decisions import Dimension
from remit.kernel.periods import PeriodKind

Used = Mapping[tuple[str, Dimension, PeriodKind], int]
"""What is posted and held in the present period, by grant id, dimension and kind of period."""

_Found = tuple[str, str]  # field, the half of the sentence that says by how much


def boundary_problems(after: Tree, old: Grant | None, new: Grant, actor: Actor, used: Used) -> list[Problem]:
    """Where a write that hands out authority leaves a boundary that binds its author. `after` is the tree with the write."""
    problems = []
    for node in after.ancestors(new):
        boundary = node.delegation.boundary
        if boundary is None or not binds(after, node, actor):
            continue
        above = after.ancestors(node)
        helper = (
            f"the owner of `{above[-1].path}`, {above[-1].owner}, can" if above else "an owner of the organisation can"
        )
        for field, excess in [*_plain(boundary, new), *_amounts(boundary, node, old, new, used)]:
            detail = (
                f"`{new.path}` {excess}, outside the boundary of `{node.path}`; {helper} allow that: ask with a ticket"
            )
            problems.append(Problem(code="outside_boundary", path=new.path, field=field, detail=detail))
    return problems


def binds(tree: Tree, node: Grant, actor: Actor) -> bool:
    """Whether a boundary at this grant binds the author: unless their authority comes from above it."""
    above = tree.ancestors(node)
    return not actor.is_admin and not any(
        same_person(actor.name, one.owner) or one.id in actor.acts_for for one in above
    )


def raised_boundary(old: Boundary | None, new: Boundary | None) -> bool:
    """Whether a boundary was taken away or became wider in any part."""
    if old is None:
        return new is not None and new.grace_hours + _size(new.auto_approve) > 0
    if new is None:
        return True
    return (
        any(_opened(getattr(old, name), getattr(new, name)) for name in ("classes", "models", "owners"))
        or bool(names_outside(new.classes, old.classes))
        or bool(names_outside(new.owners, old.owners))
        or bool(patterns_outside(new.models, old.models))
        or any(_above(getattr(old, name), getattr(new, name)) for name in ("max_share_percent", "max_nanousd"))
        or new.grace_hours > old.grace_hours
        or _wider(old.auto_approve, new.auto_approve)
    )


def filled_in(above: Boundary, own: Boundary) -> Boundary:
    """The boundary with what it leaves open taken from the one above; grace and envelope are no silence but nothing."""
    names = ("max_share_percent", "max_nanousd", "classes", "models", "owners")
    open_ones = {name: getattr(above, name) for name in names if getattr(own, name) is None}
    return replace(own, **open_ones)


def _plain(boundary: Boundary, new: Grant) -> Iterator[_Found]:
    if boundary.classes is not None and new.grant_class not in boundary.classes:
        yield "class", f"is {new.grant_class} where only {listed(boundary.classes) or 'nothing'} may be handed out"
    outside = patterns_outside(new.shape.models, boundary.models)
    if boundary.models is not None and new.shape.models is None:
        yield "shape.models", f"names no models where only {listed(boundary.models) or 'none'} may be handed out"
    elif outside:
        yield (
            "shape.models",
            f"allows {listed(outside)} where only {listed(boundary.models or ()) or 'none'} may be handed out",
        )
    if boundary.owners is not None and not any(_matches(one, new.owner) for one in boundary.owners):
        yield "owner", f"goes to {new.owner} where only {listed(boundary.owners) or 'nobody'} may be given anything"


def _amounts(boundary: Boundary, node: Grant, old: Grant | None, new: Grant, used: Used) -> Iterator[_Found]:
    """Limits in usd: each new or raised one against the most, and against the share of what is left at this moment."""
    before = {} if old is None else {(one.dimension, one.period): one.amount for one in old.limits}
    for limit in new.limits:
        if limit.dimension != "usd" or limit.amount <= before.get((limit.dimension, limit.period), -1):
            continue
        field = f"limits.usd/{limit.period}"
        written = f"would hold {amount_text('usd', limit.amount)} {period_text(limit.period)}"
        if boundary.max_nanousd is not None and limit.amount > boundary.max_nanousd:
            yield field, f"{written}, more than {amount_text('usd', boundary.max_nanousd)}"
        own = [one for one in node.limits if one.dimension == "usd"]
        own = [one for one in own if one.period == limit.period] or own
        if boundary.max_share_percent is None or not own:
            continue
        left = min(max(0, one.amount - used.get((node.id, "usd", one.period), 0)) for one in own)
        most = left * boundary.max_share_percent // 100
        if limit.amount > most:
            share = (
                f"{boundary.max_share_percent} percent of the {amount_text('usd', left)} that `{node.path}` has left"
            )
            yield field, f"{written}, more than {amount_text('usd', most)}, which is {share}"
    if boundary.max_nanousd is not None and not any(one.dimension == "usd" for one in new.limits):
        yield (
            "limits",
            f"states no usd limit where at most {amount_text('usd', boundary.max_nanousd)} may be handed out",
        )


def _matches(pattern: str, owner: str) -> bool:
    return re.fullmatch(translate(pattern.casefold()), owner.casefold()) is not None


def _opened(old: object | None, new: object | None) -> bool:
    return old is not None and new is None


def _above(old: int | None, new: int | None) -> bool:
    return old is not None and (new is None or new > old)


def _size(envelope: Envelope | None) -> int:
    return 0 if envelope is None else sum(_parts(envelope))


def _parts(envelope: Envelope) -> tuple[int, ...]:
    return (
        envelope.max_increase_percent,
        envelope.max_nanousd,
        envelope.max_renewals,
        envelope.max_term_days,
    )


def _wider(old: Envelope | None, new: Envelope | None) -> bool:
    return any(
        after > before for before, after in zip(_parts(old or Envelope()), _parts(new or Envelope()), strict=True)
    )


def within_envelope(envelope: Envelope, expires_at: datetime, now: datetime) -> bool:
    """Whether a renewal to that expiry is short enough."""
    return expires_at <= now + timedelta(days=envelope.max_term_days)
