"""What findings lead to: adjustments by use, corrections of suspense, and what prices and ceilings should learn."""

from dataclasses import replace
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from remit.kernel.money import line_cost_nanousd
from remit.kernel.usage import Usage
from remit.ledger.accounting import adjustment_entry
from remit.reconcile.matching.adjust import propose
from remit.reconcile.matching.cause import ABOUT, Cause
from remit.reconcile.matching.cells import CellKey, Part, PricedLine
from remit.reconcile.matching.match import match_month
from remit.reconcile.matching.shares import divide
from remit.reconcile.matching.suspense import (
    Resolution,
    StatedCall,
    SuspendedHold,
    resolve_by_call,
    resolve_by_cell,
)
from remit.testing.months.month import Plan, generate
from tests.matching.sides import KEY, PRICES, day, matched, ours, theirs
from tests.matching.test_incidents import cost

SAME = {"input": 10_000, "output": 700}


@settings(max_examples=50)
@given(st.integers(-(10**15), 10**15), st.dictionaries(st.text(max_size=3), st.integers(-5, 10**12), max_size=6))
def test_parts_sum_to_what_was_divided(amount: int, weights: dict[str, int]) -> None:
    """However it is divided, nothing is lost, and nobody is more than one nano-dollar from their share."""
    total = sum(weight for weight in weights.values() if weight > 0)
    if not total:
        return
    shares = divide(amount, weights)
    assert sum(shares.values()) == amount
    for name, share in shares.items():
        assert abs(share * total - amount * weights[name]) < total


