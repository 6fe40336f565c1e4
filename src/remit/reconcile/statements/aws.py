"""AWS Cost and Usage Report 2.0. Which model, kind of token, tier and routing a row is of stands in its usage type.

Bedrock's usage types are such as `USE1-Claude4Sonnet-cache-read-input-token-count` or `USW2-NovaPro-output-tokens-batch` (the AWS page
on Bedrock's cost data).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from remit.reconcile.statements.focus import instant, json_object, quantity_fields, rows_of
from remit.reconcile.statements.meters import meter_of
from remit.reconcile.statements.model import Charge, Meter, StatementLine
from remit.reconcile.statements.reading import Fields, Reading

VENDOR: Final = "aws"
_READ: Final = frozenset(
    {
        "bill_billing_period_start_date",
        "bill_billing_period_end_date",
        "bill_invoice_id",
        "bill_invoicing_entity",
        "bill_payer_account_id",
        "identity_line_item_id",
        "line_item_currency_code",
        "line_item_iam_principal",
        "line_item_line_item_description",
        "line_item_line_item_type",
        "line_item_operation",
        "line_item_product_code",
        "line_item_resource_id",
        "line_item_unblended_cost",
        "line_item_usage_account_id",
        "line_item_usage_amount",
        "line_item_usage_end_date",
        "line_item_usage_start_date",
        "line_item_usage_type",
        "pricing_public_on_demand_cost",
        "pricing_unit",
        "product_region_code",
        "resource_tags",
    }
)
_NEEDED: Final = (
    "line_item_usage_start_date",
    "line_item_usage_end_date",
    "line_item_usage_type",
    "line_item_unblended_cost",
)
_CHARGES: Final[Mapping[str, Charge]] = {
    "Usage": "usage",
    "DiscountedUsage": "usage",
    "SavingsPlanCoveredUsage": "usage",
    "Fee": "purchase",
    "RIFee": "purchase",
    "SavingsPlanUpfrontFee": "purchase",
    "SavingsPlanRecurringFee": "purchase",
    "Tax": "tax",
    "Credit": "credit",
    "Refund": "credit",
    "SavingsPlanNegation": "adjustment",
    "BundledDiscount": "adjustment",
    "EdpDiscount": "adjustment",
    "PrivateRateDiscount": "adjustment",
    "Discount": "adjustment",
}
_METERS: Final[Mapping[Charge, Meter]] = {"tax": "tax", "credit": "credit", "purchase": "purchase"}
_REGION: Final = re.compile(r"^[A-Z]{2,4}\d?-(?=.)")
_KIND: Final = re.compile(
    r"-(?:mantle-)?(?:cache-(?:read|write)-)?(?:cache-)?(?:input|output|reasoning|audio|image|search)[a-z0-9-]*$",
    re.IGNORECASE,
)
_TIER: Final = re.compile(r"-(batch|flex|priority|latency-optimized)\b", re.IGNORECASE)


def read_cur2(reading: Reading) -> Iterator[StatementLine]:
    """A line for each row; rows of other products are left out where `Options.only` names some."""
    for line, row in rows_of(reading, "Cost and Usage Report 2.0", _NEEDED, _READ):
        fields = Fields(row, line)
        cost = fields.decimal("line_item_unblended_cost")
        currency = fields.text("line_item_currency_code")
        paid = [] if cost is None else [(reading.currency(currency, line), cost)]
        only = reading.options.only
        if only and fields.text("line_item_product_code") not in only:
            reading.notes.left_out(*paid)
            continue
        reading.notes.row(*paid)
        if fields.text("bill_billing_period_start_date") and fields.text("bill_billing_period_end_date"):
            reading.notes.covers(
                instant(fields, "bill_billing_period_start_date"), instant(fields, "bill_billing_period_end_date")
            )
        if "bill_invoice_id" in row:
            reading.notes.final(fields.text("bill_invoice_id") is not None)
        yield _line(reading, fields)


def parse_usage_type(usage_type: str) -> tuple[str | None, Meter, str | None]:
    """Model, meter and tier of one of Bedrock's usage types; `other` and no model for anything else."""
    bare = _REGION.sub("", usage_type)
    found = _KIND.search(bare)
    if found is None:
        return None, "other", None
    tier = _TIER.search(bare)
    meter = meter_of(found[0].replace("-mantle", ""))
    return bare[: found.start()] or None, meter, None if tier is None else tier[1].lower()


def _line(reading: Reading, fields: Fields) -> StatementLine:
    usage_type, kind = fields.text("line_item_usage_type") or "", fields.required("line_item_line_item_type")
    if kind not in _CHARGES:
        raise fields.error(f"`line_item_line_item_type` is `{kind}`, which is not known here")
    charge = _CHARGES[kind]
    is_bedrock = "bedrock" in (fields.text("line_item_product_code") or "").lower() or "token" in usage_type.lower()
    model, meter, tier = parse_usage_type(usage_type) if is_bedrock else (None, "other", None)
    meter = _METERS.get(charge) or meter
    currency, tags = fields.text("line_item_currency_code"), json_object(fields, "resource_tags")
    if principal := fields.text("line_item_iam_principal"):
        tags["iam_principal"] = principal
    if "cross-region" in usage_type.lower():
        tags["routing"] = "cross-region-global" if "global" in usage_type.lower() else "cross-region"
    return StatementLine(
        line=fields.line,
        starts_at=instant(fields, "line_item_usage_start_date"),
        ends_at=instant(fields, "line_item_usage_end_date"),
        vendor=VENDOR,
        account=fields.text("bill_payer_account_id"),
        project=fields.text("line_item_usage_account_id"),
        region=fields.text("product_region_code"),
        resource=fields.text("line_item_resource_id"),
        model=model,
        tier=tier,
        is_batch=None if model is None else tier == "batch",
        meter=meter,
        **quantity_fields(fields.decimal("line_item_usage_amount"), fields.text("pricing_unit"), meter),
        **reading.money(fields.decimal("line_item_unblended_cost"), currency, fields.line),
        list_amount_nanousd=reading.list_money(fields.decimal("pricing_public_on_demand_cost"), currency, fields.line),
        charge=charge,
        invoice_id=fields.text("bill_invoice_id"),
        invoice_issuer=fields.text("bill_invoicing_entity"),
        native_id=fields.text("identity_line_item_id"),
        text=" ".join(part for part in (usage_type, fields.text("line_item_line_item_description")) if part)[:2000]
        or None,
        tags=tags,
    )
