"""The same quantities at other prices."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Final

from remit.kernel.money import divide_half_even
from remit.pricing.model import DEFAULT_TIER, Rates, canonical_tier
from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import ALL, TOKEN_METERS, Quantity
from remit.reconcile.matching.claims import PriceError, Rest
from remit.reconcile.matching.context import Context, per_million, price_at
from remit.reconcile.matching.rules.common import Claims, all_of
from remit.reconcile.matching.rules.others import is_fine_tuned
from remit.reconcile.matching.series import Pair, Series, divide_half_even_of

_LEAST_PERCENT, _MOST_PERCENT = 1, 90
_THOUSAND: Final = 1_000
_STEPS: Final = (10_000_000, 1_000_000, 100_000, 10_000, 1)
"""Unit prices are round: whole cents for a million units, then tenths of them and so on, in nano-USD."""


def price_days(series: Series, rest: Rest, about: Context) -> list[date]:
    """Days on which amounts differ by more than noise, and nothing that was counted does."""
    counted = {day for day, _ in rest.quantity} | set(rest.requests)
    return sorted({spot[0] for spot in rest.amount if not about.within(series, spot, rest)} - counted)


def _meters(series: Series, rest: Rest, about: Context, days: list[date]) -> list[str]:
    """Meters whose amounts differ by more than noise on some of these days."""
    wanted = set(days)
    spots = (spot for spot in rest.amount if spot[0] in wanted and not about.within(series, spot, rest))
    return sorted({meter for _, meter in spots})


def _proportion(pair: Pair, about: Context, numerator: int, denominator: int) -> bool:
    """Whether every amount of the vendor's is this proportion of ours."""
    ours, theirs = pair.ours.amount, pair.theirs.amount
    meters = ours.keys() | theirs.keys()
    slack = about.slack(pair) * max(numerator, denominator)
    return all(
        abs(theirs.get(meter, 0) * denominator - ours.get(meter, 0) * numerator) <= slack for meter in meters
    ) and any(ours.values())


def _costs(pair: Pair, about: Context, rates: Rates) -> bool:
    """Whether every amount of the vendor's is what its quantities cost at these rates."""
    expected: dict[str, int] = {}
    quantity = pair.theirs.quantity if about.shape.states_tokens else pair.ours.quantity
    for meter, units in quantity.items():
        price = price_at(rates, meter)
        if price is None:
            if units:
                return False
            continue
        at = pair.at(meter)
        expected[at] = expected.get(at, 0) + divide_half_even_of(price, units, 1_000_000)
    slack = about.slack(pair, len(quantity) if pair.is_total else 1)
    meters = {meter for meter in expected.keys() | pair.theirs.amount.keys() if meter in TOKEN_METERS or meter == ALL}
    return bool(expected) and all(
        abs(pair.theirs.amount.get(meter, 0) - expected.get(meter, 0)) <= slack for meter in meters
    )


def _each(
    cause: Cause,
    fits: Callable[[Pair, Context], bool],
    evidence: Mapping[str, str | int],
    *,
    is_book_wrong: bool = False,
) -> Callable[[Series, Rest, Context], Claims]:
    """A rule that looks at each day by itself."""

    def rule(series: Series, rest: Rest, about: Context) -> Claims:
        days = [day for day in price_days(series, rest, about) if fits(series.days[day], about)]
        if days:
            errors = _errors(series, rest, about, days) if is_book_wrong else ()
            yield all_of(cause, rest, days, {**evidence, **_sums(series, days)}, price_errors=errors)

    rule.__name__ = cause.value
    return rule


def _sums(series: Series, days: list[date]) -> dict[str, int]:
    return {
        "ours_nanousd": sum(sum(series.days[day].ours.amount.values()) for day in days),
        "theirs_nanousd": sum(sum(series.days[day].theirs.amount.values()) for day in days),
    }


def _nothing_charged(pair: Pair) -> bool:
    # An amount that is not stated is not known to be nothing.
    return any(pair.ours.amount.values()) and bool(pair.theirs.amount) and not any(pair.theirs.amount.values())


