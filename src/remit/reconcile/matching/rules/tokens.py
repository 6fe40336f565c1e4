"""The same requests, counted in other tokens."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import Quantity
from remit.reconcile.matching.claims import Rest
from remit.reconcile.matching.context import Context
from remit.reconcile.matching.rules.common import Claims, counts_of, summed, told
from remit.reconcile.matching.series import Series

_WRITES: Final = frozenset({"cache_write", "cache_write_1h"})
_CACHES: Final = _WRITES | {"cache_read"}
_INPUTS: Final = frozenset({"input", "input_audio", "input_image"})
_OUTPUTS: Final = frozenset({"output", "output_audio"})
_SPREAD_PER_MILLE, _MOST_PER_MILLE = 5, 600


def _same_requests(rest: Rest) -> Iterator[tuple[date, dict[str, Quantity]]]:
    for day in rest.days():
        units = rest.units(day)
        if units and day not in rest.requests:
            yield day, units


def cached_inclusive(series: Series, rest: Rest, about: Context) -> Claims:
    """Input differs by exactly the cached tokens, and nothing else differs."""
    days = []
    for day, units in _same_requests(rest):
        ours = series.days[day].ours.quantity
        read = ours.get("cache_read", 0)
        cached = {read, read + ours.get("cache_write", 0) + ours.get("cache_write_1h", 0)} - {0}
        if units.keys() == {"input"} and abs(units["input"]) in cached:
            days.append(day)
    if days:
        total = summed(rest.units(day) for day in days)
        yield counts_of(
            Cause.CACHED_INCLUSIVE, series, rest, about, days=days, evidence={"cached_as_input": str(total["input"])}
        )


def cache_write_ttl(series: Series, rest: Rest, about: Context) -> Claims:
    """Kinds of cache writes differ, and their sum agrees."""
    days = [day for day, units in _same_requests(rest) if units.keys() == _WRITES and not sum(units.values())]
    if days:
        total = summed(rest.units(day) for day in days)
        yield counts_of(Cause.CACHE_WRITE_TTL, series, rest, about, days=days, evidence={"other_kind": told(total)})


def modality(series: Series, rest: Rest, about: Context) -> Claims:
    """Kinds of input, or of output, differ, and their sum agrees."""
    days = [
        day
        for day, units in _same_requests(rest)
        if (units.keys() <= _INPUTS or units.keys() <= _OUTPUTS) and not sum(units.values())
    ]
    if days:
        total = summed(rest.units(day) for day in days)
        yield counts_of(Cause.MODALITY, series, rest, about, days=days, evidence={"other_modality": told(total)})


def reasoning_hidden(series: Series, rest: Rest, about: Context) -> Claims:
    """The vendor states reasoning tokens, which the ledger has none of, or has within its output."""
    days = []
    for day, units in _same_requests(rest):
        within = units.keys() == {"reasoning", "output"} and not sum(units.values())
        if (units.keys() == {"reasoning"} or within) and units["reasoning"] > 0:
            days.append(day)
    if days:
        total = summed(rest.units(day) for day in days)
        yield counts_of(
            Cause.REASONING_HIDDEN, series, rest, about, days=days, evidence={"reasoning": str(total["reasoning"])}
        )


def rejected_prediction(series: Series, rest: Rest, about: Context) -> Claims:
    """Output differs by exactly the rejected tokens that answers stated."""
    days = []
    for day, units in _same_requests(rest):
        part = series.days[day].ours.parts.get("rejected_prediction")
        if part is not None and units.keys() == {"output"} and units["output"] == part.quantity.get("output", 0):
            days.append(day)
    if days:
        total = summed(rest.units(day) for day in days)
        yield counts_of(
            Cause.REJECTED_PREDICTION, series, rest, about, days=days, evidence={"rejected": str(total["output"])}
        )


def tokenizer_change(series: Series, rest: Rest, about: Context) -> Claims:
    """All usage was counted here, and differs in one proportion on every day."""
    days: list[date] = []
    proportions: dict[str, list[tuple[Quantity, Quantity]]] = {}
    for day, units in _same_requests(rest):
        ours, counted = series.days[day].ours, series.days[day].ours.parts.get("recovered")
        if counted is None or counted.requests != ours.requests or not units.keys() <= {"input", "output"}:
            return
        for meter, more in units.items():
            proportions.setdefault(meter, []).append((more, ours.quantity.get(meter, 0)))
        days.append(day)
    if days and all(map(_is_one_proportion, proportions.values())):
        said = {
            f"{meter}_per_mille": int(sum(m for m, _ in pairs) * 1000 // sum(o for _, o in pairs))
            for meter, pairs in proportions.items()
        }
        yield counts_of(Cause.TOKENIZER_CHANGE, series, rest, about, days=days, evidence=said, confidence="likely")


def _is_one_proportion(pairs: list[tuple[Quantity, Quantity]]) -> bool:
    """Whether all are the same share of what they are added to, within 0.5 % of it, and not more than 60 %."""
    if any(own <= 0 for _, own in pairs):
        return False
    shares = [int(more * 1000 // own) for more, own in pairs]
    return max(shares) - min(shares) <= _SPREAD_PER_MILLE and max(map(abs, shares)) <= _MOST_PER_MILLE


def system_tokens(series: Series, rest: Rest, about: Context) -> Claims:
    """Input differs by one whole number for each request, the same on at least two days."""
    found: dict[Quantity, list[date]] = {}
    for day, units in _same_requests(rest):
        requests = series.days[day].ours.requests
        if units.keys() == {"input"} and requests and units["input"] > 0 and not units["input"] % requests:
            found.setdefault(units["input"] // requests, []).append(day)
    for each, days in sorted(found.items()):
        if len(days) > 1:
            yield counts_of(
                Cause.SYSTEM_TOKENS, series, rest, about, days=days, evidence={"for_each_request": int(each)}
            )


def server_tool_tokens(series: Series, rest: Rest, about: Context) -> Claims:
    """More input on days on which the vendor states calls of its tools; output agrees."""
    days = []
    calls: list[Mapping[str, Quantity]] = []
    for day, units in _same_requests(rest):
        theirs = series.days[day].theirs.quantity
        tools = {meter: theirs[meter] for meter in ("web_search", "code_execution") if theirs.get(meter)}
        if tools and units.keys() <= {"input", "cache_read"} and all(count > 0 for count in units.values()):
            days.append(day)
            calls.append(tools)
    if days:
        yield counts_of(
            Cause.SERVER_TOOL_TOKENS,
            series,
            rest,
            about,
            days=days,
            evidence={"calls": told(summed(calls))},
            confidence="likely",
        )


def cache_count(series: Series, rest: Rest, about: Context) -> Claims:
    """Only cached tokens differ, while requests, input and output agree to the token."""
    days = [day for day, units in _same_requests(rest) if units.keys() <= _CACHES]
    if days:
        ours = summed({m: series.days[day].ours.quantity.get(m, 0) for m in rest.units(day)} for day in days)
        theirs = summed({m: series.days[day].theirs.quantity.get(m, 0) for m in rest.units(day)} for day in days)
        evidence = {"ours": told(ours), "theirs": told(theirs)}
        yield counts_of(Cause.CACHE_COUNT, series, rest, about, days=days, evidence=evidence, confidence="likely")
