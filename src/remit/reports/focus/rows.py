"""What a row of Cost and Usage says besides its sums: whose charge, of what, when, from where."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from remit.ledger.months import month_after
from remit.reports.focus.columns import Row
from remit.reports.focus.model import Charge, first_instant, month_of
from remit.reports.focus.names import Names
from remit.reports.focus.parts import Part

DEFAULT_TIER: Final = "default"
_CATALOGUE: Final = "genai-prices"


def cost_row(charge: Charge, part: Part, names: Names, period: tuple[datetime, datetime]) -> Row:
    """Every column but the sums and the lineage."""
    is_late = charge.billing_month != month_of(charge.held_at)
    return {
        **_whose(names),
        **_lineage(charge),
        **_allocated(charge),
        **_sku(charge, part),
        "BillingCurrency": "USD",
        "BillingPeriodStart": first_instant(charge.billing_month),
        "BillingPeriodEnd": first_instant(month_after(charge.billing_month)),
        "ChargeCategory": "Adjustment" if part.meter is None else "Usage",
        # Booked after its own month was closed: FOCUS calls that a correction, whatever kind of entry it is.
        "ChargeClass": "Correction" if is_late else None,
        "ChargeDescription": _description(charge, part),
        "ChargeFrequency": "One-Time" if part.meter is None else "Usage-Based",
        "ChargePeriodStart": period[0],
        "ChargePeriodEnd": period[1],
        "InvoiceDetailId": None,
        "InvoiceId": names.invoice_id,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
    }


def key_value(pairs: Mapping[str, Any]) -> str | None:
    """A Key-Value object of FOCUS; null where there is nothing to say."""
    return json.dumps(dict(sorted(pairs.items())), ensure_ascii=False, separators=(",", ":")) if pairs else None


def credential(block_ids: tuple[str, ...]) -> Row:
    """What was shown, and for whom its holder had made it; of single entries, as an agent may make one for each task."""
    return {
        "x_ConsumerId": block_ids[-1] if len(block_ids) > 1 else None,
        "x_CredentialDetails": key_value({"x_BlockIds": list(block_ids)} if block_ids else {}),
        "x_CredentialId": block_ids[-1] if block_ids else None,
    }


def _whose(names: Names) -> Row:
    return {
        "BillingAccountId": names.account_id,
        "BillingAccountName": names.account_name,
        "BillingAccountType": names.account_type,
        "HostProviderName": names.host,
        "InvoiceIssuerName": names.issuer,
        "ServiceName": names.service,
        "ServiceProviderName": names.provider,
        "SubAccountId": names.sub_account_id,
        "SubAccountName": names.sub_account_name,
        "SubAccountType": None if names.sub_account_id is None else "Project",
    }


def _lineage(charge: Charge) -> Row:
    return {
        "Tags": key_value(charge.tags),
        "x_Deployment": charge.deployment,
        "x_GrantClass": charge.grant_class,
        "x_GrantId": charge.grant_id,
        "x_GrantPath": charge.grant_path,
        "x_Kind": charge.kind,
        "x_ListPriceKnown": (charge.price_source or "").startswith(_CATALOGUE),
        "x_Owner": charge.owner,
        "x_PriceCatalogVersion": charge.price_source,
        "x_PrincipalId": charge.principal_id,
        "x_UsageSource": charge.usage_source,
    }


def _allocated(charge: Charge) -> Row:
    """Of a transfer, whose cost it became or stopped being; the rows of one `x_TransferId` sum to nothing."""
    if charge.kind != "transfer":
        return {
            "AllocatedMethodId": None,
            "AllocatedResourceId": None,
            "AllocatedResourceName": None,
            "AllocatedTags": None,
            "x_TransferId": None,
        }
    said = charge.settlement or {}
    return {
        "AllocatedMethodId": str(said.get("rule") or said.get("how") or "transfer"),
        "AllocatedResourceId": charge.grant_id,
        "AllocatedResourceName": charge.grant_path,
        "AllocatedTags": key_value(charge.tags),
        "x_TransferId": None if said.get("transfer_id") is None else str(said["transfer_id"]),
    }


def _sku(charge: Charge, part: Part) -> Row:
    if part.meter is None:
        return {
            "ConsumedUnit": None, "PricingCategory": None, "PricingUnit": None, "SkuId": None, "SkuMeter": None,
            "SkuPriceDetails": None, "SkuPriceId": None,
        }  # fmt: skip
    meter, model, tier = part.meter, charge.model or "unknown", charge.tier or DEFAULT_TIER
    sku = f"{charge.vendor}/{model}/{meter.slug}"
    # A model has several prices of one tier where its prices depend on the size of the request, which an entry does not
    # say; the price itself tells them apart. What a request was booked at is no price that anybody published.
    is_priced = meter.is_tokens or meter.slug == "request"
    price_id = f"{sku}/{tier}/{part.price_nanousd_per_million}" if is_priced else f"{sku}/{tier}"
    details = {**dict(meter.details), "x_ModelId": model, "x_ServiceTier": tier}
    return {
        "ConsumedUnit": meter.unit,
        "PricingCategory": "Standard",
        "PricingUnit": "1000000 Tokens" if meter.is_tokens else meter.unit,
        "SkuId": sku,
        "SkuMeter": meter.name,
        "SkuPriceDetails": key_value(details),
        "SkuPriceId": price_id,
    }


def _description(charge: Charge, part: Part) -> str:
    if part.meter is not None:
        taken_back = " taken back" if part.units < 0 else ""
        return f"{part.meter.name} of {charge.model or 'unknown'}{taken_back}"
    if charge.kind == "transfer":
        return "Transfer between grants"
    cause = (charge.settlement or {}).get("cause")
    return f"Adjustment to the vendor's statement{f': {cause}' if isinstance(cause, str) else ''}"
