"""What live children hold of their parent's limits (I29), across dimensions, periods and levels.

For a limit of A per period P on a grant, the most its live children can spend in one P must not exceed
A x (100 + overcommit) / 100. What one child counts for:

* a limit: its amount (and escrowed overdraft, for usd) times the number of its own periods that can touch one P,
  but never more periods than it lives through;
* a limit over a longer period counts likewise (all of it may be spent within one P, and a week can touch two months);
  unless the parent, or one above it, limits the dimension over a period at least as long. Then the amounts are
  compared there, and the shorter limit is a brake that all share;
* several limits: the smallest of these figures;
* none of these: what its own live children count for. A grant without a limit of its own is a folder, not a hole.

Calendar periods are counted as if all grants had one time zone: where zones differ, periods overlap by some hours
more. Those hours can use up a parent's bucket earlier than its children's, never exceed it.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from remit.grants.model import LIMIT_PERIODS, Grant, Limit, Problem
from remit.grants.tree import Tree
from remit.grants.words import amount_text, limit_text, listed, period_text
from remit.kernel.decisions import Dimension
from remit.kernel.periods import PeriodKind

_RANK: Final = {kind: rank for rank, kind in enumerate(LIMIT_PERIODS)}
# The most periods of the first kind that share an instant with one period of the second: a month of 31 days that
# starts on a Saturday or Sunday touches six weeks, a quarter of 92 days fourteen. Of kinds that nest, a longer one
# touches once.
_TOUCHING: Final[dict[tuple[PeriodKind, PeriodKind], int]] = {
    ("day", "week"): 7,
    ("day", "month"): 31,
    ("day", "quarter"): 92,
    ("week", "month"): 6,
    ("week", "quarter"): 14,
    ("month", "quarter"): 3,
    ("month", "week"): 2,
    ("quarter", "week"): 2,
}


@dataclass(frozen=True, slots=True)
class Share:
    """What one grant counts for against one limit of an ancestor."""

    path: str
    amount: int


def share_problems(tree: Tree, grant: Grant, now: datetime) -> list[Problem]:
    """The limits of this grant that its live children's limits together exceed."""
    percent = 100 + grant.delegation.overcommit_percent
    problems = []
    for limit in grant.limits:
        shares = shares_of(tree, grant, limit, now)
        total = sum(share.amount for share in shares)
        if total * 100 <= limit.amount * percent:
            continue
        held = listed(f"`{share.path}` {amount_text(limit.dimension, share.amount)}" for share in shares)
        problems.append(
            Problem(
                code="shares_exceeded",
                path=grant.path,
                field=f"limits.{limit.dimension}/{limit.period}",
                detail=f"`{grant.path}` holds {limit_text(limit)} with {percent - 100} percent overcommit, and its live "
                f"children would hold {amount_text(limit.dimension, total)} {period_text(limit.period)}: {held}",
            )
        )
    return problems


def shares_of(tree: Tree, grant: Grant, limit: Limit, now: datetime) -> list[Share]:
    """What each live child counts for against a limit of its parent, largest first, zeros left out."""
    longest = longest_rank(tree.path_to(grant), limit.dimension)
    shares = [
        Share(child.path, _counted(tree, child, limit, longest, now)) for child in tree.live_children(grant.id, now)
    ]
    return sorted((share for share in shares if share.amount), key=lambda share: (-share.amount, share.path))


def _counted(tree: Tree, child: Grant, above: Limit, longest: int, now: datetime) -> int:
    own = [limit for limit in child.limits if limit.dimension == above.dimension]
    if any(is_comparable(limit.period, above.period, longest) for limit in own):
        return min(amount_with_escrow(child, one) * periods_touched(child, one.period, above.period) for one in own)
    below = tree.live_children(child.id, now)
    return sum(_counted(tree, grandchild, above, longest, now) for grandchild in below)


def is_comparable(own: PeriodKind, above: PeriodKind, longest: int) -> bool:
    """Whether a limit per `own` period is measured against a limit per `above` period.

    `longest` is the rank of the longest period in which the holder of the upper limit, or one above it, limits the
    dimension (`longest_rank`).
    """
    return _RANK[own] <= _RANK[above] or _RANK[own] > longest


def longest_rank(nodes: tuple[Grant, ...], dimension: Dimension) -> int:
    """Rank of the longest period in which any of these nodes limits the dimension; -1 without any."""
    return max((_RANK[one.period] for node in nodes for one in node.limits if one.dimension == dimension), default=-1)


def amount_with_escrow(grant: Grant, limit: Limit) -> int:
    """The most that can be spent in one period of this limit: the amount, and for usd the escrowed overdraft."""
    escrow = grant.overdraft.max_nanousd if grant.overdraft and limit.dimension == "usd" else 0
    return limit.amount + escrow


def periods_touched(grant: Grant, own: PeriodKind, above: PeriodKind) -> int:
    """How many periods of a grant's own kind can share an instant with one period of the other kind, at most.

    Under `once`, and for a grant that lives shorter than that, it is the number of periods in its whole life.
    """
    if own == above:
        return 1
    lived = periods_lived(own, grant.starts_at, grant.expires_at, ZoneInfo(grant.time_zone))
    nested = 1 if _RANK[own] > _RANK[above] else lived
    return min(_TOUCHING.get((own, above), nested), lived)


def periods_lived(kind: PeriodKind, start: datetime, end: datetime, zone: ZoneInfo) -> int:
    """How many periods of the kind share an instant with `start <= instant < end`; at least 1."""
    first = start.astimezone(zone).date()
    last = max(first, (end - timedelta(microseconds=1)).astimezone(zone).date())
    return _ordinal(kind, last) - _ordinal(kind, first) + 1


def _ordinal(kind: PeriodKind, day: date) -> int:
    match kind:
        case "day":
            return day.toordinal()
        case "week":
            return (day.toordinal() - 1) // 7  # day 1 of the calendar is a Monday
        case "month":
            return day.year * 12 + day.month - 1
        case "quarter":
            return day.year * 4 + (day.month - 1) // 3
        case _:
            return 0
