"""What each kind of entry becomes in Cost and Usage, and that nothing is lost or counted twice."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.kernel.money import line_cost_nanousd
from remit.ledger.months import month_after
from remit.reports.focus.columns import COST_AND_USAGE, DATASETS, Row, decimal_text, text_of
from remit.reports.focus.meters import METERS
from remit.reports.focus.model import Charge, Grain, PriceLine
from remit.reports.focus.names import as_text_id
from remit.reports.focus.service import ExportMismatchError, dataset_rows
from tests.reports.charges import (
    DOLLAR,
    NAMING,
    NOON,
    NOVEMBER,
    Books,
    a_month,
    an_invoice,
    charge,
    line,
)

BY_NAME = {column.name: column for column in COST_AND_USAGE}


def texts(row: Row, *names: str) -> tuple[str, ...]:
    return tuple(text_of(BY_NAME[name], row[name]) for name in names)


def rows_of(*charges: Charge, grain: Grain = "day") -> list[Row]:
    return list(dataset_rows("cost-and-usage", Books(charges), NAMING, grain))


def statement(*charges: Charge, grain: Grain = "day") -> list[tuple[str, ...]]:
    """What a reader adds up: meter, quantity, price, billed."""
    return [
        texts(row, "SkuMeter", "PricingQuantity", "ContractedUnitPrice", "BilledCost")
        for row in rows_of(*charges, grain=grain)
    ]


def test_calls_alike_are_one_row_for_each_kind_of_token() -> None:
    """Quantities in millions times dollars per million is what was spent, kind by kind."""
    assert statement(*a_month()[:2]) == [
        ("Input Tokens", "0.002", "2.0", "0.004"),
        ("Output Tokens", "0.000333", "8.0", "0.002664"),
        ("Cache Read Input Tokens", "0.0001", "1.0", "0.0001"),
        ("Cache Write Input Tokens", "0.000007", "3.0", "0.000021"),
    ]


def test_a_call_beyond_its_ceiling_is_told_once() -> None:
    """The price lines of a call cover its overage, which is no row of its own and yet in the lineage."""
    (row,) = rows_of(a_month()[2])
    assert texts(row, "SkuMeter", "PricingQuantity", "BilledCost", "x_LedgerEntriesCount") == (
        "Output Tokens", "1.0", "8.0", "2.0",
    )  # fmt: skip
    assert row["x_LedgerEntriesDigest"] == hashlib.sha256(b"entry_b1\nentry_b1_overage\n").hexdigest()
    assert (row["x_LedgerEntryFirstId"], row["x_LedgerEntryLastId"]) == ("entry_b1", "entry_b1_overage")


def test_a_doubt_is_a_request_at_its_ceiling_until_it_is_taken_back() -> None:
    """In doubt, no token is claimed; evidence takes the request back whole and records the tokens."""
    doubt, settled = a_month()[3:5]
    assert statement(doubt) == [("Unresolved Request", "1.0", "1.0", "1.0")]
    assert statement(settled) == [
        ("Unresolved Request", "-1.0", "1.0", "-1.0"),
        ("Input Tokens", "1.0", "2.0", "2.0"),
    ]
    assert sum(int(str(row["BilledCost"])) for row in rows_of(doubt, settled)) == 2 * DOLLAR
    assert [row["x_UsageSource"] for row in rows_of(doubt)] == ["estimated"]


def test_a_doubt_that_came_to_nothing_leaves_nothing() -> None:
    """A correction to nothing is the negation alone."""
    gone = charge("entry_x", kind="correction", amount_nanousd=-DOLLAR, corrected_nanousd=DOLLAR)
    assert statement(gone) == [("Unresolved Request", "-1.0", "1.0", "-1.0")]


def test_what_no_line_explains_is_a_request_that_nothing_itemises() -> None:
    """An amount that a statement gave, or a call that was not charged, keeps its place in the file."""
    stated = charge("entry_x", kind="correction", amount_nanousd=-DOLLAR + 7, corrected_nanousd=DOLLAR)
    free = charge("entry_y", amount_nanousd=0)
    odd = charge("entry_z", line("output", 1_000_000, 8), amount_nanousd=7 * DOLLAR)
    assert statement(stated)[1] == ("Unitemised Request", "1.0", "0.000000007", "0.000000007")
    assert statement(free) == [("Unitemised Request", "1.0", "0.0", "0.0")]
    assert statement(odd)[1] == ("Unitemised Request", "-1.0", "1.0", "-1.0")


def test_what_is_booked_late_is_a_correction_of_its_own_time() -> None:
    """The billing period is the open month, the charge period the day of the call."""
    for row in rows_of(a_month()[5]):
        assert texts(row, "ChargeClass", "ChargePeriodStart", "BillingPeriodStart", "BillingPeriodEnd") == (
            "Correction", "2026-10-14T00:00:00Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z",
        )  # fmt: skip
    assert {row["ChargeClass"] for row in rows_of(*a_month()[:5])} == {None}


def test_an_adjustment_is_the_vendors_and_has_no_price() -> None:
    """Nothing was metered, so nothing is priced."""
    (row,) = rows_of(a_month()[8])
    assert row["ChargeDescription"] == "Adjustment to the vendor's statement: retries"
    assert texts(row, "ChargeCategory", "InvoiceIssuerName", "BilledCost", "ListCost", "SkuPriceId", "ConsumedUnit") == (
        "Adjustment", "OpenAI", "-0.000005", "-0.000005", "", "",
    )  # fmt: skip


def test_a_transfer_is_two_rows_that_sum_to_nothing() -> None:
    """What one grant no longer bears another does; both name the transfer, and no vendor has a part in it."""
    away, here = sorted(rows_of(*a_month()[9:11]), key=lambda row: int(str(row["BilledCost"])))
    assert int(str(away["BilledCost"])) + int(str(here["BilledCost"])) == 0
    assert away["x_TransferId"] == here["x_TransferId"] == "tr_1"
    assert (away["AllocatedResourceName"], here["AllocatedResourceName"]) == ("acme/search", "acme/ads")
    assert away["AllocatedMethodId"] == "shared-cache" and away["InvoiceIssuerName"] == "Internal"


def test_a_price_that_was_negotiated_is_marked() -> None:
    """The list price is not in the ledger then: the columns that must not be null repeat the contracted one."""
    (row,) = rows_of(a_month()[6])
    assert (row["x_ListPriceKnown"], row["x_PriceCatalogVersion"]) == (False, "override:5f0c9a1b2c3d")
    assert row["ListUnitPrice"] == row["ContractedUnitPrice"] and row["InvoiceIssuerName"] == "Acme Marketplace"
    assert rows_of(a_month()[0])[0]["x_ListPriceKnown"] is True


def test_tokens_say_which_way_they_went() -> None:
    """Direction, cache and model stand in SkuPriceDetails under names of our own until FOCUS 1.5 has its own."""
    (row,) = rows_of(charge("entry_x", line("cache_read", 5, 1)))
    assert json.loads(str(row["SkuPriceDetails"])) == {
        "x_ModelId": "gpt-4o", "x_ServiceTier": "default", "x_TokenCacheAction": "Read", "x_TokenDirection": "Input",
    }  # fmt: skip
    assert (row["SkuId"], row["SkuPriceId"]) == (
        "openai/gpt-4o/cache-read",
        "openai/gpt-4o/cache-read/default/1000000000",
    )


def test_fees_of_requests_are_priced_one_by_one() -> None:
    """A fee of a cent a request: two requests, two cents."""
    fee = PriceLine("request", 1, 10_000_000 * 10**6, 10_000_000)
    assert statement(charge("entry_x", fee), charge("entry_y", fee)) == [("Request Fees", "2.0", "0.01", "0.02")]


@pytest.mark.parametrize(("grain", "rows"), [("hour", 3), ("day", 2), ("entry", 4)])
def test_the_grain_says_what_is_summed(grain: Grain, rows: int) -> None:
    """Calls of an hour, of a day, or each for itself with its id."""
    times = [NOON, NOON + timedelta(minutes=5), NOON + timedelta(hours=2), NOON + timedelta(days=1)]
    found = rows_of(*(charge(f"entry_{n}", line("input", 1, 2), held_at=at) for n, at in enumerate(times)), grain=grain)
    assert len(found) == rows
    assert [row["x_LedgerEntryId"] for row in found] == (
        [f"entry_{n}" for n in range(4)] if grain == "entry" else [None] * rows
    )


DIFFERENT: list[dict[str, Any]] = [
    {"grant_id": "grant_ads"}, {"owner": "bob@acme.example"}, {"grant_class": "experimentation"}, {"tags": {"team": "ads"}},
    {"block_ids": ("block_b",)}, {"vendor": "azure"}, {"deployment": "market"}, {"model": "gpt-4o-mini"}, {"tier": "priority"},
    {"price_source": "override:1"}, {"usage_source": "recovered"}, {"lines": (line("input", 1, 3),)},
]  # fmt: skip


@pytest.mark.parametrize("difference", DIFFERENT, ids=lambda one: next(iter(one)))
def test_what_differs_is_never_summed(difference: dict[str, Any]) -> None:
    """Whoever pays, and whatever is priced otherwise, has a row of its own."""
    plain = charge("entry_x", line("input", 1, 2))
    other = replace(plain, entry_id="entry_y", **difference)
    other = replace(other, amount_nanousd=sum(one.amount_nanousd for one in other.lines))
    assert len(rows_of(plain, other)) == 2
    assert len(rows_of(plain, replace(plain, entry_id="entry_y"))) == 1


def test_a_file_that_is_not_the_ledger_is_refused() -> None:
    """A charge that got lost on the way is noticed at the end."""

    class Forgetful(Books):
        def total_nanousd(self) -> int:
            return super().total_nanousd() + 1

    with pytest.raises(ExportMismatchError, match="the ledger says"):
        list(dataset_rows("cost-and-usage", Forgetful(a_month()), NAMING))


PRICES = st.integers(0, 10**12)
LINES = st.builds(
    lambda kind, units, price: PriceLine(kind, units, price, line_cost_nanousd(units, price)),
    st.sampled_from(sorted(METERS)), st.integers(1, 10**7), PRICES,
)  # fmt: skip


@st.composite
def charges(draw: st.DrawFn) -> list[Charge]:
    """Any books: calls, doubts and their ends, adjustments and transfers, also with lines that do not add up."""
    found: list[Charge] = []
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["usage", "suspense", "correction", "adjustment", "transfer"]))
        lines = tuple(draw(st.lists(LINES, max_size=4)))
        amount = sum(one.amount_nanousd for one in lines)
        corrected = draw(st.integers(0, 10**12)) if kind == "correction" else None
        amount += draw(st.sampled_from([0, 0, 0, 1, -1, 10**9])) - (corrected or 0)
        amount = abs(amount) if kind in ("usage", "suspense") else amount
        late = draw(st.booleans())
        found.append(
            charge(f"entry_{number:03d}", *lines, kind=kind, amount_nanousd=amount, corrected_nanousd=corrected,
                   grant_id=draw(st.sampled_from(["grant_a", "grant_b"])),
                   held_at=NOON - timedelta(days=20 * late, hours=draw(st.integers(0, 30))),
                   overage_id=f"entry_{number:03d}_overage" if kind == "usage" and draw(st.booleans()) else None)
        )  # fmt: skip
    return found


@given(charges(), st.sampled_from(["hour", "day", "entry"]))
def test_the_rows_are_the_ledger_and_their_prices_multiply(books: list[Charge], grain: Grain) -> None:
    """Billed is the ledger's sum to the nano-dollar; contracted is quantity times price exactly, and near what is billed."""
    rows = rows_of(*books, grain=grain)
    assert sum(int(str(row["BilledCost"])) for row in rows) == sum(one.amount_nanousd for one in books)
    assert sum(int(str(row["x_LedgerEntriesCount"])) for row in rows) >= len(books)
    for row in rows:
        for column in COST_AND_USAGE:
            text_of(column, row[column.name])
        assert row.keys() == BY_NAME.keys()
        if row["PricingQuantity"] is None:
            continue
        # At scales 6 + 15, and 15: an exact product has six decimals more.
        product = int(row["PricingQuantity"]) * int(str(row["ContractedUnitPrice"]))  # type: ignore[arg-type]
        assert product == int(str(row["ContractedCost"])) * 10**6
        drift = abs(int(str(row["ContractedCost"])) - int(str(row["BilledCost"])) * 10**6)
        # Half a nano-dollar for each call and line; two lines of one kind and price may meet in a row.
        assert 2 * drift <= 10**6 * 4 * int(str(row["x_LedgerEntriesCount"]))


