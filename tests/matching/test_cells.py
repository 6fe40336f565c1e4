"""Statement lines and facts of the ledger as cells."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import pytest

from remit.reconcile.matching.cells import CellKey, Part, PricedLine
from remit.reconcile.matching.from_facts import NOT_COUNTED, NOT_STATED, Fact, ledger_cells, part_of_note
from remit.reconcile.matching.from_lines import NoRateError, vendor_cells
from tests.matching.sides import KEY, day, findings


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A line as a statement's reader gives it."""

    meter: str
    starts_at: datetime = datetime(2026, 10, 3, 5, tzinfo=UTC)
    vendor: str = "v"
    account: str | None = None
    project: str | None = "p"
    key_id: str | None = "k"
    region: str | None = None
    model: str | None = "m"
    tier: str | None = None
    is_batch: bool | None = None
    context_window: str | None = None
    quantity: int | Decimal | None = None
    requests: int | None = None
    amount_nanousd: int | None = None
    amount_text: str | None = None
    list_amount_nanousd: int | None = None
    currency: str | None = None
    charge: Literal["usage", "purchase", "tax", "credit", "adjustment"] = "usage"
    is_correction: bool = False
    invoice_issuer: str | None = None
    text: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


def test_counts_of_usage_and_amounts_of_costs() -> None:
    """Counts come from the usage and amounts from the costs, by hours or by days."""
    usage = [
        Stated(meter="input", quantity=700, tier="standard"),
        Stated(meter="input", quantity=300, tier="standard", starts_at=datetime(2026, 10, 3, 23, tzinfo=UTC)),
        Stated(meter="requests", quantity=4, requests=4, tier="standard"),
    ]
    costs = [
        Stated(meter="input", quantity=999_999, amount_nanousd=50),
        Stated(meter="storage", amount_nanousd=3, quantity=2),
    ]
    cells = vendor_cells(usage, costs)
    assert [(cell.key.tier, cell.requests, dict(cell.quantity), dict(cell.amount_nanousd)) for cell in cells] == [
        ("default", 4, {"input": 1_000}, {}),
        (None, None, {"storage": 2}, {"input": 50, "storage": 3}),
    ]
    assert {cell.day for cell in cells} == {day(3)}


def test_amounts_are_rounded_once() -> None:
    """Amounts finer than a nano-dollar are summed exactly and rounded once for each cell and meter."""
    (cell,) = vendor_cells([], [Stated(meter="output", amount_text="0.0000000004", quantity=Decimal("0.5"))] * 3)
    assert (dict(cell.amount_nanousd), dict(cell.quantity)) == ({"output": 1}, {"output": Fraction(3, 2)})


def test_other_currencies_need_a_rate() -> None:
    """An amount in another currency is converted at the rate that was given, and never at a guess."""
    line = Stated(meter="output", amount_text="2.00", currency="EUR")
    (cell,) = vendor_cells([], [line], {"EUR": Fraction("1.08")})
    assert cell.total_nanousd == 2_160_000_000
    with pytest.raises(NoRateError, match="in EUR, and no rate"):
        vendor_cells([], [line])


def test_playground_and_batches_have_their_own_words() -> None:
    """Usage that is stated to have no key has an empty one, and a tier that means batches is no tier."""
    cells = vendor_cells(
        [
            Stated(meter="input", quantity=1, key_id=None, tags={"origin": "workbench"}),
            Stated(meter="input", quantity=1, tier="batch"),
        ],
        [],
    )
    assert [(cell.key.key_id, cell.key.tier, cell.key.is_batch) for cell in cells] == [
        ("", None, None),
        ("k", "default", True),
    ]


def test_sum_on_the_line_of_requests() -> None:
    """An amount for all tokens of a model stands for all of them, wherever the statement has it."""
    cells = vendor_cells(
        [], [Stated(meter="input", quantity=9), Stated(meter="requests", quantity=2, requests=2, amount_nanousd=70)]
    )
    assert [(cell.requests, dict(cell.quantity), dict(cell.amount_nanousd)) for cell in cells] == [
        (2, {"input": 9}, {"all": 70})
    ]


FACT = Fact(
    day=day(2),
    key=KEY,
    kind="usage",
    grant_id="g",
    requests=3,
    amount_nanousd=30,
    lines=(PricedLine("input", 10, 3_000_000, 30),),
    usage_source="vendor",
    price_source="list",
)


def test_facts_add_up_to_cells() -> None:
    """Entries of one day and key are one cell, whatever they are split by, with who spent what."""
    late = replace(FACT, grant_id="h", is_late=True, is_later_attempt=True)
    (cell,) = ledger_cells([FACT, late, replace(FACT, kind="overage", requests=0, amount_nanousd=4, lines=())])
    assert (cell.requests, cell.amount_nanousd, cell.grants) == (6, 64, {"g": 34, "h": 30})
    assert cell.lines == (PricedLine("input", 10, 6_000_000, 60),)
    part = Part(requests=3, quantity={"input": 3_000_000}, amount_nanousd=30)
    assert (cell.parts["late"], cell.parts["retries"], cell.parts["vendor"]) == (part, part, part + part)


