"""Books as clouds export them: a row for each call and kind of token, in files."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from remit.testing.vendor_reports.books import BookRow, decimal_text, dollars, exact_json

AWS_SUFFIXES: Final = {
    "input": "input-tokens",
    "cache_read": "cache-read-input-token-count",
    "cache_write": "cache-write-input-token-count",
    "output": "output-tokens",
}
AZURE_WORDS: Final = {"input": "Inp", "cache_read": "cached Inp", "output": "Outp"}
GOOGLE_WORDS: Final = {
    "input": "Input Text Tokens",
    "cache_read": "Cached Text Input Tokens",
    "output": "Output Text Tokens",
}
FOCUS_METERS: Final = {
    "input": "Input Tokens",
    "cache_read": "Cache Read Input Tokens",
    "cache_write": "Cache Write Input Tokens",
    "output": "Output Tokens",
}


def aws_cur2(rows: Iterable[BookRow]) -> bytes:
    """Cost and Usage Report 2.0 for Bedrock: thousands of tokens, hourly."""
    return _csv(
        {
            "identity_line_item_id": f"line-{number}",
            "bill_billing_period_start_date": f"{_month(row):%Y-%m-%d %H:%M:%S}",
            "bill_billing_period_end_date": f"{_next(row):%Y-%m-%d %H:%M:%S}",
            "bill_payer_account_id": row.account,
            "bill_invoice_id": "",
            "bill_invoicing_entity": "Amazon Web Services, Inc.",
            "line_item_usage_account_id": row.project or "",
            "line_item_usage_start_date": f"{_hour(row):%Y-%m-%d %H:%M:%S}",
            "line_item_usage_end_date": f"{_hour(row) + timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
            "line_item_line_item_type": "Usage",
            "line_item_product_code": "AmazonBedrock",
            "line_item_usage_type": f"USE1-{row.model}-{AWS_SUFFIXES[kind]}" + ("-batch" if row.is_batch else ""),
            "line_item_operation": "Inference",
            "line_item_usage_amount": decimal_text(Decimal(count).scaleb(-3)),
            "line_item_currency_code": "USD",
            "line_item_unblended_cost": decimal_text(dollars(amount_nanousd)),
            "line_item_resource_id": f"arn:aws:bedrock:us-east-1:{row.project}:application-inference-profile/{row.key_id}",
            "line_item_line_item_description": "",
            "pricing_unit": "1K tokens",
            "product_region_code": row.region,
            "resource_tags": json.dumps({"user_team": "search"}),
        }
        for number, (row, kind, count, amount_nanousd) in enumerate(_kinds(rows, AWS_SUFFIXES), start=1)
    )


def azure_cost_details(rows: Iterable[BookRow]) -> bytes:
    """Cost details of an Enterprise Agreement: thousands of tokens, daily, dates as Americans write them."""
    return _csv(
        {
            "BillingAccountId": row.account,
            "BillingPeriodStartDate": f"{_month(row):%m/%d/%Y}",
            "BillingPeriodEndDate": f"{_next(row) - timedelta(days=1):%m/%d/%Y}",
            "SubscriptionId": row.project or "",
            "Date": f"{row.day:%m/%d/%Y}",
            "MeterCategory": "Foundry Models",
            "MeterSubCategory": "Azure OpenAI",
            "MeterId": f"meter-{number}",
            "MeterName": f"{row.model} {AZURE_WORDS[kind]} glbl Tokens",
            "UnitOfMeasure": "1K",
            "Quantity": decimal_text(Decimal(count).scaleb(-3)),
            "CostInBillingCurrency": decimal_text(dollars(amount_nanousd)),
            "BillingCurrency": "USD",
            "ChargeType": "Usage",
            "ResourceId": f"/subscriptions/{row.project}/accounts/{row.key_id}",
            "ResourceLocation": row.region,
            "Tags": '"team": "search"',
        }
        for number, (row, kind, count, amount_nanousd) in enumerate(_kinds(rows, AZURE_WORDS), start=1)
    )


def google_export(rows: Iterable[BookRow]) -> bytes:
    """The standard usage export of BigQuery, one JSON object a line."""
    return b"".join(
        exact_json(
            {
                "billing_account_id": row.account,
                "service": {"id": "C7E2-9256-1C43", "description": "Vertex AI"},
                "sku": {"id": f"SKU-{kind}", "description": f"{row.model} {GOOGLE_WORDS[kind]}"},
                "usage_start_time": f"{_hour(row):%Y-%m-%d %H:%M:%S} UTC",
                "usage_end_time": f"{_hour(row) + timedelta(hours=1):%Y-%m-%d %H:%M:%S} UTC",
                "project": {"id": row.project},
                "labels": [{"key": "team", "value": "search"}],
                "location": {"region": row.region},
                "cost": dollars(amount_nanousd),
                "currency": "USD",
                "usage": {
                    "amount": count,
                    "unit": "count",
                    "amount_in_pricing_units": Decimal(count).scaleb(-6),
                    "pricing_unit": "1M count",
                },
                "credits": [],
                "invoice": {"month": f"{_month(row):%Y%m}"},
                "cost_type": "regular",
            }
        )
        + b"\n"
        for row, kind, count, amount_nanousd in _kinds(rows, GOOGLE_WORDS)
    )


def focus(rows: Iterable[BookRow], *, version: str = "1.4", provider: str = "Anthropic") -> bytes:
    """Cost and usage in FOCUS: 1.0 without `SkuMeter`, from 1.4 on with `ServiceProviderName` for `ProviderName`."""
    return _csv(
        {
            "BilledCost": decimal_text(dollars(amount_nanousd)),
            "BillingAccountId": row.account,
            "BillingCurrency": "USD",
            "BillingPeriodStart": f"{_month(row):%Y-%m-%dT%H:%M:%SZ}",
            "BillingPeriodEnd": f"{_next(row):%Y-%m-%dT%H:%M:%SZ}",
            "ChargeCategory": "Usage",
            "ChargeClass": "",
            "ChargeDescription": f"{FOCUS_METERS[kind]} for {row.model}",
            "ChargePeriodStart": f"{_hour(row):%Y-%m-%dT%H:%M:%SZ}",
            "ChargePeriodEnd": f"{_hour(row) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
            "ConsumedQuantity": f"{count}.0",
            "ConsumedUnit": "Tokens",
            "InvoiceIssuerName": provider,
            "ListCost": decimal_text(dollars(amount_nanousd)),
            "PricingQuantity": decimal_text(Decimal(count).scaleb(-6)),
            "PricingUnit": "1000000 Tokens",
            "ServiceProviderName" if version >= "1.4" else "ProviderName": provider,
            "RegionId": row.region,
            "ServiceName": f"{provider} API",
            "SkuId": f"{row.model}/{kind}",
            **(
                {}
                if version == "1.0"
                else {"SkuMeter": FOCUS_METERS[kind], "SkuPriceDetails": json.dumps({"x_ModelId": row.model})}
            ),
            "SubAccountId": row.project or "",
            "Tags": json.dumps({"team": "search"}),
        }
        for row, kind, count, amount_nanousd in _kinds(rows, FOCUS_METERS)
    )


def _kinds(rows: Iterable[BookRow], known: Iterable[str]) -> Iterator[tuple[BookRow, str, int, int]]:
    """Each row's kinds with what was used and what it cost, whichever is there."""
    names = set(known)
    for row in rows:
        for kind in dict.fromkeys([*row.used, *row.costs_nanousd]):
            assert kind in names, f"this export has no {kind}"
            yield row, kind, row.used.get(kind, 0), row.costs_nanousd.get(kind, 0)


def _csv(rows: Iterable[dict[str, Any]]) -> bytes:
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(listed[0]) if listed else [], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue().encode()


def _hour(row: BookRow) -> datetime:
    return row.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _month(row: BookRow) -> datetime:
    return row.day.replace(day=1)


def _next(row: BookRow) -> datetime:
    return (_month(row) + timedelta(days=32)).replace(day=1)
