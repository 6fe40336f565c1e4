"""The same usage on other days."""

from datetime import date
from itertools import accumulate
from typing import Final

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import Part, Quantity
from remit.reconcile.matching.claims import Rest
from remit.reconcile.matching.context import Context
from remit.reconcile.matching.rules.common import Claims, all_of, lacks
from remit.reconcile.matching.series import Series

_NOTHING = Part()
_ELSEWHERE: Final = ("cache_hits", "caller_left", "timeout", "status", "suspense", "estimated")
"""Parts of ours that may be all there was on a day, and that the vendor never states."""


def request_boundary(series: Series, rest: Rest, about: Context) -> Claims:
    """Each day lacks exactly what was begun on it and ended on the next, and has what came over from the one before."""
    days = sorted({day for day, _ in rest.quantity} | set(rest.requests))
    moved = 0
    for day in days:
        parts = series.days[day].ours.parts
        later, earlier = parts.get("before_midnight", _NOTHING), parts.get("after_midnight", _NOTHING)
        if rest.units(day) != _less(earlier, later):
            return
        if about.shape.states_requests and rest.requests.get(day, 0) != earlier.requests - later.requests:
            return
        moved += later.requests
    if days:
        yield all_of(Cause.REQUEST_BOUNDARY, rest, days, {"requests_over_midnight": moved})


def _less(earlier: Part, later: Part) -> dict[str, Quantity]:
    meters = earlier.quantity.keys() | later.quantity.keys()
    found = {meter: earlier.quantity.get(meter, 0) - later.quantity.get(meter, 0) for meter in meters}
    return {meter: units for meter, units in found.items() if units}


def utc_cut(series: Series, rest: Rest, about: Context) -> Claims:
    """What is missing on a day is there on later ones (or the reverse): sums are equal, and one side is never ahead."""
    days = rest.days()
    meters = {meter for _, meter in rest.quantity}
    runs = [[rest.quantity.get((day, meter), 0) for day in days] for meter in sorted(meters)]
    if about.shape.states_requests:
        runs.append([rest.requests.get(day, 0) for day in days])
    # Distinct signs are what tells days that moved from days that were counted otherwise.
    if len(days) < 2 or not meters or not all(_comes_back(run) for run in runs if any(run)):
        return
    if len({_sign(run) for run in runs if any(run)}) != 1:
        return
    slack = sum(about.slack(series.days[day], len(meters)) for day in days)
    if abs(rest.total_nanousd) <= slack:
        moved = sum(units for run in runs[: len(meters)] for units in run if units > 0)
        yield all_of(Cause.UTC_CUT, rest, days, {"units_on_other_days": str(moved)})


def _comes_back(run: list[Quantity]) -> bool:
    sums = list(accumulate(run))
    return sums[-1] == 0 and (all(one >= 0 for one in sums) or all(one <= 0 for one in sums))


def _sign(run: list[Quantity]) -> bool:
    return next(units for units in run if units) > 0


def missing_days(series: Series, rest: Rest, about: Context) -> Claims:
    """The last days that the ledger has are not in the statement, or usage of an earlier month is."""
    cause = Cause.BATCH_NEXT_MONTH if series.key.is_batch or series.key.tier == "batch" else Cause.LATE_ROWS
    earlier = [day for day in rest.days() if day < about.month and not series.days[day].ours.cells]
    if earlier:
        yield all_of(cause, rest, earlier, {"of_an_earlier_month": len(earlier)})
    stated = [day for day, pair in series.days.items() if pair.theirs.cells and about.is_in_month(day)]
    # Of a series that is nowhere in the statement, only days that the statement does not reach can be late.
    last = max(stated, default=about.last_day)
    if last is None:
        return
    missing = [day for day in rest.days() if day > last]
    if any(lacks(series, rest, about, day, name) for day in missing for name in _ELSEWHERE):
        return
    if missing and missing == _ours_after(series, last):
        yield all_of(cause, rest, missing, {"last_day_stated": last.isoformat(), "days_missing": len(missing)})


def missing_costs(series: Series, rest: Rest, about: Context) -> Claims:
    """Counts of a day agree and are stated, and costs of it are not, while other days have them."""
    if not about.shape.states_amounts:
        return
    counted = {day for day, _ in rest.quantity} | set(rest.requests)
    days = [
        day
        for day in rest.days()
        if day not in counted and series.days[day].theirs.cells and not series.days[day].theirs.amount
    ]
    if not days:
        return
    never = not any(pair.theirs.amount for pair in series.days.values())
    if never and series.key.tier == "priority":
        # Of a tier that is bought ahead, some vendors never state costs (Anthropic: "cost report ... Priority Tier").
        said: dict[str, str | int] = {"days_without_costs": len(days), "tier": "priority"}
        yield all_of(Cause.COMMITTED_DRAWDOWN, rest, days, said, confidence="likely")
    else:
        yield all_of(Cause.LATE_ROWS, rest, days, {"days_without_costs": len(days)})


def _ours_after(series: Series, last: date) -> list[date]:
    return sorted(day for day, pair in series.days.items() if day > last and pair.ours.cells)
