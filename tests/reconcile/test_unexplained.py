"""What stays unexplained: signs left out, until somebody's word for it is booked."""

import dataclasses
from datetime import date
from typing import Any

from remit.grants.model import Problem
from remit.ledger.months import Bill
from remit.reconcile.comparison import Comparison, Drift, Reconciliation, stays_unexplained
from tests.reconcile.test_suspense import MARCH, PLAIN, Desk


def drift(amount: int, about: dict[str, Any], outcome: Any = "look", cause: str = "unexplained") -> Drift:
    return Drift(
        cause=cause, outcome=outcome, confidence="likely", first_day=MARCH, last_day=MARCH, about=about,
        amount_nanousd=amount, evidence={},
    )  # fmt: skip


def unexplained(found: list[Drift], *before: tuple[dict[str, Any], int]) -> int:
    return Comparison(
        month=date(2026, 3, 1), vendor="v", statements=[], bills=[], ledger_nanousd=0, basis="", drift=found,
        adjustments=[], accepted_before=before,
    ).unexplained_nanousd  # fmt: skip


def test_too_much_and_too_little_do_not_even_out() -> None:
    """Each finding counts by itself, less what was accepted of the same thing; what is explained or accepted does not count."""
    mini, large = {"model": "mini"}, {"model": "large"}
    both = [drift(3, mini), drift(-3, large)]
    assert unexplained(both) == 6
    assert unexplained(both, (mini, 3), (large, -3)) == 0
    assert unexplained(both, (mini, 1), (large, -4)) == 3
    assert unexplained(both, ({"model": "gone"}, 9)) == 15, (
        "what was booked for it and is not found any more is unexplained too"
    )
    assert unexplained([drift(3, mini, "adjustment"), drift(-3, large, cause="tax")], (large, 1)) == 0


def test_counts_alone_stay_unexplained_too() -> None:
    """What comes to nothing in money is left to look into as well; what was accepted, now or before, is not."""
    assert stays_unexplained(0, [drift(0, {})]) and stays_unexplained(3, [])
    assert not stays_unexplained(0, [drift(3, {}), drift(0, {}, "adjustment"), drift(0, {}, cause="shadow_use")])


def match(desk: Desk, billed: int, accepted: tuple[str, ...] = ()) -> Reconciliation:
    bill = Bill(vendor="openai", invoice_id="INV-1", total_nanousd=billed)
    kept = desk.reconciling.match(MARCH, "openai", [bill], (), desk.by(), accepted)
    assert not isinstance(kept, Problem), kept
    return kept


def test_what_evens_out_is_said_until_it_is_booked() -> None:
    """One model's costs of a day too high and another's too low by the same: nothing in all, and twice the amount to look into."""
    desk = Desk()
    both = (PLAIN, dataclasses.replace(PLAIN, model="sim-fractional", prompt=3_000, output=300))
    desk.run([dataclasses.replace(one, day=day) for day in (0, 1) for one in both])
    owed = sum(sum(row.costs_nanousd.values()) for row in desk.books)
    for number, by in ((0, 101), (1, -101)):
        row = desk.books[number]
        costs = {**row.costs_nanousd, "output": row.costs_nanousd["output"] + by}
        desk.books[number] = dataclasses.replace(row, costs_nanousd=costs)
    desk.bring()
    found = match(desk, owed)
    causes = [(one.cause, one.amount_nanousd) for one in desk.reconciling.books.drift(found.id)]
    assert sorted(causes) == [("unexplained", -101), ("unexplained", 101)]
    assert (found.found_nanousd, found.unexplained_nanousd) == (0, 202)
    accepted = match(desk, owed, ("unexplained",))
    assert (accepted.unexplained_nanousd, accepted.moved_nanousd) == (0, 202)
    posted = desk.reconciling.books.post_proposed(accepted.id, accepted.digest, by="bo", reason="r", key="p")
    assert not isinstance(posted, Problem), posted
    assert match(desk, owed).unexplained_nanousd == 0
    row = desk.books[0]
    desk.books[0] = dataclasses.replace(
        row, costs_nanousd={**row.costs_nanousd, "output": row.costs_nanousd["output"] + 7}
    )
    desk.bring()
    assert match(desk, owed + 7).unexplained_nanousd == 7, "what is new takes a word of its own"
    desk.trial.close()
