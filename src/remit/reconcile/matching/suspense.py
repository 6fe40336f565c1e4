"""Holds in suspense whose cost the vendor's statement tells: by the call itself, or by what is left of its cell."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Final, Literal

from remit.kernel.usage import Usage
from remit.reconcile.matching.cells import CellKey, LedgerCell, Part, Quantity, VendorCell
from remit.reconcile.matching.registry import Registry
from remit.reconcile.matching.series import Pair, Shape, divide_half_even_of, pair_cells
from remit.reconcile.matching.shares import divide

SUSPENDED: Final = ("caller_left", "vendor_dropped", "status", "timeout", "suspense")
_KINDS: Final = {
    "input": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_tokens",
    "input_audio": "input_audio_tokens",
    "output": "output_tokens",
    "reasoning": "output_tokens",
    "output_audio": "output_audio_tokens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendedHold:
    """A hold that was booked at its ceiling, because what it cost could not be known."""

    hold_id: str
    day: date
    key: CellKey
    ceiling_nanousd: int
    ceiling_tokens: int = 0
    vendor_request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedCall:
    """What a vendor states of a single call. A usage that it does not state is None."""

    vendor_request_id: str
    amount_nanousd: int
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a hold in suspense cost. `call`: the vendor states it; `cell`: it is all that is left of its cell.

    `share`: several are, and this is its share of the sum by ceilings, which is right in sum and likely of each. `is_counted`: it is
    one of the calls that the vendor counts; of several, as many are as it counts. Where the usage is not known, `tokens` are those
    of the ceiling still.
    """

    hold_id: str
    usd_nanousd: int
    usage: Usage | None
    tokens: int
    how: Literal["call", "cell", "share"]
    is_counted: bool = True


def resolve_by_call(holds: Iterable[SuspendedHold], calls: Iterable[StatedCall]) -> list[Resolution]:
    """Those whose call the vendor states, once each. A call that is stated twice resolves nothing: which is right is not known."""
    stated: dict[str, StatedCall | None] = {}
    for call in calls:
        twice = call.vendor_request_id in stated and stated[call.vendor_request_id] != call
        stated[call.vendor_request_id] = None if twice else call
    found = []
    for hold in holds:
        call_or_none = stated.get(hold.vendor_request_id or "")
        if call_or_none is not None:
            found.append(_resolution(hold, call_or_none.amount_nanousd, call_or_none.usage, "call"))
    return found


def resolve_by_cell(
    holds: Sequence[SuspendedHold], ledger: Sequence[LedgerCell], vendor: Sequence[VendorCell], complete_until: date
) -> list[Resolution]:
    """Those of cells in which the vendor has more requests than were settled, by no more than there are in suspense.

    `holds` are all that are in suspense in these cells, which are of one vendor; settled is also what was resolved before. From the day
    `complete_until` on the vendor may not have stated everything: what it does not have there waits. A cell that differs otherwise, or whose sum is above the ceilings, resolves nothing: what it holds is not only this.
    """
    paired, shape = pair_cells(ledger, [one for one in vendor if one.charge == "usage"], Registry(()), lambda *_: None)
    if not (shape.states_requests and shape.states_amounts):
        return []
    waiting: dict[tuple[CellKey, date], list[SuspendedHold]] = {}
    for hold in holds:
        waiting.setdefault((hold.key.only(shape.shared), hold.day), []).append(hold)
    found: list[Resolution] = []
    for series in paired:
        for day, pair in series.days.items():
            of_cell = waiting.get((series.key, day), [])
            if of_cell:
                found += _resolved(of_cell, pair, shape, is_complete=day < complete_until)
    return found


