"""Billing Period: one row for each issuer of invoices and month."""

from collections.abc import Iterable, Iterator

from remit.ledger.months import month_after
from remit.reports.focus.columns import Row
from remit.reports.focus.model import BillingMonth, first_instant


def period_rows(month: BillingMonth, issuers: Iterable[str]) -> Iterator[Row]:
    """A month is open or closed for all issuers alike: it is the ledger's month."""
    for issuer in sorted(set(issuers)):
        yield {
            "BillingPeriodCreated": month.created_at,
            "BillingPeriodEnd": first_instant(month_after(month.month)),
            "BillingPeriodLastUpdated": max(month.created_at, month.updated_at),
            "BillingPeriodStart": first_instant(month.month),
            "BillingPeriodStatus": "Closed" if month.is_closed else "Open",
            "InvoiceIssuerName": issuer,
        }
