"""What one series lacks and another has: the same usage under another tier, region or kind of processing."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from remit.pricing.model import DEFAULT_TIER, canonical_tier
from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import KEY_FIELDS, CellKey, Quantity
from remit.reconcile.matching.claims import Claim, Rest
from remit.reconcile.matching.rules.common import all_of
from remit.reconcile.matching.series import Series

_FIELDS: Final = frozenset({"tier", "region", "is_batch"})
_Signature = frozenset[tuple[date, str, Quantity]]


def moved(all_series: Mapping[int, Series], rests: Mapping[int, Rest]) -> Iterator[tuple[int, Claim]]:
    """Claims on both of two series whose differences are each other's reverse, day by day and meter by meter.

    Their keys differ in nothing but tier, region or batch. The finding is that of the series the ledger has.
    """
    lacking: dict[_Signature, list[int]] = {}
    for number, rest in rests.items():
        if rest.quantity and all(units < 0 for units in rest.quantity.values()):
            lacking.setdefault(_signature(rest, -1), []).append(number)
    for number, rest in rests.items():
        if not rest.quantity or any(units < 0 for units in rest.quantity.values()):
            continue
        for other in lacking.get(_signature(rest, 1), ()):
            differing = _differing(all_series[other].key, all_series[number].key)
            if not differing or not differing <= _FIELDS:
                continue
            lacking[_signature(rest, 1)].remove(other)
            yield from _claims(all_series, rests, other, number, differing)
            break


def _signature(rest: Rest, sign: int) -> _Signature:
    units = {(day, meter, units * sign) for (day, meter), units in rest.quantity.items()}
    return frozenset(units | {(day, "", count * sign) for day, count in rest.requests.items()})


def _differing(first: CellKey, second: CellKey) -> frozenset[str]:
    if first.vendor != second.vendor:
        return frozenset()
    return frozenset(name for name in KEY_FIELDS if getattr(first, name) != getattr(second, name))


def _claims(
    all_series: Mapping[int, Series], rests: Mapping[int, Rest], ours: int, theirs: int, differing: frozenset[str]
) -> Iterator[tuple[int, Claim]]:
    booked, charged = all_series[ours].key, all_series[theirs].key
    cause = _cause(all_series[ours], charged, differing)
    evidence = {}
    for name in sorted(differing):
        evidence[f"booked_{name}"] = str(getattr(booked, name))
        evidence[f"charged_{name}"] = str(getattr(charged, name))
    for number in (ours, theirs):
        yield number, all_of(cause, rests[number], rests[number].days(), evidence, key=booked)


def _cause(series: Series, charged: CellKey, differing: frozenset[str]) -> Cause:
    if "is_batch" in differing or "batch" in {charged.tier, series.key.tier}:
        return Cause.BATCH_DISCOUNT
    if "tier" not in differing:
        return Cause.CROSS_REGION
    asked = {canonical_tier(cell.tier_requested or "") for pair in series.days.values() for cell in pair.ours.cells}
    down = canonical_tier(charged.tier or DEFAULT_TIER) == DEFAULT_TIER
    return Cause.TIER_DOWNGRADE if down and series.key.tier in asked else Cause.SERVICE_TIER