def _listed_as_ours(pair: Pair, about: Context) -> bool:
    listed, ours = pair.theirs.listed, pair.ours.amount
    if not any(listed.values()):
        return False
    return all(abs(listed.get(m, 0) - ours.get(m, 0)) <= about.slack(pair) for m in listed.keys() | ours.keys())


def _is_free(pair: Pair, _about: Context) -> bool:
    return _nothing_charged(pair)


def _is_drawn_down(pair: Pair, about: Context) -> bool:
    return _nothing_charged(pair) and _listed_as_ours(pair, about)


def _is_priced_at_zero(pair: Pair, _about: Context) -> bool:
    used = any(pair.ours.quantity.values())
    return used and not any(pair.ours.amount.values()) and any(pair.theirs.amount.values())


def _is_scaled(pair: Pair, about: Context) -> bool:
    return _proportion(pair, about, _THOUSAND, 1) or _proportion(pair, about, 1, _THOUSAND)


def _is_batch(pair: Pair, about: Context) -> bool:
    keys = [cell.key for cell in pair.ours.cells] + [cell.key for cell in pair.theirs.cells]
    stated = any(key.is_batch or key.tier == "batch" for key in keys)
    return stated and (_proportion(pair, about, 1, 2) or _proportion(pair, about, 2, 1))


priced_at_zero = _each(Cause.PRICED_AT_ZERO, _is_priced_at_zero, {}, is_book_wrong=True)
committed_drawdown = _each(Cause.COMMITTED_DRAWDOWN, _is_drawn_down, {})
free_tier = _each(Cause.FREE_TIER, _is_free, {})
unit_scale = _each(Cause.UNIT_SCALE, _is_scaled, {"factor": _THOUSAND}, is_book_wrong=True)
batch_discount = _each(Cause.BATCH_DISCOUNT, _is_batch, {"factor": 2})


def other_tier(series: Series, rest: Rest, about: Context) -> Claims:
    """The vendor's amounts are those of another tier of the price book."""
    found: dict[tuple[Cause, str], list[date]] = {}
    for day in price_days(series, rest, about):
        booked = _tiers_booked(series.days[day])
        for tier in _tiers_sold(series, day, about):
            rates = about.rates(series.key, day, tier)
            if tier in booked or rates is None or not _costs(series.days[day], about, rates):
                continue
            asked = {cell.tier_requested for cell in series.days[day].ours.cells} & booked
            down = tier == DEFAULT_TIER and bool(asked - {DEFAULT_TIER, None})
            found.setdefault((Cause.TIER_DOWNGRADE if down else Cause.SERVICE_TIER, tier), []).append(day)
            break
    for (cause, tier), days in found.items():
        booked_text = ",".join(sorted(_tiers_booked(series.days[days[0]])))
        yield all_of(cause, rest, days, {"booked": booked_text, "charged": tier, **_sums(series, days)})


def _tiers_booked(pair: Pair) -> set[str]:
    return {canonical_tier(cell.key.tier or DEFAULT_TIER) for cell in pair.ours.cells}


def _tiers_sold(series: Series, day: date, about: Context) -> list[str]:
    found = None if about.prices is None else about.model_prices(series.key, _noon(day))
    return [] if found is None else sorted(found.tiers)


def long_context(series: Series, rest: Rest, about: Context) -> Claims:
    """Whole requests are charged at a band above the base: those the vendor says are in it, or all of them."""
    found: dict[int, list[date]] = {}
    for day in price_days(series, rest, about):
        prices = about.model_prices(series.key, _noon(day))
        table = None if prices is None else prices.tiers.get(canonical_tier(series.key.tier or DEFAULT_TIER))
        if table is None:
            continue
        for band in table.bands:
            prices_of = (table.base, band.rates)
            if _costs(series.days[day], about, band.rates) or _band_fits(
                series.days[day], rest.amounts(day), about, prices_of
            ):
                found.setdefault(band.above_input_tokens, []).append(day)
                break
    for above, days in found.items():
        yield all_of(Cause.LONG_CONTEXT, rest, days, {"above_input_tokens": above, **_sums(series, days)})


