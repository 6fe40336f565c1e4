"""Whether a write hands out more than the boundaries that bind its author allow.

A boundary binds what is written below its grant, unless the author's authority comes from above that grant: an owner of
something above it, whoever acts for such an owner, an admin. It bounds what is handed out and never holds up what is
given back: a new grant, one that comes to life or lives longer is judged in full, of any other change only what it raises.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from remit.grants.boundary import owner_within
from remit.grants.effective import effective
from remit.grants.model import Actor, Boundary, Grant, Limit, Problem, same_person
from remit.grants.permissions import stands_above
from remit.grants.shapes import patterns_outside
from remit.grants.shares import amount_with_escrow, is_comparable, longest_rank, periods_touched
from remit.grants.tree import Tree
from remit.grants.usage import Usage
from remit.grants.words import amount_text, listed, period_text

ReadUsage = Callable[[Collection[str]], Usage]
"""Reads, inside the unit of work of the write, what is used of the limits of these grants."""

_Found = tuple[str, str]  # field, the half of the sentence that says by how much


@dataclass(frozen=True, slots=True)
class _Write:
    """One written grant, before (None for a new one) and after, and the trees it stands in."""

    before: Tree
    after: Tree
    old: Grant | None
    new: Grant

    @property
    def is_anew(self) -> bool:
        """Whether the grant as a whole is handed out by this write, whatever it says."""
        old = self.old
        return (
            old is None
            or self.new.expires_at > old.expires_at
            or (self.new.status == "active" and old.status != "active")
        )


def boundary_problems(tree: Tree, grants: Collection[Grant], actor: Actor, read: ReadUsage) -> list[Problem]:
    """Where these writes, made together, leave a boundary that binds their author. `tree` is the one before them."""
    after = tree.with_grants(grants)
    bound = [
        (_Write(tree, after, tree.find(grant.id), grant), holder)
        for grant in grants
        if grant.status != "revoked" and tree.find(grant.id) != grant
        for holder in after.ancestors(grant)
        if holder.delegation.boundary is not None and binds(tree, after, holder, actor)
    ]
    if not bound:
        return []
    usage = read({holder.id for _, holder in bound})
    return [problem for write, holder in bound for problem in _problems(write, holder, usage)]


def binds(tree: Tree, after: Tree, holder: Grant, actor: Actor) -> bool:
    """Whether a boundary at this grant binds the author. Authority is what is stored, not what the write itself gives."""
    top = holder
    while tree.find(top.id) is None and top.parent_id is not None:
        parent = after[top.parent_id]
        if tree.find(parent.id) is not None:
            break
        top = parent
    stored = tree if tree.find(top.id) is not None else tree.with_grants([top])
    return not stands_above(stored, actor, stored[top.id])


def most_of_share(percent: int, left: int) -> int:
    """The share of what is left, in whole units: what does not divide is not handed out."""
    return left * percent // 100


def handed(tree: Tree, holder: Grant, grant: Grant, limit: Limit) -> int | None:
    """The most that a grant below the holder can spend in one period of the holder's usd limit; None where nothing says.

    It is the least that the grant, or one between the two, says; periods are counted as for shares.
    """
    longest = longest_rank((holder,), "usd")
    figures = []
    for node in tree.path_to(grant)[holder.depth :]:
        own = [one for one in node.limits if one.dimension == "usd"]
        if any(is_comparable(one.period, limit.period, longest) for one in own):
            figures.append(
                min(amount_with_escrow(node, one) * periods_touched(node, one.period, limit.period) for one in own)
            )
    return min(figures, default=None)


def usd_limits(grant: Grant) -> list[Limit]:
    """The grant's limits of money."""
    return [one for one in grant.limits if one.dimension == "usd"]


def who_may_allow(tree: Tree, holder: Grant) -> str:
    """Whom to ask for what a boundary does not allow."""
    above = tree.ancestors(holder)
    return f"{above[-1].owner}, the owner of `{above[-1].path}`" if above else "an admin"


def _problems(write: _Write, holder: Grant, usage: Usage) -> Iterator[Problem]:
    boundary = holder.delegation.boundary
    assert boundary is not None
    for field, excess in [*_words(write, boundary), *_amounts(write, holder, boundary, usage)]:
        detail = (
            f"`{write.new.path}` {excess}; that is outside the boundary of `{holder.path}`, "
            f"and {who_may_allow(write.after, holder)}, can allow it"
        )
        yield Problem(code="outside_boundary", path=write.new.path, field=field, detail=detail)


def _words(write: _Write, boundary: Boundary) -> Iterator[_Found]:
    """Class, models and owner."""
    old, new = write.old, write.new
    anew = old is None or write.is_anew
    classes, owners = boundary.classes, boundary.owners
    if classes is not None and new.grant_class not in classes and (anew or new.grant_class != _class_of(old)):
        yield "class", f"is {new.grant_class}, and only {listed(classes) or 'nothing'} may be handed out"
    if boundary.models is not None and (anew or (old is not None and _opens_models(old, new))):
        models = effective(write.after.path_to(new)).shape.models
        allowed = f"only {listed(f'`{one}`' for one in boundary.models) or 'none'} may be handed out"
        if models is None:
            yield "shape.models", f"names no models, and {allowed}"
        elif outside := patterns_outside(models, boundary.models):
            yield "shape.models", f"allows {listed(f'`{one}`' for one in outside)}, and {allowed}"
    handed_over = anew or (old is not None and not same_person(old.owner, new.owner))
    if owners is not None and handed_over and not any(owner_within(new.owner, pattern) for pattern in owners):
        yield "owner", f"belongs to {new.owner}, and only {listed(owners) or 'nobody'} may be handed anything"


def _class_of(grant: Grant | None) -> str | None:
    return None if grant is None else grant.grant_class


def _opens_models(old: Grant, new: Grant) -> bool:
    before, after = old.shape.models, new.shape.models
    return (before is not None and after is None) or bool(patterns_outside(after, before))


def _amounts(write: _Write, holder: Grant, boundary: Boundary, usage: Usage) -> Iterator[_Found]:
    """Money, in every period in which the holder has a limit of it."""
    if boundary.max_share_percent is None and boundary.max_nanousd is None:
        return
    for limit in usd_limits(holder):
        now = handed(write.after, holder, write.new, limit)
        if write.old is not None and not write.is_anew and not _more(now, _before(write, holder, limit)):
            continue
        field = f"limits.usd/{limit.period}"
        said = "states no usd limit" if now is None else f"can spend {amount_text('usd', now)}"
        if boundary.max_nanousd is not None and _more(now, boundary.max_nanousd):
            most = f"{amount_text('usd', boundary.max_nanousd)} {period_text(limit.period)}"
            yield field, f"{said}, and at most {most} may be handed to one grant"
        percent = boundary.max_share_percent
        left = usage.left(holder, limit)
        if percent is not None and _more(now, most_of_share(percent, left)):
            most = f"{amount_text('usd', most_of_share(percent, left))} {period_text(limit.period)}"
            share = f"{percent} percent of the {amount_text('usd', left)} it has left"
            yield field, f"{said}, and at most {most} may be handed to one grant, {share}"


def _before(write: _Write, holder: Grant, limit: Limit) -> int | None:
    assert write.old is not None
    return handed(write.before, write.before.find(holder.id) or holder, write.old, limit)


def _more(amount: int | None, than: int | None) -> bool:
    """Whether an amount is larger; None is without bound."""
    return than is not None and (amount is None or amount > than)
