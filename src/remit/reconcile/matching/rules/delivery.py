"""Calls that one side knows of and the other does not, or knows otherwise."""

from collections.abc import Callable
from datetime import date

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import Part
from remit.reconcile.matching.claims import Rest
from remit.reconcile.matching.context import Context
from remit.reconcile.matching.rules.common import Claims, all_of, counts_of, lacks
from remit.reconcile.matching.series import Series

_TWICE = 2


def duplicate_events(series: Series, rest: Rest, _about: Context) -> Claims:
    """Requests and every quantity of a day are exactly double on one side."""
    vendor = [day for day in rest.days() if _doubled(series, rest, day, by_vendor=True)]
    ledger = [day for day in rest.days() if _doubled(series, rest, day, by_vendor=False)]
    for days, side in ((vendor, "vendor"), (ledger, "ledger")):
        if days:
            yield all_of(Cause.DUPLICATE_EVENTS, rest, days, {"counted_twice_by": side, "days": len(days)})


def _doubled(series: Series, rest: Rest, day: date, *, by_vendor: bool) -> bool:
    ours, theirs = series.days[day].ours, series.days[day].theirs
    once, twice = (ours.quantity, theirs.quantity) if by_vendor else (theirs.quantity, ours.quantity)
    used = {meter: units for meter, units in once.items() if units}
    if not used or {meter: units for meter, units in twice.items() if units} != {
        meter: units * _TWICE for meter, units in used.items()
    }:
        return False
    if theirs.requests is None:
        return len(used) > 1 and day in {when for when, _ in rest.quantity}
    first, second = (ours.requests, theirs.requests) if by_vendor else (theirs.requests, ours.requests)
    return second == first * _TWICE


def _more(cause: Cause, name: str) -> Callable[[Series, Rest, Context], Claims]:
    """A rule: the vendor has exactly as many requests more as a part of ours has, and no fewer units of anything."""

    def rule(series: Series, rest: Rest, about: Context) -> Claims:
        days = [day for day in rest.days() if _has_more(series, rest, about, day, name)]
        if days:
            attempts = sum(series.days[day].ours.parts[name].requests for day in days)
            confidence = "exact" if about.shape.states_requests else "likely"
            yield counts_of(cause, series, rest, about, days=days, evidence={name: attempts}, confidence=confidence)  # type: ignore[arg-type]

    rule.__doc__ = f"The vendor has as many requests more as {name} says."
    rule.__name__ = cause.value
    return rule


def _has_more(series: Series, rest: Rest, about: Context, day: date, name: str) -> bool:
    part = series.days[day].ours.parts.get(name)
    units = rest.units(day)
    if part is None or not part.requests or not units or any(count < 0 for count in units.values()):
        return False
    return rest.requests.get(day, 0) == part.requests if about.shape.states_requests else True


fallback = _more(Cause.FALLBACK, "fell_back")
retry_billed = _more(Cause.RETRY_BILLED, "voided")
sdk_retry = _more(Cause.SDK_RETRY, "retries")


def _bound(cause: Cause, *names: str, may_be_more: bool) -> Callable[[Series, Rest, Context], Claims]:
    """A rule: requests agree, or the vendor has none of them, and the difference lies within parts of ours."""

    def rule(series: Series, rest: Rest, about: Context) -> Claims:
        days = [day for day in rest.days() if _is_within(series, rest, day, names, may_be_more=may_be_more)]
        if days:
            parts = [series.days[day].ours.parts[name] for day in days for name in names if _has(series, day, name)]
            evidence = {"calls": sum(part.requests for part in parts), "booked": sum(p.amount_nanousd for p in parts)}
            exact = all(any(lacks(series, rest, about, day, name) for name in names) for day in days)

            def is_booked(day: date) -> bool:
                # Ceilings are booked at the highest price there was, so what the counts cost says too little.
                booked = sum(
                    series.days[day].ours.parts[name].amount_nanousd for name in names if _has(series, day, name)
                )
                return 0 <= -sum(rest.amounts(day).values()) <= booked

            yield counts_of(
                cause,
                series,
                rest,
                about,
                days=days,
                evidence=evidence,
                confidence="exact" if exact else "likely",
                takes_all=is_booked,
            )

    rule.__doc__ = f"The difference lies within {' or '.join(names)}."
    rule.__name__ = cause.value
    return rule


def _has(series: Series, day: date, name: str) -> bool:
    return name in series.days[day].ours.parts


def _is_within(series: Series, rest: Rest, day: date, names: tuple[str, ...], *, may_be_more: bool) -> bool:
    part = sum((series.days[day].ours.parts[name] for name in names if _has(series, day, name)), Part())
    units = rest.units(day)
    if not part.requests or not units:
        return False
    if rest.requests.get(day, 0) not in {0, -part.requests}:
        return False
    lower = all(-count <= part.quantity.get(meter, 0) for meter, count in units.items() if count < 0)
    return lower and (may_be_more or all(count < 0 for count in units.values()))


client_disconnect = _bound(Cause.CLIENT_DISCONNECT, "caller_left", may_be_more=True)
timeout = _bound(Cause.TIMEOUT, "timeout", "status", may_be_more=False)
usage_chunk_lost = _bound(Cause.USAGE_CHUNK_LOST, "zero_usage", "vendor_dropped", may_be_more=True)
estimated_usage = _bound(Cause.ESTIMATED_USAGE, "estimated", "suspense", may_be_more=False)
