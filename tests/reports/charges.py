"""Charges to be exported: a small month with every kind of entry in it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from remit.kernel.money import line_cost_nanousd
from remit.reports.focus.group import group_key
from remit.reports.focus.model import BillingMonth, Charge, Grain, Invoice, InvoiceLine, PriceLine
from remit.reports.focus.names import Naming, Stated

NOVEMBER = date(2026, 11, 1)
NOON = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
GENAI = "genai-prices 0.2.3"
DOLLAR = 1_000_000_000
NAMING = Naming(
    {
        "main": Stated(
            "openai", account_id="4711", account_name="Acme", sub_account_id="proj_9", sub_account_name="Search"
        ),
        "market": Stated("anthropic", invoice_issuer="Acme Marketplace", host_provider="Amazon Web Services"),
    }
)


def line(kind: str, units: int, dollars_per_million: int) -> PriceLine:
    price = dollars_per_million * DOLLAR
    return PriceLine(kind, units, price, line_cost_nanousd(units, price))


def charge(entry_id: str, *lines: PriceLine, **fields: Any) -> Charge:
    """A call on the third of November, settled at its lines."""
    plain = Charge(
        entry_id=entry_id,
        kind="usage",
        amount_nanousd=sum(one.amount_nanousd for one in lines),
        held_at=NOON,
        billing_month=NOVEMBER,
        grant_id="grant_search",
        grant_path="acme/search",
        grant_class="production",
        owner="ana@acme.example",
        tags={"team": "search"},
        vendor="openai",
        deployment="main",
        model="gpt-4o",
        tier="default",
        usage_source="vendor",
        price_source=GENAI,
        lines=lines,
    )
    return replace(plain, **fields)


def a_month() -> list[Charge]:
    """Two calls alike, one beyond its ceiling, one in doubt, one no longer in doubt, and what belongs to no call."""
    october = NOON - timedelta(days=20)
    bare: dict[str, Any] = {"vendor": None, "deployment": None, "model": None, "tier": None, "price_source": None,
                            "usage_source": None}  # fmt: skip
    moved = {"how": "allocated", "transfer_id": "tr_1", "rule": "shared-cache", "method": "even"}
    return [
        charge("entry_a1", line("input", 1_500, 2), line("output", 333, 8)),
        charge("entry_a2", line("input", 500, 2), line("cache_read", 100, 1), line("cache_write", 7, 3)),
        charge("entry_b1", line("output", 1_000_000, 8), overage_id="entry_b1_overage", held_at=NOON + timedelta(days=1)),
        charge("entry_c1", kind="suspense", amount_nanousd=DOLLAR, usage_source="estimated"),
        charge("entry_c1_correction", line("input", 1_000_000, 2), kind="correction", amount_nanousd=DOLLAR,
               corrected_nanousd=DOLLAR),
        charge("entry_d1_correction", line("output", 125_000, 8), kind="correction", amount_nanousd=0,
               corrected_nanousd=DOLLAR, held_at=october),
        charge("entry_e1", line("input", 10, 1), vendor="anthropic", deployment="market", model="claude-sonnet-4-5",
               price_source="override:5f0c9a1b2c3d", tags={}),
        charge("entry_f1", amount_nanousd=0),
        charge("entry_g1", kind="adjustment", amount_nanousd=-5_000, **{**bare, "vendor": "openai", "deployment": "main"},
               settlement={"how": "reconciled", "cause": "retries"}),
        charge("entry_h1", kind="transfer", amount_nanousd=-DOLLAR, **bare, settlement=moved),
        charge("entry_h2", kind="transfer", amount_nanousd=DOLLAR, grant_id="grant_ads", grant_path="acme/ads", **bare,
               settlement=moved),
    ]  # fmt: skip


def in_order(charges: Iterable[Charge], grain: Grain) -> list[Charge]:
    """As the store hands them out: groups together, by id inside."""

    def key(one: Charge) -> tuple[Any, ...]:
        return (*map(str, group_key(one, grain)), one.entry_id)

    return sorted(charges, key=key)


class Books:
    """A `FocusReader` over charges and invoices in memory."""

    month = NOVEMBER

    def __init__(self, charges: Sequence[Charge], invoices: Sequence[Invoice] = ()) -> None:
        self._charges = charges
        self._invoices = invoices

    def charges(self, grain: Grain) -> Iterable[Charge]:
        return iter(in_order(self._charges, grain))

    def total_nanousd(self) -> int:
        return sum(one.amount_nanousd for one in self._charges)

    def deployments(self) -> Iterable[tuple[str | None, str | None]]:
        return {(one.vendor, one.deployment) for one in self._charges}

    def billing_month(self) -> BillingMonth:
        return BillingMonth(
            month=NOVEMBER, is_closed=False, created_at=datetime(2026, 11, 1, tzinfo=UTC), updated_at=NOON
        )

    def invoices(self) -> Iterable[Invoice]:
        return self._invoices


def an_invoice() -> Invoice:
    """November at OpenAI, in two lines."""
    issued = datetime(2026, 12, 3, tzinfo=UTC)
    return Invoice(
        vendor="openai",
        invoice_id="INV-2026-11",
        month=NOVEMBER,
        status="Issued",
        issued_at=issued,
        lines=[
            InvoiceLine(detail_id="INV-2026-11/1", amount_nanousd=12 * DOLLAR, created_at=issued, updated_at=issued,
                        description="gpt-4o, input", grain={"SkuMeter": "Input Tokens"}),
            InvoiceLine(detail_id="INV-2026-11/2", amount_nanousd=-DOLLAR, created_at=issued, updated_at=issued,
                        category="Credit"),
        ],
    )  # fmt: skip
