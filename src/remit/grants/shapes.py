"""Sets and patterns: is one narrower than another, and what do both allow.

`None` says nothing (everything is allowed), an empty tuple allows nothing.
"""

from remit.grants.model import SCOPE_FIELDS, Scope, Shape


def pattern_within(inner: str, outer: str) -> bool:
    """Whether every model of `inner` is covered by `outer`."""
    if not outer.endswith("*"):
        return inner == outer
    return inner.removesuffix("*").startswith(outer[:-1])


def patterns_outside(inner: tuple[str, ...] | None, outer: tuple[str, ...] | None) -> list[str]:
    """The patterns of `inner` that no single pattern of `outer` covers; silence of either side is within."""
    if inner is None or outer is None:
        return []
    return [pattern for pattern in inner if not any(pattern_within(pattern, wide) for wide in outer)]


def names_outside(inner: tuple[str, ...] | None, outer: tuple[str, ...] | None) -> list[str]:
    """The names of `inner` that are not in `outer`; silence of either side is within."""
    if inner is None or outer is None:
        return []
    return [name for name in inner if name not in outer]


def both_patterns(left: tuple[str, ...] | None, right: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What both sides allow. Two patterns either nest or share nothing, so the narrower of each nested pair is all."""
    if left is None or right is None:
        return right if left is None else left
    kept: dict[str, None] = {}
    for one in left:
        for other in right:
            if pattern_within(one, other):
                kept[one] = None
            elif pattern_within(other, one):
                kept[other] = None
    return tuple(kept)


def both_names(left: tuple[str, ...] | None, right: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What both sides allow, in the order of the left one."""
    if left is None or right is None:
        return right if left is None else left
    return tuple(name for name in left if name in right)


def smaller(left: int | None, right: int | None) -> int | None:
    """The tighter of two bounds; `None` is no bound."""
    if left is None or right is None:
        return right if left is None else left
    return min(left, right)


def both_shapes(upper: Shape, lower: Shape) -> Shape:
    """The shape of a request that both allow."""
    tools = False if upper.tools is False or lower.tools is False else (upper.tools or lower.tools)
    return Shape(
        models=both_patterns(upper.models, lower.models),
        vendors=both_names(upper.vendors, lower.vendors),
        surfaces=both_names(upper.surfaces, lower.surfaces),
        max_input_tokens=smaller(upper.max_input_tokens, lower.max_input_tokens),
        max_output_tokens=smaller(upper.max_output_tokens, lower.max_output_tokens),
        tools=tools,
    )


def merged_scope(upper: Scope, lower: Scope) -> Scope:
    """The lower scope filled in from the upper one; where both speak the upper one stands."""
    above, below = upper.labels(), lower.labels()
    return Scope(**{name: above.get(name, below.get(name)) for name in SCOPE_FIELDS})