def test_suspense_counts_until_it_is_corrected() -> None:
    """What is in suspense stands at its ceiling without a price; once corrected, it is the call that the correction says it was."""
    ceiling = (PricedLine("input", 12, 5_000_000, 60),)
    waiting = replace(
        FACT,
        kind="suspense",
        requests=1,
        amount_nanousd=60,
        lines=ceiling,
        note="cost unknown: status 500",
    )
    (cell,) = ledger_cells([waiting])
    assert cell.lines == (PricedLine("input", None, 5_000_000, 60),)
    assert cell.parts == {"status": Part(requests=1, quantity={"input": 5_000_000}, amount_nanousd=60)}
    actual = (PricedLine("input", 10, 1_000_000, 10),)
    corrected = replace(FACT, kind="correction", requests=1, amount_nanousd=10, lines=actual)
    (cell,) = ledger_cells([corrected])
    assert (cell.requests, cell.amount_nanousd, cell.lines) == (1, 10, actual)
    assert set(cell.parts) == {"vendor"}


def test_calls_that_the_vendor_does_not_count() -> None:
    """Corrected to nothing as the vendor does not have it, a call is an attempt not charged; with a share it is no request of its own."""
    gone = replace(FACT, kind="correction", requests=1, amount_nanousd=0, lines=(), usage_source="vendor")
    notes = (f"by the vendor's statement (cell), {NOT_COUNTED}", f"not charged (from s.csv by ada), {NOT_STATED}",
             "status 429: not charged", "nothing can have been billed")  # fmt: skip
    (cell,) = ledger_cells([FACT, *(replace(gone, note=note) for note in notes)])
    assert (cell.requests, cell.amount_nanousd, cell.parts["voided"].requests) == (3, 30, 4)
    (cell,) = ledger_cells([replace(gone, note="not charged, I think (from s.csv by ada), line 7")])
    assert cell.requests == 1 and "voided" not in cell.parts, "what somebody says of it does not count"
    share = replace(FACT, kind="correction", requests=2, usage_source="estimated", note="by the statement (share)")
    uncounted = replace(share, requests=1, note=f"by the statement (share), {NOT_COUNTED}")
    (cell,) = ledger_cells([share, uncounted])
    assert (cell.requests, cell.amount_nanousd, cell.parts) == (2, 60, {}), "nor is what is right in sum a bound"
    (cell,) = ledger_cells([replace(gone, amount_nanousd=7, is_amount_only=True, note="by a statement, line 3")])
    assert cell.parts == {"amount_only": Part(requests=1, amount_nanousd=7)}


def test_attempts_that_were_not_charged_are_apart() -> None:
    """An attempt that the vendor does not charge for is known, and is no request that the vendor has to have."""
    voided = replace(FACT, requests=2, amount_nanousd=0, lines=(), note="status 429: not charged", fell_back=True)
    (cell,) = ledger_cells([FACT, voided])
    assert cell.requests == 3
    assert (cell.parts["voided"], cell.parts["fell_back"]) == (Part(requests=2), Part(requests=2))


def test_calls_over_midnight_are_of_both_days() -> None:
    """What was held before midnight and settled after it is booked on the first day and known on the second."""
    cells = ledger_cells([replace(FACT, midnight=True, settled_on=day(3))])
    first, second = sorted(cells, key=lambda cell: cell.day)
    assert (first.requests, first.parts["before_midnight"].requests) == (3, 3)
    assert (second.requests, second.amount_nanousd, second.parts["after_midnight"].requests) == (0, 0, 3)


def test_usage_of_nothing_is_known() -> None:
    """Calls that are booked with no tokens at all are told apart."""
    (cell,) = ledger_cells([replace(FACT, lines=(), amount_nanousd=0)])
    assert cell.parts["zero_usage"].requests == 3


@pytest.mark.parametrize(
    ("note", "part"),
    [
        ("cost unknown: status 500", "status"),
        ("cost unknown: the vendor's stream ended without `[DONE]`", "vendor_dropped"),
        ("the hold's time was up", "timeout"),
        ("cost unknown: the vendor stated no usage", "suspense"),
        ("the caller left", "caller_left"),
        (None, "suspense"),
    ],
)
def test_notes_say_what_happened(note: str | None, part: str) -> None:
    """What happened to a call in suspense is in its note."""
    assert part_of_note(note) == part


def test_both_adapters_meet() -> None:
    """Facts and lines of the same calls have no finding."""
    lines = [
        Stated(meter="input", quantity=3_000_000, amount_nanousd=30, starts_at=datetime(2026, 10, 2, tzinfo=UTC)),
        Stated(meter="requests", quantity=3, requests=3, starts_at=datetime(2026, 10, 2, tzinfo=UTC)),
    ]
    assert findings(ledger_cells([FACT]), vendor_cells(lines, [])) == []
    assert CellKey(vendor="v", model="m").text() == "vendor=v model=m"
