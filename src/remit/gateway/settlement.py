"""What a call's end means for its hold: pure, from what the vendor answered to an `Ending`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from remit.gateway.decide import Admission
from remit.kernel.usage import Usage
from remit.leases.model import Ending
from remit.pricing.book import PriceBook
from remit.pricing.cost import Priced, price_usage
from remit.pricing.model import Unpriced
from remit.providers.openai import ResponseFacts, sent_service_tier


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorResult:
    """How a vendor call ended.

    `status` is None where no response head arrived. `sent` is False only if not one byte of the request can have
    reached the vendor. `broken` says why the response did not end as its framing said, None where it did.
    """

    sent: bool
    status: int | None = None
    facts: ResponseFacts | None = None
    broken: str | None = None


def ending_of(hold_id: str, admission: Admission, result: VendorResult, prices: PriceBook, now: datetime) -> Ending:
    """Settled where the cost is known, voided where nothing was sent, in suspense otherwise."""
    if not result.sent:
        return Ending(hold_id=hold_id, outcome="voided")
    facts = result.facts
    if facts is not None and facts.usage is not None:
        return _settled(hold_id, facts, price_served(admission, facts, facts.usage, prices, now), facts.usage)
    if result.broken is None and result.status in admission.deployment.unbilled_statuses:
        # It cost nothing, and yet it was a request: limits on requests count it.
        note = f"status {result.status}: not charged"
        return Ending(hold_id=hold_id, outcome="settled", entry={"usage_source": "vendor", "note": note})
    reason = result.broken or ("the vendor stated no usage" if _is_success(result) else f"status {result.status}")
    return _suspense(hold_id, facts, f"cost unknown: {reason}")


def _settled(hold_id: str, facts: ResponseFacts, priced: Priced | Unpriced, usage: Usage) -> Ending:
    if isinstance(priced, Unpriced):
        return _suspense(hold_id, facts, f"cost unknown: {priced.reason}")
    return Ending(
        hold_id=hold_id,
        outcome="settled",
        usd=priced.total_nanousd,
        tokens=usage.total_tokens,
        entry={
            **_served(facts),
            "tier": priced.tier,
            "usage": msgspec.to_builtins(usage),
            "price_lines": msgspec.to_builtins(priced.lines),
            "price_source": priced.source,
            "usage_source": "vendor",
        },
    )


def price_served(
    admission: Admission, facts: ResponseFacts, usage: Usage, prices: PriceBook, now: datetime
) -> Priced | Unpriced:
    """The cost at the model and tier that were served, at the prices of the instant the hold was taken."""
    served = facts.served_model or admission.request.model
    book = prices.lookup(admission.deployment.vendor, served, now)
    if isinstance(book, Unpriced):
        return book
    sent_tier = sent_service_tier(admission.request, admission.deployment.clamp)
    return price_usage(book, usage, facts.served_tier, requested_tier=sent_tier)


def _suspense(hold_id: str, facts: ResponseFacts | None, note: str) -> Ending:
    return Ending(hold_id=hold_id, outcome="suspense", entry={**(_served(facts) if facts else {}), "note": note})


def _served(facts: ResponseFacts) -> dict[str, Any]:
    return {"model_served": facts.served_model, "vendor_request_id": facts.vendor_request_id}


def _is_success(result: VendorResult) -> bool:
    return result.status is not None and 200 <= result.status < 300