def _band_fits(pair: Pair, left: Mapping[str, int], about: Context, prices: tuple[Rates, Rates]) -> bool:
    """Whether the difference is what the quantities of the windows above the first cost more there."""
    base, band = prices
    windows = {cell.context_window for cell in pair.theirs.cells} - {None}
    upper = [cell for cell in pair.theirs.cells if cell.context_window and not cell.context_window.startswith("0-")]
    if not windows or not upper:
        return False
    expected: dict[str, int] = {}
    for cell in upper:
        for meter, units in cell.quantity.items():
            low, high = price_at(base, meter), price_at(band, meter)
            if low is None or high is None:
                return False
            at = pair.at(meter)
            expected[at] = expected.get(at, 0) + divide_half_even_of(high - low, units, 1_000_000)
    return all(
        abs(left.get(meter, 0) - expected.get(meter, 0)) <= about.slack(pair) for meter in left.keys() | expected.keys()
    )


def data_residency(series: Series, rest: Rest, about: Context) -> Claims:
    """Every meter is dearer by the same whole percentage, where the vendor states a geography."""
    days = price_days(series, rest, about)
    percent = _percent(series, days, about)
    regions = {cell.key.region for day in days for cell in series.days[day].theirs.cells} - {None, "", "global"}
    if percent is not None and percent > 0 and regions:
        said: dict[str, str | int] = {"percent": percent, "region": ",".join(sorted(filter(None, regions)))}
        yield all_of(Cause.DATA_RESIDENCY, rest, days, {**said, **_sums(series, days)})


def negotiated_discount(series: Series, rest: Rest, about: Context) -> Claims:
    """List amounts are ours and less is charged; or every meter is cheaper by one whole percentage, on every day there is."""
    days = price_days(series, rest, about)
    less = [day for day in days if sum(rest.amounts(day).values()) < 0]
    listed = [day for day in less if _listed_as_ours(series.days[day], about)]
    if listed:
        percent = _percent(series, listed, about)
        said: dict[str, str | int] = {} if percent is None else {"percent": -percent}
        yield all_of(Cause.NEGOTIATED_DISCOUNT, rest, listed, {**said, **_sums(series, listed)})
        return
    everyday = [day for day, pair in series.days.items() if any(pair.ours.amount.values()) and pair.theirs.cells]
    if set(less) != set(everyday) or len(_meters(series, rest, about, less)) < 2:
        return
    percent = _percent(series, less, about)
    if percent is not None:
        yield all_of(
            Cause.NEGOTIATED_DISCOUNT,
            rest,
            less,
            {"percent": -percent, **_sums(series, less)},
            confidence="likely",
            price_errors=_errors(series, rest, about, less),
        )


def _percent(series: Series, days: list[date], about: Context) -> int | None:
    """The whole percentage by which every amount of these days differs; None where there is no such one."""
    ours = sum(sum(series.days[day].ours.amount.values()) for day in days)
    theirs = sum(sum(series.days[day].theirs.amount.values()) for day in days)
    if ours <= 0:
        return None
    percent = divide_half_even((theirs - ours) * 100, ours)
    if not _LEAST_PERCENT <= abs(percent) <= _MOST_PERCENT:
        return None
    return percent if all(_proportion(series.days[day], about, 100 + percent, 100) for day in days) else None


def price_change(series: Series, rest: Rest, about: Context) -> Claims:
    """The vendor's amounts are those at a price that the price book has for another day around."""
    found: dict[date, list[date]] = {}
    for day in price_days(series, rest, about):
        for rates, other in about.alternatives(series.key, day):
            if _costs(series.days[day], about, rates):
                found.setdefault(other, []).append(day)
                break
    days = sorted(day for some in found.values() for day in some)
    if days:
        said = {"price_of_day": ",".join(one.isoformat() for one in sorted(found)[:4])}
        yield all_of(Cause.PRICE_CHANGE, rest, days, {**said, **_sums(series, days)})


