"""Whatever the inputs are, every nano-dollar between ledger and bill is in a finding."""

from datetime import date, timedelta
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from remit.reconcile.matching.cells import (
    CellKey,
    Invoice,
    InvoiceLine,
    LedgerCell,
    Part,
    PricedLine,
    Tolerance,
    VendorCell,
)
from remit.reconcile.matching.match import Settings, match_month
from remit.reconcile.matching.registry import Registered, Registry

MONTH = date(2026, 10, 1)
METERS = st.sampled_from(
    ["input", "cache_read", "cache_write", "output", "reasoning", "web_search", "audio_seconds", "all"]
)
SMALL = st.integers(0, 5)
AMOUNTS = st.integers(-(10**6), 10**12) | st.sampled_from([0, 1, -1, 499, 500, 501, 10**9])


def texts(*names: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([*names, None])


KEYS = st.builds(
    CellKey,
    vendor=st.sampled_from(["a", "b"]),
    account=texts("acc"),
    project=texts("p", "q"),
    key_id=texts("k", "stranger", ""),
    model=texts("m", "m-embed", "ft:m"),
    tier=texts("default", "priority"),
    is_batch=st.sampled_from([None, False, True]),
    region=texts("us", "eu"),
)
DAYS = st.integers(-3, 32).map(lambda days: MONTH + timedelta(days=days))
PARTS = st.builds(
    Part, requests=SMALL, quantity=st.dictionaries(METERS, st.integers(0, 10), max_size=2), amount_nanousd=AMOUNTS
)
LEDGER = st.builds(
    LedgerCell,
    day=DAYS,
    key=KEYS,
    tier_requested=texts("default", "priority"),
    requests=SMALL,
    lines=st.lists(
        st.builds(PricedLine, METERS, st.none() | st.integers(0, 10**10), st.integers(0, 10**6), AMOUNTS), max_size=3
    ).map(tuple),
    amount_nanousd=AMOUNTS,
    parts=st.dictionaries(
        st.sampled_from(
            ["retries", "voided", "fell_back", "estimated", "zero_usage", "caller_left", "timeout", "cache_hits",
             "before_midnight", "after_midnight", "recovered", "rejected_prediction"]
        ),
        PARTS,
        max_size=3,
    ),
    grants=st.dictionaries(st.sampled_from(["g1", "g2"]), AMOUNTS, max_size=2),
)  # fmt: skip
VENDOR = st.builds(
    VendorCell,
    day=DAYS,
    key=KEYS,
    requests=st.none() | SMALL,
    quantity=st.dictionaries(METERS, st.integers(-5, 10**6) | st.fractions(0, 10, max_denominator=4), max_size=3),
    amount_nanousd=st.dictionaries(METERS, AMOUNTS, max_size=3),
    list_amount_nanousd=st.dictionaries(METERS, AMOUNTS, max_size=1),
    context_window=texts("0-200k", "200k-1M"),
    charge=st.sampled_from(["usage"] * 5 + ["purchase", "tax", "credit", "adjustment"]),
    is_correction=st.booleans(),
    issuer=texts("market"),
    text=texts("refund of something"),
)
INVOICES = st.builds(
    Invoice,
    issuer=st.sampled_from(["a", "b", "market"]),
    id=st.sampled_from(["1", "2"]),
    vendor=st.sampled_from(["a", "b"]),
    month=st.just(MONTH),
    total_nanousd=AMOUNTS,
    currency=st.sampled_from(["USD", "EUR"]),
    rate_text=texts("1.08"),
    lines=st.lists(
        st.builds(
            InvoiceLine,
            charge=st.sampled_from(["usage", "tax", "credit", "purchase", "adjustment"]),
            amount_nanousd=AMOUNTS,
            meter=texts("platform_fee"),
            text=texts("credit note"),
        ),
        max_size=3,
    ).map(tuple),
)


@settings(max_examples=100, deadline=None)
@given(
    ledger=st.lists(LEDGER, max_size=8),
    vendor=st.lists(VENDOR, max_size=8),
    invoices=st.lists(INVOICES, max_size=2),
    tolerance=st.builds(Tolerance, st.sampled_from([0, 500]), st.sampled_from([0, 100])),
)
def test_bill_is_ledger_and_findings(
    ledger: list[LedgerCell], vendor: list[VendorCell], invoices: list[Invoice], tolerance: Tolerance
) -> None:
    """Each vendor's bill is what the ledger has of it and the sum of its findings, to the nano-dollar."""
    registry = Registry([Registered(vendor="a", deployment="d", key_id="k")])
    stated = {cell.key.vendor for cell in vendor} | {one.vendor for one in invoices}
    found = match_month(ledger, vendor, invoices, Settings(month=MONTH, registry=registry, default_tolerance=tolerance))
    assert {one.vendor for one in found} == stated
    for one in found:
        booked = sum(cell.amount_nanousd for cell in ledger if cell.key.vendor == one.vendor)
        bills = [bill.total_nanousd for bill in invoices if bill.vendor == one.vendor]
        assert one.ledger_nanousd == booked
        assert not bills or one.bill_nanousd == sum(bills)
        assert one.bill_nanousd == booked + sum(finding.amount_nanousd for finding in one.findings)
        assert sum(sum(finding.by_day_nanousd.values()) for finding in one.findings) == one.bill_nanousd - booked


def test_quantities_may_be_fractions() -> None:
    """Hours and gigabytes are compared exactly."""
    key = CellKey(vendor="a", model="m")
    cell = VendorCell(day=MONTH, key=key, quantity={"session": Fraction(1, 3)}, amount_nanousd={"session": 7})
    (found,) = match_month([], [cell], [], Settings(month=MONTH))
    assert [(one.cause, one.amount_nanousd, one.quantity) for one in found.findings] == [
        ("session_hours", 7, {"session": Fraction(1, 3)})
    ]
