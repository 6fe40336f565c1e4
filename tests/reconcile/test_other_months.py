"""What a month's bill has of other months: calls that were booked late, and what earlier bills differed by."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from remit.reconcile.other_months import (
    LATE_BOOKING,
    OtherMonths,
    adjustments_of_late,
    booked_before,
    drift_of_other_months,
    of_other_months,
)

APRIL = date(2026, 4, 1)
amounts = st.integers(-(2**40), 2**40)


def others(late: int = 0, carried: int = 0, moved: int = 0) -> OtherMonths:
    bearers = {"grant_a": late} if late else {}
    return OtherMonths(late_nanousd=bearers, moved_nanousd=moved, carried_nanousd=carried)


def found(beyond: int, about: OtherMonths) -> tuple[int, dict[str, int]]:
    share = of_other_months(beyond, about)
    drift = drift_of_other_months(share, about, APRIL, accepted=False)
    return share.amount_nanousd, {one.cause: one.amount_nanousd for one in drift}


def test_late_use_is_billed_at_once_later_or_never() -> None:
    """Each way a vendor can bill what is booked late has findings of its own, and only what is on no bill is to be looked into."""
    assert found(10, others(late=10)) == (10, {}), "the bill has it too"
    assert found(0, others(late=10)) == (0, {LATE_BOOKING: -10}), "no bill has it"
    assert found(0, others(late=10, carried=10)) == (0, {"billed_before": -10}), "the bill before had it"
    assert found(0, others(late=10, carried=4)) == (0, {"billed_before": -4, LATE_BOOKING: -6}), "some of it"
    assert found(10, others(carried=-10)) == (10, {"billed_late": 10}), "what was booked before is billed now"
    assert found(-10, others(carried=10)) == (-10, {"billed_before": -10}), "what was billed too much is taken off"
    assert found(11, others(late=10)) == (10, {}), "what is left is somebody else's to explain"
    assert found(13, others(late=3, carried=-10)) == (13, {"billed_late": 10}), "both"
    assert found(0, others(carried=10)) == (0, {}), "what was billed before and never booked stays what it was"
    assert found(0, others(moved=7)) == (0, {"booked_later": 7}), "what was found after this month was closed"


@given(beyond=amounts, late=amounts, carried=amounts, moved=amounts)
def test_the_ledger_and_the_findings_are_the_bill(beyond: int, late: int, carried: int, moved: int) -> None:
    """Whatever the numbers are: the findings are what the bill has of other months, less what is late, and what is booked later."""
    about = others(late, carried, moved)
    share, causes = found(beyond, about)
    assert share in {0, late, -carried, late - carried}
    assert sum(causes.values()) == share - late + moved


@given(late=st.dictionaries(st.sampled_from("abc"), amounts.filter(bool), min_size=1))
def test_what_no_bill_has_is_taken_back_from_who_bears_it(late: dict[str, int]) -> None:
    """Once somebody accepts it, it is divided between the grants that bear it, and comes to it exactly."""
    about = OtherMonths(late_nanousd=late, moved_nanousd=0, carried_nanousd=0)
    drift = drift_of_other_months(of_other_months(0, about), about, APRIL, accepted=True)
    proposed = adjustments_of_late(drift, about, "v", APRIL)
    assert sum(one.amount_nanousd for one in proposed) == -sum(late.values())
    assert {one.grant_id for one in proposed} <= late.keys()
    looked = drift_of_other_months(of_other_months(0, about), about, APRIL, accepted=False)
    assert adjustments_of_late(looked, about, "v", APRIL) == [], "nothing before somebody does"


def test_what_was_booked_is_no_difference_any_more() -> None:
    """By cause, with what was booked and taken back again left out of sight."""
    (one,) = booked_before({("a", "tax"): 7, ("b", "tax"): 3, ("a", "credit"): -4}, APRIL)
    assert (one.amount_nanousd, one.evidence) == (-6, {"tax": 10, "credit": -4})
    assert booked_before({("a", "tax"): 7, ("b", "tax"): -7}, APRIL) == []
