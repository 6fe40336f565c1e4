"""Whether a child's authority is a subset of everything above it (I16)."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from remit.grants.boundary import filled_in, raised_boundary
from remit.grants.effective import EffectiveGrant, effective
from remit.grants.model import Boundary, Grant, Problem
from remit.grants.shapes import names_outside, patterns_outside
from remit.grants.shares import amount_with_escrow, is_comparable, longest_rank
from remit.grants.tree import Tree
from remit.grants.words import amount_text, instant_text, limit_text, listed, period_text

_Found = tuple[str, str, str]  # code, field, sentence


def containment_problems(tree: Tree, grant: Grant) -> list[Problem]:
    """Where the grant reaches beyond its ancestors; empty for a root."""
    ancestors = tree.ancestors(grant)
    if not ancestors:
        return []
    above = effective(ancestors)
    checks = (_class, _scope, _shape, _data_classes, _life, _delegation, _rate, _limits)
    return [
        Problem(code=code, path=grant.path, field=field, detail=sentence)
        for check in checks
        for code, field, sentence in check(grant, above)
    ]


def term_problems(tree: Tree, grant: Grant, now: datetime) -> list[Problem]:
    """Whether a newly written expiry lies further ahead than the ancestors let it.

    The term runs from the write, or from the start of a grant that starts later, so that a grant can be renewed
    again and again, each time for no longer than the term.
    """
    problems = []
    for node in tree.ancestors(grant):
        days = node.delegation.max_term_days
        start = max(now, grant.starts_at)
        if days is not None and grant.expires_at > start + timedelta(days=days):
            latest = instant_text(start + timedelta(days=days))
            problems.append(
                Problem(
                    code="term_exceeded",
                    path=grant.path,
                    field="expires_at",
                    detail=f"`{grant.path}` would expire at {instant_text(grant.expires_at)}, and `{node.path}` hands on "
                    f"authority for at most {days} days, to {latest}",
                )
            )
    return problems


def _class(grant: Grant, above: EffectiveGrant) -> Iterator[_Found]:
    # Experiments must not become production authority; a production grant may pay for experiments.
    if grant.grant_class == "production" and above.grant_class == "experimentation":
        sentence = f"`{grant.path}` is production under `{above.leaf.path}`, which is experimentation"
        yield "class_not_contained", "class", sentence


def _scope(grant: Grant, above: EffectiveGrant) -> Iterator[_Found]:
    fixed = above.scope.labels()
    for name, value in grant.scope.labels().items():
        if fixed.get(name, value) != value:
            sentence = f"`{grant.path}` says {name} `{value}`, and `{above.leaf.path}` fixes it as `{fixed[name]}`"
            yield "scope_not_contained", f"scope.{name}", sentence


def _shape(grant: Grant, above: EffectiveGrant) -> Iterator[_Found]:
    mine, wide = grant.shape, above.shape
    outside = {
        "models": patterns_outside(mine.models, wide.models),
        "vendors": names_outside(mine.vendors, wide.vendors),
        "surfaces": names_outside(mine.surfaces, wide.surfaces),
    }
    for name, items in outside.items():
        if items:
            named = listed(f"`{item}`" for item in items)
            sentence = f"`{grant.path}` allows {name} {named}, which `{above.leaf.path}` does not allow"
            yield "shape_not_contained", f"shape.{name}", sentence
    for name in ("max_input_tokens", "max_output_tokens"):
        own, bound = getattr(mine, name), getattr(wide, name)
        if own is not None and bound is not None and own > bound:
            sentence = f"`{grant.path}` allows {name} {own:,}, and `{above.leaf.path}` allows {bound:,}"
            yield "shape_not_contained", f"shape.{name}", sentence
    if mine.tools and wide.tools is False:
        yield "shape_not_contained", "shape.tools", f"`{grant.path}` allows tools, and `{above.leaf.path}` does not"


def _data_classes(grant: Grant, above: EffectiveGrant) -> Iterator[_Found]:
    outside = names_outside(grant.data_classes, above.data_classes)
    if outside:
        named = listed(f"`{item}`" for item in outside)
        sentence = f"`{grant.path}` allows data classes {named}, which `{above.leaf.path}` does not allow"
        yield "data_classes_not_contained", "data_classes", sentence


def _life(grant: Grant, above: EffectiveGrant) -> Iterator[_Found]:
    if grant.expires_at > above.expires_at:
        node = min(above.nodes, key=lambda one: one.expires_at)
        sentence = (
            f"`{grant.path}` expires at {instant_text(grant.expires_at)}, "
            f"after `{node.path}` at {instant_text(node.expires_at)}"
        )
        yield "expires_after_parent", "expires_at", sentence
    if grant.starts_at < above.starts_at:
        node = max(above.nodes, key=lambda one: one.starts_at)
        sentence = (
            f"`{grant.path}` starts at {instant_text(grant.starts_at)}, "
            f"before `{node.path}` at {instant_text(node.starts_at)}"
        )
        yield "starts_before_parent", "starts_at", sentence


def _delegation(grant: Grant, above: EffectiveGrant) -> Iterator[_Found]:
    if not above.leaf.delegation.allowed:
        yield (
            "delegation_not_allowed",
            "delegation",
            f"`{above.leaf.path}` hands on nothing, so not `{grant.path}` either",
        )
    for node in above.nodes:
        depth = node.delegation.max_depth
        levels = grant.depth - node.depth
        if depth is not None and levels > depth:
            sentence = f"`{grant.path}` lies {levels} levels below `{node.path}`, which hands on at most {depth}"
            yield "delegation_too_deep", "delegation.max_depth", sentence
        elif depth is not None and (grant.delegation.max_depth or 0) > depth - levels:
            sentence = (
                f"`{grant.path}` would hand on {grant.delegation.max_depth} levels, "
                f"and `{node.path}` leaves it {depth - levels}"
            )
            yield "delegation_not_contained", "delegation.max_depth", sentence
        if _wider_boundary(node.delegation.boundary, grant.delegation.boundary):
            sentence = f"`{grant.path}` would have a wider boundary than `{node.path}`"
            yield "delegation_not_contained", "delegation.boundary", sentence
        term = node.delegation.max_term_days
        if term is not None and (grant.delegation.max_term_days or 0) > term:
            sentence = (
                f"`{grant.path}` would hand on authority for {grant.delegation.max_term_days} days, "
                f"and `{node.path}` does for at most {term}"
            )
            yield "delegation_not_contained", "delegation.max_term_days", sentence


def _wider_boundary(above: Boundary | None, own: Boundary | None) -> bool:
    """Whether a boundary says more than one above it; saying nothing is within, because the one above binds anyway."""
    return above is not None and own is not None and raised_boundary(above, filled_in(above, own))


def _rate(grant: Grant, above: EffectiveGrant) -> Iterator[_Found]:
    for name in ("rpm", "tpm", "concurrency"):
        own = getattr(grant.rate, name)
        for node in above.nodes:
            bound = getattr(node.rate, name)
            if own is not None and bound is not None and own > bound:
                sentence = f"`{grant.path}` has {name} {own:,}, and `{node.path}` has {bound:,}"
                yield "rate_not_contained", f"rate.{name}", sentence


def _limits(grant: Grant, above: EffectiveGrant) -> Iterator[_Found]:
    for index, node in enumerate(above.nodes):
        for bound in node.limits:
            longest = longest_rank(above.nodes[: index + 1], bound.dimension)
            for own in grant.limits:
                most = amount_with_escrow(grant, own)
                if own.dimension != bound.dimension or most <= bound.amount:
                    continue
                if is_comparable(own.period, bound.period, longest):
                    escrow = most - own.amount
                    with_escrow = f" and {amount_text('usd', escrow)} overdraft" if escrow else ""
                    sentence = (
                        f"`{grant.path}` holds {amount_text(own.dimension, own.amount)}{with_escrow} "
                        f"{period_text(own.period)}, more than the {limit_text(bound)} of `{node.path}`"
                    )
                    yield "limit_not_contained", f"limits.{own.dimension}/{own.period}", sentence
