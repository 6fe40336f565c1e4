"""What is charged and is no token."""

from typing import Final

from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.claims import Claim, Rest
from remit.reconcile.matching.context import Context
from remit.reconcile.matching.rules.common import Claims, all_of
from remit.reconcile.matching.series import Series

_CAUSES: Final = {
    "web_search": Cause.WEB_SEARCH,
    "code_execution": Cause.CODE_EXECUTION,
    "session": Cause.SESSION_HOURS,
    "storage": Cause.STORAGE,
    "images": Cause.IMAGES,
    "platform_fee": Cause.PLATFORM_FEE,
    "tax": Cause.TAX,
    "credit": Cause.CREDIT,
    "rounding": Cause.LINE_ROUNDING,
    "purchase": Cause.PREPAYMENT,
}
_HOSTING: Final = frozenset({"session", "storage", "other"})


def is_fine_tuned(model: str | None) -> bool:
    """Whether a model's name is that of one tuned for somebody."""
    return model is not None and (model.startswith("ft:") or ":ft-" in model)


def unmetered(series: Series, rest: Rest, _about: Context) -> Claims:
    """Lines of meters that the ledger does not have in the series, by what they count."""
    metered = {line.meter for pair in series.days.values() for cell in pair.ours.cells for line in cell.lines}
    for meter in sorted({meter for _, meter in (*rest.amount, *rest.quantity)} - metered):
        cause = _CAUSES.get(meter)
        if is_fine_tuned(series.key.model) and meter in _HOSTING:
            cause = Cause.FINE_TUNED
        elif meter == "storage" and _is_cache(series):
            cause = Cause.CACHE_STORAGE
        if cause is None:
            continue
        amount = {spot: left for spot, left in rest.amount.items() if spot[1] == meter}
        quantity = {spot: units for spot, units in rest.quantity.items() if spot[1] == meter}
        yield Claim(
            cause=cause,
            amount=amount,
            quantity=quantity,
            evidence={"meter": meter, "units": str(sum(quantity.values()))},
        )


def _is_cache(series: Series) -> bool:
    cells = [cell for pair in series.days.values() for cell in pair.theirs.cells if "storage" in cell.amount_nanousd]
    return any(cell.ttl is not None or "cach" in (cell.text or "").lower() for cell in cells)


def minimum_billing(series: Series, rest: Rest, _about: Context) -> Claims:
    """The vendor's seconds are one whole number for each request, on every day, and ours are fewer."""
    days = [day for day in rest.days() if rest.units(day).keys() == {"audio_seconds"} and day not in rest.requests]
    each = set()
    for day in days:
        pair = series.days[day]
        if not pair.ours.requests or rest.units(day)["audio_seconds"] < 0:
            return
        each.add(divmod(pair.theirs.quantity["audio_seconds"], pair.ours.requests))
    if len(each) == 1 and not (found := each.pop())[1]:
        yield all_of(Cause.MINIMUM_BILLING, rest, days, {"least_seconds": int(found[0])})
