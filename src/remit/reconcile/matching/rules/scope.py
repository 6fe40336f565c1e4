"""Usage that did not pass through the gateway, and answers that did not come from the vendor."""

from datetime import date
from typing import Final

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import ALL, CellKey, Quantity
from remit.reconcile.matching.claims import Claim, Rest, Spot
from remit.reconcile.matching.context import Context, nonzero
from remit.reconcile.matching.likeness import likeliest
from remit.reconcile.matching.rules.common import Claims, all_of, lacks
from remit.reconcile.matching.series import Series

_NOT_MODELS: Final = frozenset({"other", "storage", "session", "code_execution", "web_search"})


def who(key: CellKey) -> CellKey:
    """The key without what is used on it: unknown keys are found once each, and not by model."""
    return CellKey(vendor=key.vendor, account=key.account, project=key.project, key_id=key.key_id)


def workbench(series: Series, rest: Rest, _about: Context) -> Claims:
    """Usage that the vendor states to have no key, where it does state keys."""
    if series.key.key_id == "" and series.theirs_has() and not series.ours_has():
        yield all_of(Cause.WORKBENCH, rest, rest.days(), {"model": series.key.model or ""}, key=who(series.key))


def shadow_use(series: Series, rest: Rest, about: Context) -> Claims:
    """A series of a key that is not registered, or the cells of such a key within one that is not told apart by key."""
    if series.is_foreign:
        models = {series.key.model or ALL: rest.total_nanousd}
        likely = likeliest(series.key, models, about.grantees)
        days = rest.days()
        yield all_of(
            Cause.SHADOW_USE,
            rest,
            days,
            {"first_seen": days[0].isoformat(), "model": series.key.model or "", **likely} if days else {},
            key=who(series.key),
        )
        return
    found: dict[CellKey, list[tuple[Spot, Quantity, int]]] = {}
    for day, pair in series.days.items():
        for cell in pair.theirs.cells:
            if not about.registry.is_foreign(cell.key):
                continue
            for meter, units in cell.quantity.items():
                cost = about.cost_of(series, day, meter, units)
                if cost is not None:
                    found.setdefault(cell.key, []).append(((day, meter), units, cost))
    for key, lines in found.items():
        yield _within(series, rest, about, key, lines)


def _within(series: Series, rest: Rest, about: Context, key: CellKey, lines: list[tuple[Spot, Quantity, int]]) -> Claim:
    amount: dict[Spot, int] = {}
    quantity: dict[Spot, Quantity] = {}
    for (day, meter), units, cost in lines:
        spot = (day, series.days[day].at(meter))
        amount[spot] = amount.get(spot, 0) + cost
        quantity[day, meter] = quantity.get((day, meter), 0) + units
    for spot, cost in amount.items():
        left = rest.amount.get(spot, 0)
        if abs(left - cost) <= about.slack(series.days[spot[0]]):
            amount[spot] = left
    first = min(day for day, _ in amount)
    likely = likeliest(key, {series.key.model or ALL: sum(amount.values())}, about.grantees)
    return Claim(
        cause=Cause.WORKBENCH if key.key_id == "" else Cause.SHADOW_USE,
        amount=nonzero(amount),
        quantity=quantity,
        requests={
            day: count
            for day in {day for day, _ in quantity}
            if day in rest.requests
            and (count := sum(cell.requests or 0 for cell in series.days[day].theirs.cells if cell.key == key))
        },
        evidence={"first_seen": first.isoformat(), "model": series.key.model or "", **likely},
        confidence="likely",
        key=who(key),
    )


def other_products(series: Series, rest: Rest, _about: Context) -> Claims:
    """Lines that name no model, and of what nothing is known but an amount."""
    if series.ours_has() or series.key.model:
        return
    days = [day for day in rest.days() if _meters(rest, day) <= {"other"}]
    if days:
        texts = sorted({cell.text or "" for day in days for cell in series.days[day].theirs.cells})
        yield all_of(Cause.OTHER_PRODUCTS, rest, days, {"text": "; ".join(texts)[:500]})


def _meters(rest: Rest, day: date) -> set[str]:
    return {meter for when, meter in (*rest.amount, *rest.quantity) if when == day}


def embeddings(series: Series, rest: Rest, _about: Context) -> Claims:
    """Usage of an embedding model on a key of the gateway that the ledger does not have."""
    if series.theirs_has() and not series.ours_has() and "embed" in (series.key.model or "").lower():
        yield all_of(Cause.EMBEDDINGS, rest, rest.days(), {"model": series.key.model or ""})


def shared_key(series: Series, rest: Rest, about: Context) -> Claims:
    """A model on a key of the gateway that the ledger never saw there, in this month."""
    days = [day for day in rest.days() if about.is_in_month(day)]
    if not days or series.ours_has() or not series.theirs_has() or not series.key.model:
        return
    if not series.key.key_id or _is_ours_elsewhere(series.key, about) or _only(rest, _NOT_MODELS):
        return
    yield all_of(Cause.SHARED_KEY, rest, days, {"model": series.key.model, "first_seen": days[0].isoformat()})


def _only(rest: Rest, meters: frozenset[str]) -> bool:
    return {meter for _, meter in (*rest.amount, *rest.quantity)} <= meters


def _is_ours_elsewhere(key: CellKey, about: Context) -> bool:
    """Whether the ledger has the model on this key, if under another tier or region."""
    return any(who(one.key) == who(key) and key.model in one.models for one in about.grantees)


def cache_hits(series: Series, rest: Rest, about: Context) -> Claims:
    """The vendor has fewer of everything, by exactly what the gateway's cache answered."""
    days = [day for day in rest.days() if lacks(series, rest, about, day, "cache_hits")]
    if days:
        hits = sum(series.days[day].ours.parts["cache_hits"].requests for day in days)
        yield all_of(Cause.CACHE_HITS, rest, days, {"hits": hits})
