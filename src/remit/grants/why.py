"""Why is this what I can spend? Every limit, restriction and boundary on the way from the root to one grant.

A grant that the asker does not see still binds: its numbers are there, its path and owner are not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime

from remit.grants.division import HandedOut, handed_out
from remit.grants.effective import effective
from remit.grants.model import Actor, Boundary, Grant, Limit, Rate
from remit.grants.outside import binds, most_of_share, usd_limits
from remit.grants.render import value_text
from remit.grants.shares import amount_with_escrow
from remit.grants.tree import Tree
from remit.grants.usage import Usage
from remit.grants.words import amount_text, instant_text, limit_text
from remit.kernel.decisions import Dimension
from remit.kernel.names import model_matches
from remit.kernel.periods import PeriodKind

Sees = Callable[[Grant], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A grant on the way. `level` is 1 for the root; path and owner are None where the asker does not see the grant."""

    level: int
    path: str | None
    owner: str | None

    @property
    def name(self) -> str:
        """The path in backticks, or words for what is not seen."""
        return "a grant above" if self.path is None else f"`{self.path}`"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitLine:
    """One limit now: nano-USD, tokens or requests. `left` includes escrowed overdraft; `binds` is the least of its dimension."""

    node: Node
    dimension: Dimension
    period: PeriodKind
    limit: int
    posted: int
    held: int
    overdraft: int
    borrowed: int
    left: int
    binds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """What one grant says about requests below it: `field` as in the grants file, `says` in its words."""

    node: Node
    field: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryLine:
    """A boundary on the way. `most` is what it lets be handed to one grant now: nano-USD by period of its grant's limits."""

    node: Node
    boundary: Boundary
    most: tuple[tuple[PeriodKind, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOn:
    """What may still be handed out below: of one limit, without and with overcommit, and by boundaries to one grant."""

    dimension: Dimension
    period: PeriodKind
    limit: int
    handed_out: int
    left: int
    left_with_overcommit: int
    overcommit_percent: int
    most_to_one: int | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the call that was asked about would pass the grants; `node` is the first that is in its way."""

    passes: bool
    code: str | None
    detail: str
    node: Node | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The whole answer. `spendable_nanousd` is None where no grant on the way limits money."""

    path: str
    at: datetime
    spendable_nanousd: int | None
    limits: tuple[LimitLine, ...]
    restrictions: tuple[Restriction, ...]
    boundaries: tuple[BoundaryLine, ...]
    hand_on: tuple[HandOn, ...]
    hands_on: bool
    levels_below: int | None
    verdict: Verdict


def why(
    tree: Tree,
    grant: Grant,
    usage: Usage,
    now: datetime,
    sees: Sees = lambda _: True,
    *,
    model: str | None = None,
    usd: int | None = None,
) -> Why:
    """The answer for one grant; `usage` holds at least the grants of its path. `usd` is what the call may cost, in nano-USD."""
    path = tree.path_to(grant)
    nodes = [_node(one, sees) for one in path]
    lines = _bound([line for one, node in zip(path, nodes, strict=True) for line in _lines(one, node, usage)])
    money = [line for line in lines if line.dimension == "usd"]
    depths = [
        one.delegation.max_depth - (grant.depth - one.depth) for one in path if one.delegation.max_depth is not None
    ]
    return Why(
        path=grant.path,
        at=now,
        spendable_nanousd=min((line.left for line in money), default=None),
        limits=tuple(lines),
        restrictions=tuple(
            restriction for one, node in zip(path, nodes, strict=True) for restriction in _restrictions(one, node)
        ),
        boundaries=tuple(
            line for one, node in zip(path, nodes, strict=True) for line in _boundary_lines(one, node, usage)
        ),
        hand_on=tuple(_hand_on(tree, grant, usage, one) for one in handed_out(tree, grant, now)),
        hands_on=grant.delegation.allowed and min(depths, default=1) > 0,
        levels_below=min(depths, default=None),
        verdict=_verdict(path, nodes, lines, now, model, usd),
    )


def _node(grant: Grant, sees: Sees) -> Node:
    seen = sees(grant)
    return Node(level=grant.depth, path=grant.path if seen else None, owner=grant.owner if seen else None)


def _lines(grant: Grant, node: Node, usage: Usage) -> Iterator[LimitLine]:
    for limit in grant.limits:
        used = usage.of(grant, limit)
        escrow = amount_with_escrow(grant, limit) - limit.amount
        yield LimitLine(
            node=node,
            dimension=limit.dimension,
            period=limit.period,
            limit=limit.amount,
            posted=used.posted,
            held=used.held,
            overdraft=escrow,
            borrowed=used.borrowed,
            left=usage.left(grant, limit) + max(0, escrow - used.borrowed),
        )


def _bound(lines: Sequence[LimitLine]) -> list[LimitLine]:
    """The lines with those marked that have the least left in their dimension: the highest of equals, as refusals name it."""
    least: dict[str, LimitLine] = {}
    for line in lines:
        if line.dimension not in least or line.left < least[line.dimension].left:
            least[line.dimension] = line
    return [replace(line, binds=line is least[line.dimension]) for line in lines]


def _restrictions(grant: Grant, node: Node) -> Iterator[Restriction]:
    def said(field: str, value: object) -> Restriction:
        return Restriction(node=node, field=field, says=value_text(value))

    if grant.status != "active":
        yield said("status", grant.status)
    yield said("class", grant.grant_class)
    yield said("starts", grant.starts_at)
    yield said("expires", grant.expires_at)
    for name, label in grant.scope.labels().items():
        yield said(f"scope.{name}", label)
    for one in fields(grant.shape):
        value = getattr(grant.shape, one.name)
        if value is not None:
            yield said(one.name, value)
    if grant.data_classes is not None:
        yield said("data_classes", grant.data_classes)
    if grant.required_tags:
        yield said("required_tags", grant.required_tags)
    if grant.rate != Rate():
        yield said("rate", grant.rate)


def _boundary_lines(grant: Grant, node: Node, usage: Usage) -> Iterator[BoundaryLine]:
    boundary = grant.delegation.boundary
    if boundary is None:
        return
    figures = ((limit.period, _most_to_one(grant, boundary, limit, usage)) for limit in usd_limits(grant))
    most = tuple((period, amount) for period, amount in figures if amount is not None)
    yield BoundaryLine(node=node, boundary=boundary, most=most)


def _most_to_one(holder: Grant, boundary: Boundary, limit: Limit, usage: Usage) -> int | None:
    percent = boundary.max_share_percent
    share = None if percent is None else most_of_share(percent, usage.left(holder, limit))
    return min((one for one in (share, boundary.max_nanousd) if one is not None), default=None)


def _hand_on(tree: Tree, grant: Grant, usage: Usage, whole: HandedOut) -> HandOn:
    """For the grant's own owner: only the boundaries that bind them count."""
    owner = Actor(grant.owner)
    limit = whole.limit
    figures = [
        _most_to_one(holder, holder.delegation.boundary, one, usage)
        for holder in tree.path_to(grant)
        if holder.delegation.boundary is not None and binds(tree, tree, holder, owner)
        for one in holder.limits
        if (one.dimension, one.period) == (limit.dimension, limit.period) and limit.dimension == "usd"
    ]
    room = limit.amount * (100 + whole.overcommit_percent) // 100
    return HandOn(
        dimension=limit.dimension,
        period=limit.period,
        limit=limit.amount,
        handed_out=whole.amount,
        left=whole.left,
        left_with_overcommit=max(0, room - whole.amount),
        overcommit_percent=whole.overcommit_percent,
        most_to_one=min((one for one in figures if one is not None), default=None),
        text=whole.text(),
    )


def _verdict(  # noqa: PLR0917 - the way, its lines, and the question
    path: Sequence[Grant],
    nodes: Sequence[Node],
    lines: Sequence[LimitLine],
    now: datetime,
    model: str | None,
    usd: int | None,
) -> Verdict:
    """In the order in which a gateway refuses: life, model, money."""
    refusal = effective(path).refusal_at(now)
    if refusal is not None:
        node = next(one for one, grant in zip(nodes, path, strict=True) if grant.path == refusal.binding_node)
        detail = refusal.detail if node.path is not None else f"{node.name} is not in force"
        return Verdict(passes=False, code=refusal.code.name, detail=detail, node=node)
    for grant, node in zip(path, nodes, strict=True):
        models = grant.shape.models
        if model is not None and models is not None and not any(model_matches(one, model) for one in models):
            detail = f"{node.name} does not allow the model `{model}`, only {value_text(models)}"
            return Verdict(passes=False, code="model_not_allowed", detail=detail, node=node)
    tight = next((line for line in lines if line.binds and line.dimension == "usd"), None)
    if tight is None:
        return Verdict(passes=True, code=None, detail="no grant on the way limits money", node=None)
    left = f"{amount_text('usd', tight.left)} can be spent now"
    of = f"the {limit_text(Limit('usd', tight.limit, tight.period))} of {tight.node.name}"
    if usd is not None and usd > tight.left:
        detail = f"{amount_text('usd', usd)} does not fit: {left}, by {of}"
        return Verdict(passes=False, code="grant_exhausted", detail=detail, node=tight.node)
    empty = next((line for line in lines if line.left == 0), None)
    if empty is not None:
        used_up = f"nothing is left of the {limit_text(Limit(empty.dimension, empty.limit, empty.period))}"
        detail = f"{used_up} of {empty.node.name}"
        return Verdict(passes=False, code="grant_exhausted", detail=detail, node=empty.node)
    until = instant_text(min(grant.expires_at for grant in path))
    return Verdict(passes=True, code=None, detail=f"{left}, by {of}; in force until {until}", node=tight.node)