def time_of_day(series: Series, rest: Rest, about: Context) -> Claims:
    """The price book has other prices at other hours of the day, and the amounts are at one of them or between them."""
    exact: list[date] = []
    between: list[date] = []
    for day in price_days(series, rest, about):
        hours = [about.rates(series.key, day, at=time(hour, 30, tzinfo=UTC)) for hour in range(24)]
        rates = [one for index, one in enumerate(hours) if one is not None and one not in hours[:index]]
        if len(rates) < 2:
            continue
        if any(_costs(series.days[day], about, one) for one in rates):
            exact.append(day)
        elif _lies_between(series.days[day], about, rates):
            between.append(day)
    for days, confidence in ((exact, "exact"), (between, "likely")):
        if days:
            yield all_of(Cause.TIME_OF_DAY, rest, days, _sums(series, days), confidence=confidence)  # type: ignore[arg-type]


def _lies_between(pair: Pair, about: Context, rates: list[Rates]) -> bool:
    for meter, units in pair.theirs.quantity.items():
        prices = [price for one in rates if (price := price_at(one, meter)) is not None]
        if not prices or pair.is_total:
            return False
        low, high = (divide_half_even_of(price, units, 1_000_000) for price in (min(prices), max(prices)))
        if not low - about.slack(pair) <= pair.theirs.amount.get(meter, 0) <= high + about.slack(pair):
            return False
    return bool(pair.theirs.quantity)


def stale_catalogue(series: Series, rest: Rest, about: Context) -> Claims:
    """One other unit price of each meter that differs fits on every day from the first on which it does."""
    days = price_days(series, rest, about)
    cause = Cause.FINE_TUNED if is_fine_tuned(series.key.model) else Cause.STALE_CATALOGUE
    if not days or not _to_the_end(series, days):
        return
    errors = _errors(series, rest, about, days)
    if errors and len(errors) == len(_meters(series, rest, about, days)):
        said = {f"{one.meter}_per_million": one.theirs_nanousd_per_million for one in errors}
        confidence = "exact" if len(days) > 1 else "likely"
        evidence = {"since": days[0].isoformat(), **said, **_sums(series, days)}
        yield all_of(cause, rest, days, evidence, confidence=confidence, price_errors=errors)  # type: ignore[arg-type]


def _to_the_end(series: Series, days: list[date]) -> bool:
    """Whether the price stays once it is another."""
    later = {day for day, pair in series.days.items() if day >= days[0] and any(pair.ours.quantity.values())}
    return later == set(days)


def _units(pair: Pair, meter: str) -> Quantity:
    return pair.theirs.quantity.get(meter, 0) or pair.ours.quantity.get(meter, 0)


def _theirs(series: Series, meter: str, days: list[date], about: Context) -> int | None:
    """The one unit price that fits on all of these days, the roundest there is; None where none does."""
    units = sum((_units(series.days[day], meter) for day in days), start=0)
    if units <= 0:
        return None
    raw = per_million(sum(series.days[day].theirs.amount.get(meter, 0) for day in days), units)
    for step in (
        _STEPS if len(days) > 1 else _STEPS[:2]
    ):  # some price fits on any one day: only a round one says something
        price = divide_half_even(raw, step) * step
        if all(_costs_at(series.days[day], meter, price, about) for day in days):
            return price
    return None


def _costs_at(pair: Pair, meter: str, price: int, about: Context) -> bool:
    expected = divide_half_even_of(price, _units(pair, meter), 1_000_000)
    return abs(pair.theirs.amount.get(meter, 0) - expected) <= about.slack(pair)


def _errors(series: Series, rest: Rest, about: Context, days: list[date]) -> tuple[PriceError, ...]:
    found = []
    for meter in _meters(series, rest, about, days):
        if meter not in TOKEN_METERS:
            continue
        theirs = _theirs(series, meter, days, about)
        ours = {price for day in days for price in series.days[day].ours.prices.get(meter, ())}
        if theirs is not None and ours != {theirs}:
            found.append(
                PriceError(
                    vendor=series.key.vendor,
                    model=series.key.model,
                    meter=meter,
                    ours_nanousd_per_million=ours.pop() if len(ours) == 1 else None,
                    theirs_nanousd_per_million=theirs,
                    since=days[0],
                )
            )
    return tuple(found)


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12, tzinfo=UTC))
