"""Who may write what: authority flows down the tree, and nobody raises what they were given.

The owner of a grant, or of anything above it, may create below it and narrow it. Raising it takes the owner of
something above it. An admin may do all, and alone creates roots. An org_owner of a grant may do there and below what an
admin may; whoever may end things suspends and revokes, and nothing else.
"""

from dataclasses import replace

from remit.grants.boundary import raised_boundary
from remit.grants.model import Actor, Delegation, Grant, Problem, Rate, Shape, same_person
from remit.grants.roles import may, reaches
from remit.grants.shapes import names_outside, patterns_outside
from remit.grants.tree import Tree
from remit.grants.words import listed


def may_create(tree: Tree, actor: Actor, grant: Grant) -> list[Problem]:
    """Whether the actor may create this grant below its parent, which stands in the tree."""
    if _owns_above(tree, actor, grant):
        return []
    return [_not_permitted(tree, actor, grant, f"create `{grant.path}`")]


def may_change(tree: Tree, actor: Actor, old: Grant, new: Grant) -> list[Problem]:
    """Whether the actor may turn the old revision into the new one."""
    path = tree.path_to(old)
    if _owns_above(tree, actor, old) or (_only_ends(old, new) and may(actor, "end", path)):
        return []
    if not same_person(actor.name, old.owner) or not reaches(actor, path):
        return [_not_permitted(tree, actor, old, f"change `{old.path}`")]
    raised = raised_fields(old, new)
    return [_not_permitted(tree, actor, old, f"raise {listed(raised)} of `{old.path}`")] if raised else []


def stands_above(tree: Tree, actor: Actor, grant: Grant) -> bool:
    """Whether the actor's authority over a grant of the tree comes from above it."""
    return _owns_above(tree, actor, grant)


def _owns_above(tree: Tree, actor: Actor, grant: Grant) -> bool:
    path = tree.path_to(grant)
    return may(actor, "write_grants", path) or (
        reaches(actor, path)
        and any(same_person(actor.name, node.owner) or node.id in actor.acts_for for node in path[:-1])
    )


def _only_ends(old: Grant, new: Grant) -> bool:
    """Whether a change does no more than suspend or revoke."""
    ended = replace(old, status=new.status, revision=new.revision, epoch=new.epoch)
    return new.status in ("suspended", "revoked") and new == ended


def _not_permitted(tree: Tree, actor: Actor, grant: Grant, deed: str) -> Problem:
    above = tree.ancestors(grant)
    helper = f"the owner of `{above[-1].path}`, {above[-1].owner}, or an admin" if above else "an admin"
    if not reaches(actor, tree.path_to(grant)):
        helper = "a token that is not held to another grant"
    detail = f"`{actor.name}` may not {deed}: that takes {helper}"
    return Problem(code="not_permitted", path=grant.path, detail=detail)


def raised_fields(old: Grant, new: Grant) -> list[str]:
    """The fields in which the new revision grants more, or what cannot be said to grant less.

    A new owner, another time zone (its periods begin afresh) and another automatic renewal tier count as more.
    """
    scope_before, scope_after = old.scope.labels(), new.scope.labels()
    raised = {
        "owner": not same_person(old.owner, new.owner),
        "scope": any(scope_after.get(name) != value for name, value in scope_before.items()),
        "class": old.grant_class == "experimentation" and new.grant_class == "production",
        "time_zone": old.time_zone != new.time_zone,
        "limits": _raises_limits(old, new),
        "rate": _raises_rate(old.rate, new.rate),
        "shape": _raises_shape(old.shape, new.shape),
        "data_classes": _opens(old.data_classes, new.data_classes)
        or bool(names_outside(new.data_classes, old.data_classes)),
        "required_tags": bool(names_outside(old.required_tags, new.required_tags)),
        "delegation": _raises_delegation(old.delegation, new.delegation),
        "overdraft": _above(_escrow(new), _escrow(old)),
        "on_exhausted": _paces_less(old, new),
        "starts_at": new.starts_at < old.starts_at,
        "expires_at": new.expires_at > old.expires_at,
        "renewal": old.renewal.auto_tier != new.renewal.auto_tier,
        "status": new.status == "active" and old.status != "active",
    }
    return [name for name, is_raised in raised.items() if is_raised]


def _escrow(grant: Grant) -> int:
    return grant.overdraft.max_nanousd if grant.overdraft else 0


def _paces_less(old: Grant, new: Grant) -> bool:
    """Whether more can be spent at once than the pace allowed."""
    return _above(new.on_exhausted.pace_from_percent, old.on_exhausted.pace_from_percent)


def _above(new: int | None, old: int | None) -> bool:
    """Whether a bound was raised or removed."""
    return old is not None and (new is None or new > old)


def _opens(old: object | None, new: object | None) -> bool:
    """Whether a restriction was there and is gone."""
    return old is not None and new is None


def _raises_limits(old: Grant, new: Grant) -> bool:
    amounts = {(limit.dimension, limit.period): limit.amount for limit in new.limits}
    return any(_above(amounts.get((limit.dimension, limit.period)), limit.amount) for limit in old.limits)


def _raises_rate(old: Rate, new: Rate) -> bool:
    return any(_above(getattr(new, name), getattr(old, name)) for name in ("rpm", "tpm", "concurrency"))


def _raises_shape(old: Shape, new: Shape) -> bool:
    return (
        any(_opens(getattr(old, name), getattr(new, name)) for name in ("models", "vendors", "surfaces"))
        or bool(patterns_outside(new.models, old.models))
        or bool(names_outside(new.vendors, old.vendors))
        or bool(names_outside(new.surfaces, old.surfaces))
        or any(_above(getattr(new, name), getattr(old, name)) for name in ("max_input_tokens", "max_output_tokens"))
        or (old.tools is False and new.tools is not False)
    )


def _raises_delegation(old: Delegation, new: Delegation) -> bool:
    return (
        (new.allowed and not old.allowed)
        or new.overcommit_percent > old.overcommit_percent
        or _above(new.max_depth, old.max_depth)
        or _above(new.max_term_days, old.max_term_days)
        or raised_boundary(old.boundary, new.boundary)
    )
