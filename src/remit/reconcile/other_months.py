"""What a month has to do with others: calls found out about after their month was closed, and bills that were not what was owed.

A vendor's bills of all months are to be what it is owed in all of them. A month can differ by what another one differed by.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Final, Literal

from remit.ledger.accounting import Adjustment
from remit.reconcile.comparison import Drift
from remit.reconcile.matching.shares import divide

OtherCause = Literal["booked_before", "booked_later", "billed_before", "billed_late", "late_booking"]
LATE_BOOKING: Final[OtherCause] = "late_booking"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherMonths:
    """What of a vendor's month is booked elsewhere, and the reverse; in nano-USD.

    `late`    what was used in earlier months that were closed by then, and is booked in this one: by the grant that bears it
    `moved`   what was used in the month and is booked in a later one
    `carried` what earlier closed months were billed and not owed: below zero what they owed and were not billed
    """

    late_nanousd: Mapping[str, int]
    moved_nanousd: int
    carried_nanousd: int

    @property
    def late(self) -> int:
        return sum(self.late_nanousd.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What of a bill is of other months: what is booked late, and what earlier bills differed by."""

    amount_nanousd: int = 0
    has_late: bool = False
    has_carried: bool = False


def of_other_months(beyond_nanousd: int, others: OtherMonths) -> Share:
    """How much of what a bill has beyond the usage of its month is of other months.

    A vendor bills late usage at once, with a later month, or not at all: of these the one that is nearest counts.
    """
    late, carried = others.late, others.carried_nanousd
    shares = (
        Share(),
        Share(amount_nanousd=late, has_late=True),
        Share(amount_nanousd=-carried, has_carried=True),
        Share(amount_nanousd=late - carried, has_late=True, has_carried=True),
    )
    return min(shares, key=lambda one: abs(beyond_nanousd - one.amount_nanousd))


def drift_of_other_months(share: Share, others: OtherMonths, month: date, *, accepted: bool) -> list[Drift]:
    """What makes the ledger, with what is late in it, and the findings of the month's own usage the bill again.

    They sum to what the bill has of other months, less what is booked late, and with what is booked in later months.
    """
    found = []
    late, carried = others.late, others.carried_nanousd
    if share.has_carried:
        found.append(_explained("billed_before" if carried > 0 else "billed_late", -carried, month, _about(others)))
    # As far as an earlier bill had what is booked now.
    before = 0 if share.has_carried else max(min(late, carried), 0) + min(max(late, carried), 0)
    if not share.has_late:
        found.append(_explained("billed_before", -before, month, _about(others)))
        missing = _explained(LATE_BOOKING, before - late, month, _about(others))
        found.append(replace(missing, outcome="adjustment" if accepted else "look"))
    found.append(_explained("booked_later", others.moved_nanousd, month, _about(others)))
    return [one for one in found if one.amount_nanousd]


def adjustments_of_late(drift: Iterable[Drift], others: OtherMonths, vendor: str, month: date) -> list[Adjustment]:
    """What takes back what was booked late and is on no bill, from those who bear it."""
    amount = sum(one.amount_nanousd for one in drift if one.cause == LATE_BOOKING and one.outcome == "adjustment")
    if not amount:
        return []
    bearers = {grant: abs(late) for grant, late in others.late_nanousd.items() if late}
    return [
        Adjustment(
            grant_id=grant,
            vendor=vendor,
            amount_nanousd=share,
            held_at=datetime.combine(month, time(tzinfo=UTC)),
            cause=LATE_BOOKING,
            evidence={"booked_late_nanousd": str(others.late_nanousd[grant])},
        )
        for grant, share in sorted(divide(amount, bearers).items())
        if share
    ]


def booked_before(booked: Mapping[tuple[str, str], int], month: date) -> list[Drift]:
    """The finding that what was booked for a month before is no difference any more."""
    sums: dict[str, int] = {}
    for (_, cause), amount in sorted(booked.items()):
        sums[cause] = sums.get(cause, 0) + amount
    if not (amount := sum(sums.values())):
        return []
    return [_explained("booked_before", -amount, month, sums)]


def _about(others: OtherMonths) -> dict[str, int]:
    return {"booked_late_nanousd": others.late, "carried_nanousd": others.carried_nanousd}


def _explained(cause: OtherCause, amount: int, month: date, evidence: Mapping[str, int]) -> Drift:
    return Drift(
        cause=cause,
        outcome="explained",
        confidence="exact",
        first_day=month,
        last_day=month,
        about={},
        amount_nanousd=amount,
        evidence=evidence,
    )