@pytest.mark.parametrize(
    ("units", "scale", "text"),
    [(0, 9, "0.0"), (1, 9, "0.000000001"), (-1_500_000_000, 9, "-1.5"), (500_000, 0, "500000.0"), (10**30, 15, f"1{'0' * 15}.0")],
)  # fmt: skip
def test_decimals_are_written_in_full(units: int, scale: int, text: str) -> None:
    """No exponent, no float, and always a decimal, so that nobody takes a column for whole numbers."""
    assert decimal_text(units, scale) == text


@pytest.mark.parametrize(("given", "text"), [("4711", "acct-4711"), ("1e5", "acct-1e5"), ("org-1", "org-1")])
def test_no_account_looks_like_a_number(given: str, text: str) -> None:
    """An id of digits is prefixed, so that a reader who guesses types takes it for text."""
    assert as_text_id("acct", given) == text


def test_a_deployment_nobody_described_has_names() -> None:
    """Names of vendors that are known, and of any other the name it has here."""
    known, other, past = (NAMING.of(*one) for one in (("openai", "x"), ("acme-llm", "y"), ("openai", "main")))
    assert (known.provider, known.service, known.account_id) == ("OpenAI", "OpenAI API", "acct-4711")
    assert (other.provider, other.issuer, other.host, other.account_id) == (
        "acme-llm",
        "acme-llm",
        None,
        "vendor-acme-llm",
    )
    assert (past.account_id, past.sub_account_id) == ("acct-4711", "proj_9")