def _resolved(holds: Sequence[SuspendedHold], pair: Pair, shape: Shape, *, is_complete: bool) -> list[Resolution]:
    parts = [pair.ours.parts[name] for name in SUSPENDED if name in pair.ours.parts]
    suspended = sum(parts, Part())
    if suspended.requests != len(holds) or pair.theirs.requests is None:
        return []
    requests = pair.theirs.requests - (pair.ours.requests - suspended.requests)
    if requests < len(holds) and not is_complete:
        return []
    booked = sum(pair.ours.amount.values()) - suspended.amount_nanousd
    amount = sum(pair.theirs.amount.values()) - booked
    units = _left(pair, suspended, shape)
    if not 0 <= amount <= sum(hold.ceiling_nanousd for hold in holds) or any(count < 0 for count in units.values()):
        return []
    # What some of the settled calls used is not known, and so not how much of the vendor's counts is left.
    is_known = not pair.ours.parts.get("amount_only", Part()).requests
    if requests == 0:
        nothing = not amount and not (is_known and any(units.values()))
        return [_resolution(hold, 0, Usage(), "cell", is_counted=False) for hold in holds] if nothing else []
    if not 0 < requests <= len(holds):
        return []
    if is_known and not _fits_prices(pair, units, amount):
        return []
    usage = _usage(units) if is_known else None
    if len(holds) == 1:
        return [_resolution(holds[0], amount, usage, "cell")]
    return _shared(holds, amount, usage, requests)


def _shared(holds: Sequence[SuspendedHold], amount: int, usage: Usage | None, requests: int) -> list[Resolution]:
    """What several cost and used in all, by their ceilings. Where the vendor counts fewer, the largest are those it counts."""
    weights = {hold.hold_id: max(hold.ceiling_nanousd, 1) for hold in holds}
    amounts = divide(amount, weights)
    used = {} if usage is None else {one.name: divide(getattr(usage, one.name), weights) for one in fields(Usage)}
    counted = sorted(holds, key=lambda hold: (-hold.ceiling_nanousd, hold.hold_id))[:requests]
    return [
        _resolution(
            hold,
            amounts[hold.hold_id],
            Usage(**{name: shares[hold.hold_id] for name, shares in used.items()}) if used else None,
            "share",
            is_counted=hold in counted,
        )
        for hold in holds
    ]


def _fits_prices(pair: Pair, units: Mapping[str, Quantity], amount: int) -> bool:
    """Whether the amount is what the units cost at the cell's own prices, as far as it has one price for each."""
    expected = 0
    for meter, count in units.items():
        if count:
            prices = pair.ours.prices.get(meter, set())
            if len(prices) != 1:
                return True
            expected += divide_half_even_of(next(iter(prices)), count, 1_000_000)
    return abs(amount - expected) <= pair.ours.requests + len(units)


def _left(pair: Pair, suspended: Part, shape: Shape) -> dict[str, Quantity]:
    meters = (pair.theirs.quantity.keys() | pair.ours.quantity.keys()) & shape.meters
    return {
        meter: pair.theirs.quantity.get(meter, 0) - pair.ours.quantity.get(meter, 0) + suspended.quantity.get(meter, 0)
        for meter in meters
    }


def _usage(units: Mapping[str, Quantity]) -> Usage | None:
    """As the ledger counts; None where the vendor counts something that a usage has no kind for."""
    counts: dict[str, int] = {}
    for meter, count in units.items():
        if count and meter not in _KINDS:
            return None
        if meter in _KINDS:
            counts[_KINDS[meter]] = counts.get(_KINDS[meter], 0) + int(count)
    return Usage(**counts) if counts else None


def _resolution(
    hold: SuspendedHold,
    amount_nanousd: int,
    usage: Usage | None,
    how: Literal["call", "cell", "share"],
    *,
    is_counted: bool = True,
) -> Resolution:
    return Resolution(
        hold_id=hold.hold_id,
        usd_nanousd=amount_nanousd,
        usage=usage,
        tokens=hold.ceiling_tokens if usage is None else usage.total_tokens,
        how=how,
        is_counted=is_counted,
    )
