"""Limits in money against what was spent of them and what is forecast."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from remit.grants.model import Grant
from remit.kernel.periods import PeriodKind, period_of
from remit.ledger.ports import LedgerReader
from remit.ledger.service import spend_report
from remit.reports.forecast import ToCome, calls_of, history_since, to_come
from remit.reports.units import MILLION, over

Verdict = Literal["spent", "will_exceed", "may_exceed", "fits", "unknown"]
"""`spent`: nothing is left. `will_exceed`: expected to reach its limit. `may_exceed`: the band does. `unknown`: no forecast."""


@dataclass(frozen=True, slots=True)
class Used:
    """Where a limit stands in its period."""

    posted: int
    held: int


UsedOf = Mapping[tuple[str, str, datetime], Used]
"""By grant id, kind of period and its first instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLine:
    """One limit of one grant in its present period; what is below a grant counts for it.

    A limit refuses what would exceed it: a forecast beyond it is of what would be asked for.
    """

    path: str
    owner: str
    grant_class: str
    period: PeriodKind
    starts_at: datetime
    ends_at: datetime
    limit_nanousd: int
    posted_nanousd: int
    held_nanousd: int
    used_ppm: int | None
    expected_nanousd: int | None
    low_nanousd: int | None
    high_nanousd: int | None
    verdict: Verdict


def budget_of(ledger: LedgerReader, grants: Iterable[Grant], used: UsedOf, now: datetime) -> list[BudgetLine]:
    """A line for each limit in money of these grants, in their order."""
    history = spend_report(ledger, ("grant", "day"), history_since(now), None)
    spent = [(row.group[0] or "", date.fromisoformat(str(row.group[1])), calls_of(row)) for row in history.rows]
    lines = []
    for grant in grants:
        limits = [limit for limit in grant.limits if limit.dimension == "usd"]
        days = _days_below(grant.path, spent) if limits else {}
        for limit in limits:
            period = period_of(limit.period, now, ZoneInfo(grant.time_zone))
            at = used.get((grant.id, limit.period, period.start), Used(0, 0))
            # What was given once has no end to forecast to.
            coming = None if limit.period == "once" else to_come(days, now, period.end)
            lines.append(
                BudgetLine(
                    path=grant.path,
                    owner=grant.owner,
                    grant_class=grant.grant_class,
                    period=limit.period,
                    starts_at=period.start,
                    ends_at=period.end,
                    limit_nanousd=limit.amount,
                    posted_nanousd=at.posted,
                    held_nanousd=at.held,
                    used_ppm=over(at.posted * MILLION, limit.amount),
                    expected_nanousd=None if coming is None else at.posted + coming.expected_nanousd,
                    low_nanousd=None if coming is None else at.posted + coming.low_nanousd,
                    high_nanousd=None if coming is None else at.posted + coming.high_nanousd,
                    verdict=verdict(limit.amount, at.posted, coming),
                )
            )
    return lines


def verdict(limit: int, posted: int, coming: ToCome | None) -> Verdict:
    """What a limit's numbers say."""
    if posted >= limit:
        return "spent"
    if coming is None:
        return "unknown"
    if posted + coming.expected_nanousd > limit:
        return "will_exceed"
    return "may_exceed" if posted + coming.high_nanousd > limit else "fits"


def _days_below(path: str, spent: Iterable[tuple[str, date, int]]) -> dict[date, int]:
    found: dict[date, int] = {}
    for one, day, amount in spent:
        if one == path or one.startswith(f"{path}/"):
            found[day] = found.get(day, 0) + amount
    return found