def test_a_billing_period_is_open_for_every_issuer() -> None:
    """One row for each issuer of the month or the settings."""
    rows = list(dataset_rows("billing-period", Books(a_month()), NAMING))
    assert [(row["InvoiceIssuerName"], row["BillingPeriodStatus"]) for row in rows] == [
        ("Acme Marketplace", "Open"), ("Internal", "Open"), ("OpenAI", "Open"),
    ]  # fmt: skip
    assert {row["BillingPeriodEnd"] for row in rows} == {datetime(2026, 12, 1, tzinfo=UTC)}


def test_an_invoice_is_told_line_by_line() -> None:
    """Each line with its amount; an invoice that corrects none refers to itself."""
    rows = list(dataset_rows("invoice-detail", Books([], [an_invoice()]), NAMING))
    assert [(row["InvoiceDetailId"], row["BilledCost"], row["ChargeCategory"]) for row in rows] == [
        ("INV-2026-11/1", 12 * DOLLAR, "Usage"), ("INV-2026-11/2", -DOLLAR, "Credit"),
    ]  # fmt: skip
    assert {row["ReferenceInvoiceId"] for row in rows} == {"INV-2026-11"}
    assert {name for row in rows for name in row} == {column.name for column in DATASETS["invoice-detail"]}


def test_december_ends_in_another_year() -> None:
    """The month after December is January."""
    assert month_after(date(2026, 12, 1)) == date(2027, 1, 1) and month_after(NOVEMBER) == date(2026, 12, 1)