def test_adjustments_are_borne_by_use() -> None:
    """Who spent twice as much in the cell bears twice as much, with the tokens nobody metered."""
    ledger = [ours(1, 3, SAME, grants={"grant_a": 200, "grant_b": 100}), ours(2, 3, SAME, grants={"grant_c": 9})]
    vendor = [theirs(1, 3, {**SAME, "reasoning": 301}), theirs(2, 3, SAME)]
    proposal = propose(matched(ledger, vendor).findings, ledger, unassigned_grant_id="grant_root")
    amount = cost(reasoning=301)
    assert [(one.grant_id, one.amount_nanousd, one.usage) for one in proposal.adjustments] == [
        ("grant_a", amount * 2 // 3, Usage(output_tokens=201)),
        ("grant_b", amount - amount * 2 // 3, Usage(output_tokens=100)),
    ]
    entry = adjustment_entry(proposal.adjustments[0])
    assert (entry["settlement"]["how"], entry["settlement"]["cause"]) == ("reconciled", "reasoning_hidden")
    assert entry["held_at"].date() == day(1)
    assert [(one.cause, one.amount_nanousd) for one in proposal.ceiling_errors] == [("reasoning_hidden", amount)]


def test_what_no_grant_explains_is_unassigned() -> None:
    """What nobody spent in is the organization's own."""
    images = replace(
        theirs(5, None, {}, key=CellKey(vendor="v")), quantity={"images": 2}, amount_nanousd={"images": 80}
    )
    proposal = propose(matched([], [images]).findings, [], unassigned_grant_id="grant_root")
    assert [(one.grant_id, one.amount_nanousd, one.cause) for one in proposal.adjustments] == [
        ("grant_root", 80, "images")
    ]


def test_a_whole_month_books_to_the_bill() -> None:
    """With its adjustments booked, the ledger differs from the bills by what is explained or to be looked into, and no more."""
    month = generate(Plan(seed=6))
    found = match_month(month.ledger, month.vendor, month.invoices, month.settings)
    findings = [finding for one in found for finding in one.findings]
    proposal = propose(findings, month.ledger, unassigned_grant_id="grant_root")
    booked = sum(one.amount_nanousd for one in proposal.adjustments)
    open_amount = sum(one.amount_nanousd for one in (*proposal.explained, *proposal.to_look_into))
    ledger = sum(cell.amount_nanousd for cell in month.ledger)
    assert ledger + booked + open_amount == sum(bill.total_nanousd for bill in month.invoices)
    per_finding: dict[tuple[str, str], int] = {}
    for one in proposal.adjustments:
        at = (one.cause, one.evidence["finding"])
        per_finding[at] = per_finding.get(at, 0) + one.amount_nanousd
    expected = {
        (f.cause.value, f"{f.cause} {f.key.text()}"): f.amount_nanousd for f in findings if f.proposal == "adjustment"
    }
    assert per_finding == {at: amount for at, amount in expected.items() if amount}
    assert {ABOUT[one.cause].booking for one in proposal.explained} == {"explained"}
    wrong = {(one.model, one.meter, one.theirs_nanousd_per_million, one.since.day) for one in proposal.price_errors}
    assert ("sim-stale", "output", 5_000_000_000, 11) in wrong
    assert ("sim-scale", "input", 1_000_000_000, 1) in wrong
    assert {one.cause for one in proposal.ceiling_errors} >= {Cause.SYSTEM_TOKENS, Cause.LONG_CONTEXT}


AFTER = day(2)


def hold(name: str, ceiling: int, call: str | None = None) -> SuspendedHold:
    """A hold in suspense on the first day."""
    return SuspendedHold(
        hold_id=name, day=day(1), key=KEY, ceiling_nanousd=ceiling, ceiling_tokens=4_000, vendor_request_id=call
    )


def suspended(count: int) -> tuple[Part, PricedLine]:
    """So many calls at their ceiling of 4,000 tokens of input each."""
    line = PricedLine("input", None, 4_000 * count, line_cost_nanousd(4_000 * count, PRICES["cache_write"]))
    return Part(requests=count, quantity={"input": 4_000 * count}, amount_nanousd=line.amount_nanousd), line


def test_calls_that_the_vendor_states_are_resolved() -> None:
    """A hold whose call the vendor states is worth what the vendor says; one that is stated in two ways is not decided."""
    calls = [StatedCall(vendor_request_id="gen-1", amount_nanousd=7, usage=Usage(input_tokens=3))]
    calls += [StatedCall(vendor_request_id="gen-2", amount_nanousd=amount) for amount in (1, 2)]
    assert resolve_by_call([hold("h1", 9, "gen-1"), hold("h2", 9, "gen-2"), hold("h3", 9)], calls) == [
        Resolution(hold_id="h1", usd_nanousd=7, usage=Usage(input_tokens=3), tokens=3, how="call")
    ]
    (unstated,) = resolve_by_call([hold("h4", 9, "gen-4")], [StatedCall(vendor_request_id="gen-4", amount_nanousd=7)])
    assert (unstated.usage, unstated.tokens) == (None, 4_000), "what is not stated is not known to be nothing"


def test_one_call_more_is_the_one_in_suspense() -> None:
    """One call in suspense and exactly one call more at the vendor: what is left of the cell is what it cost."""
    part, line = suspended(1)
    ledger = [ours(1, 4, SAME, parts={"status": part}, more=(line,))]
    holds = [hold("h1", line.amount_nanousd)]
    vendor = [theirs(1, 4, {"input": 11_500, "output": 760})]
    assert resolve_by_cell(holds, ledger, vendor, AFTER) == [
        Resolution(
            hold_id="h1",
            usd_nanousd=cost(input=1_500, output=60),
            usage=Usage(input_tokens=1_500, output_tokens=60),
            tokens=1_560,
            how="cell",
        )
    ]
    assert resolve_by_cell(holds, ledger, [theirs(1, 3, SAME)], AFTER) == [
        Resolution(hold_id="h1", usd_nanousd=0, usage=Usage(), tokens=0, how="cell", is_counted=False)
    ]


def test_several_share_what_is_left() -> None:
    """Several calls in suspense share amounts and tokens by their ceilings, and requests one by one; exact in sum."""
    part, line = suspended(2)
    ledger = [ours(1, 5, SAME, parts={"timeout": part}, more=(line,))]
    holds = [hold("h1", line.amount_nanousd // 3), hold("h2", line.amount_nanousd - line.amount_nanousd // 3)]
    found = resolve_by_cell(holds, ledger, [theirs(1, 4, {"input": 13_001, "output": 700})], AFTER)
    assert [(one.hold_id, one.how, one.usage, one.is_counted) for one in found] == [
        ("h1", "share", Usage(input_tokens=1_000), False),
        ("h2", "share", Usage(input_tokens=2_001), True),
    ]
    assert sum(one.usd_nanousd for one in found) == cost(input=3_001)
    assert found[0].usd_nanousd == cost(input=3_001) // 3


def test_what_the_vendor_has_not_stated_yet_waits() -> None:
    """On a day of which more may come, calls that are all stated are resolved, and one that is not is not taken for free."""
    part, line = suspended(1)
    ledger = [ours(1, 4, SAME, parts={"status": part}, more=(line,))]
    holds = [hold("h1", line.amount_nanousd)]
    for until in (day(1), date.min):
        assert resolve_by_cell(holds, ledger, [theirs(1, 3, SAME)], until) == []
        assert resolve_by_cell(holds, ledger, [], until) == []
        (found,) = resolve_by_cell(holds, ledger, [theirs(1, 4, {"input": 11_500, "output": 760})], until)
        assert found.usd_nanousd == cost(input=1_500, output=60)


def test_cells_that_differ_otherwise_resolve_nothing() -> None:
    """Where the vendor has more calls than are in suspense, or another price, or more than the ceilings, nothing is decided."""
    part, line = suspended(1)
    ledger = [ours(1, 4, SAME, parts={"status": part}, more=(line,))]
    holds = [hold("h1", line.amount_nanousd)]
    for vendor in (
        theirs(1, 5, {"input": 11_500, "output": 760}),
        theirs(1, 4, {"input": 9_000, "output": 700}),
        theirs(1, 4, {"input": 40_000, "output": 700}),
        theirs(1, 4, {"input": 11_500, "output": 760}, prices={**PRICES, "output": 16_000_000_000}),
        theirs(1, None, {"input": 11_500, "output": 760}),
    ):
        assert resolve_by_cell(holds, ledger, [vendor], AFTER) == []


def test_amounts_without_tokens_leave_only_amounts() -> None:
    """Where settled calls have an amount and no usage, what is in suspense gets the amount that is left, and its tokens stay unknown."""
    part, line = suspended(1)
    known = Part(requests=1, amount_nanousd=cost(input=900))
    cell = ours(1, 5, SAME, parts={"status": part, "amount_only": known}, more=(line,))
    ledger = [replace(cell, amount_nanousd=cell.amount_nanousd + known.amount_nanousd)]
    (found,) = resolve_by_cell(
        [hold("h1", line.amount_nanousd)], ledger, [theirs(1, 5, {"input": 12_400, "output": 760})], AFTER
    )
    assert (found.usd_nanousd, found.usage, found.tokens) == (cost(input=1_500, output=60), None, 4_000)
    gone = resolve_by_cell(
        [hold("h1", line.amount_nanousd)], ledger, [theirs(1, 4, {"input": 10_900, "output": 700})], AFTER
    )
    assert [(one.usd_nanousd, one.usage, one.is_counted) for one in gone] == [(0, Usage(), False)]


def test_tokens_nobody_stated_here_are_no_difference() -> None:
    """Of a call whose amount alone is known the tokens are the vendor's, as long as requests and amounts agree."""
    known = Part(requests=1, amount_nanousd=cost(input=900))
    cell = ours(1, 5, SAME, parts={"amount_only": known})
    ledger = [replace(cell, amount_nanousd=cell.amount_nanousd + known.amount_nanousd)]
    assert matched(ledger, [theirs(1, 5, {"input": 10_900, "output": 700})]).findings == ()
    for vendor in (theirs(1, 5, {"input": 10_901, "output": 700}), theirs(1, 6, {"input": 10_900, "output": 700})):
        assert matched(ledger, [vendor]).findings
    assert matched([cell], [theirs(1, 5, {"input": 10_900, "output": 700})]).findings, "the amounts differ"
