"""A charge in its parts: one for each price line, and what the lines do not explain. The parts sum to the charge."""

from dataclasses import dataclass

from remit.kernel.money import UNITS_PER_PRICE
from remit.reports.focus.meters import METERS, UNITEMISED, UNRESOLVED, Meter
from remit.reports.focus.model import Charge


@dataclass(frozen=True, slots=True)
class Part:
    """`units` of a meter at a price; the amount is the ledger's. `meter` is None where nothing was metered."""

    meter: Meter | None
    units: int
    price_nanousd_per_million: int
    amount_nanousd: int


def parts_of(charge: Charge) -> list[Part]:
    """The parts of a charge; their amounts sum to the charge's, whatever its lines say.

    Corrections follow the ledger style of FOCUS: the record in doubt is taken back whole, and what is known now is
    recorded anew. So a correction's parts are minus one unresolved request, then the lines of what the call cost.
    """
    if charge.kind in ("adjustment", "transfer"):
        return [Part(None, 0, 0, charge.amount_nanousd)]
    if charge.kind == "suspense":
        return [_requests(UNRESOLVED, 1, charge.amount_nanousd)]
    parts: list[Part] = []
    cost = charge.amount_nanousd
    if charge.corrected_nanousd is not None:
        parts.append(_requests(UNRESOLVED, -1, -charge.corrected_nanousd))
        cost += charge.corrected_nanousd
    for line in charge.lines:
        parts.append(Part(METERS[line.kind], line.units, line.price_nanousd_per_million, line.amount_nanousd))
        cost -= line.amount_nanousd
    is_explained = charge.lines or charge.corrected_nanousd is not None
    if cost or not is_explained:
        parts.append(_requests(UNITEMISED, -1 if cost < 0 else 1, cost))
    return parts


def _requests(meter: Meter, count: int, amount_nanousd: int) -> Part:
    """Requests at a price of their own: what one of them was booked at."""
    return Part(meter, count, abs(amount_nanousd) * UNITS_PER_PRICE, amount_nanousd)
