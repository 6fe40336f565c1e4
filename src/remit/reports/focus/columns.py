"""The columns of FOCUS 1.4 that are filled here, with their types, in the order they are written in.

Names, types and nullability are those of the data model of FOCUS 1.4 (`focus_1_4_model.json` of the specification); what
each is filled from stands in `docs/reference/focus.md`. Columns whose names begin with `x_` are ours.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

Kind = Literal["text", "decimal", "instant", "json", "flag"]
Value = str | int | datetime | bool | None
"""Of a decimal column, an integer in units of its last decimal: 1.5 at scale 9 is 1_500_000_000."""
Row = dict[str, Value]
Dataset = Literal["cost-and-usage", "invoice-detail", "billing-period"]

COST_SCALE: Final = 9
"""Nano-dollars: what the ledger counts in."""
PRODUCT_SCALE: Final = 15
"""Units at a price in nano-dollars per million of them."""
QUANTITY_SCALE: Final = 6


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `scale` counts the decimals of a decimal one."""

    name: str
    kind: Kind = "text"
    nullable: bool = False
    scale: int = 0


def _nullable(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, nullable=True) for name in names)


_PERIOD: Final = (Column("BillingPeriodEnd", "instant"), Column("BillingPeriodStart", "instant"))

COST_AND_USAGE: Final[tuple[Column, ...]] = (
    *_nullable("AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName"),
    Column("AllocatedTags", "json", nullable=True),
    Column("BilledCost", "decimal", scale=COST_SCALE),
    Column("BillingAccountId"),
    *_nullable("BillingAccountName"),
    Column("BillingAccountType"),
    Column("BillingCurrency"),
    *_PERIOD,
    Column("ChargeCategory"),
    *_nullable("ChargeClass", "ChargeDescription"),
    Column("ChargeFrequency"),
    Column("ChargePeriodEnd", "instant"),
    Column("ChargePeriodStart", "instant"),
    Column("ConsumedQuantity", "decimal", nullable=True),
    *_nullable("ConsumedUnit"),
    Column("ContractedCost", "decimal", scale=PRODUCT_SCALE),
    Column("ContractedUnitPrice", "decimal", nullable=True, scale=PRODUCT_SCALE),
    Column("EffectiveCost", "decimal", scale=COST_SCALE),
    *_nullable("HostProviderName", "InvoiceDetailId", "InvoiceId"),
    Column("InvoiceIssuerName"),
    Column("ListCost", "decimal", scale=PRODUCT_SCALE),
    Column("ListUnitPrice", "decimal", nullable=True, scale=PRODUCT_SCALE),
    *_nullable("PricingCategory"),
    Column("PricingQuantity", "decimal", nullable=True, scale=QUANTITY_SCALE),
    *_nullable("PricingUnit"),
    Column("ServiceCategory"),
    Column("ServiceName"),
    Column("ServiceProviderName"),
    Column("ServiceSubcategory"),
    *_nullable("SkuId", "SkuMeter"),
    Column("SkuPriceDetails", "json", nullable=True),
    *_nullable("SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType"),
    Column("Tags", "json", nullable=True),
    *_nullable("x_ConsumerId"),
    Column("x_CredentialDetails", "json", nullable=True),
    *_nullable("x_CredentialId", "x_Deployment"),
    Column("x_GrantClass"),
    Column("x_GrantId"),
    Column("x_GrantPath"),
    Column("x_Kind"),
    Column("x_LedgerEntriesCount", "decimal"),
    Column("x_LedgerEntriesDigest"),
    Column("x_LedgerEntryFirstId"),
    *_nullable("x_LedgerEntryId"),
    Column("x_LedgerEntryLastId"),
    Column("x_ListPriceKnown", "flag"),
    Column("x_Owner"),
    *_nullable("x_PriceCatalogVersion", "x_PrincipalId", "x_TransferId", "x_UsageSource"),
)

INVOICE_DETAIL: Final[tuple[Column, ...]] = (
    Column("BilledCost", "decimal", scale=COST_SCALE),
    Column("BillingAccountId"),
    Column("BillingCurrency"),
    *_PERIOD,
    Column("ChargeCategory"),
    Column("InvoiceDetailCreated", "instant"),
    *_nullable("InvoiceDetailDescription"),
    Column("InvoiceDetailGrain", "json", nullable=True),
    Column("InvoiceDetailId"),
    Column("InvoiceDetailLastUpdated", "instant"),
    Column("InvoiceId"),
    Column("InvoiceIssueDate", "instant", nullable=True),
    Column("InvoiceIssueStatus"),
    Column("InvoiceIssuerName"),
    Column("PaymentDueDate", "instant", nullable=True),
    Column("PaymentTerms"),
    Column("ReferenceInvoiceId"),
)

BILLING_PERIOD: Final[tuple[Column, ...]] = (
    Column("BillingPeriodCreated", "instant"),
    Column("BillingPeriodEnd", "instant"),
    Column("BillingPeriodLastUpdated", "instant"),
    Column("BillingPeriodStart", "instant"),
    Column("BillingPeriodStatus"),
    Column("InvoiceIssuerName"),
)

DATASETS: Final[dict[Dataset, tuple[Column, ...]]] = {
    "cost-and-usage": COST_AND_USAGE,
    "invoice-detail": INVOICE_DETAIL,
    "billing-period": BILLING_PERIOD,
}


def text_of(column: Column, value: Value) -> str:
    """A value as CSV has it: null is nothing, decimals are written in full, instants end in Z."""
    if value is None:
        assert column.nullable, column.name
        return ""
    if column.kind == "decimal":
        assert type(value) is int, column.name
        return decimal_text(value, column.scale)
    if column.kind == "instant":
        assert isinstance(value, datetime), column.name
        return instant_text(value)
    if column.kind == "flag":
        return "true" if value else "false"
    assert isinstance(value, str) and value, column.name
    return value


def decimal_text(units: int, scale: int) -> str:
    """An exact decimal: never an exponent, and always a decimal, so that readers who guess types never guess integers."""
    sign = "-" if units < 0 else ""
    whole, part = divmod(abs(units), 10**scale)
    fraction = f"{part:0{scale}d}".rstrip("0") if scale else ""
    return f"{sign}{whole}.{fraction or '0'}"


def instant_text(instant: datetime) -> str:
    """An instant as FOCUS writes it: whole seconds, in UTC."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
