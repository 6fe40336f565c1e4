"""Invoice Detail: one row for each line of what vendors ask to be paid."""

from collections.abc import Iterable, Iterator

from remit.ledger.months import month_after
from remit.reports.focus.columns import Row
from remit.reports.focus.model import Invoice, first_instant
from remit.reports.focus.names import Naming
from remit.reports.focus.rows import key_value


def invoice_rows(invoices: Iterable[Invoice], naming: Naming) -> Iterator[Row]:
    """Amounts as they were invoiced; an invoice that corrects none refers to itself."""
    for invoice in invoices:
        issuer, account_id = naming.billed(invoice)
        for line in invoice.lines:
            yield {
                "BilledCost": line.amount_nanousd,
                "BillingAccountId": account_id,
                "BillingCurrency": "USD",
                "BillingPeriodEnd": first_instant(month_after(invoice.month)),
                "BillingPeriodStart": first_instant(invoice.month),
                "ChargeCategory": line.category,
                "InvoiceDetailCreated": line.created_at,
                "InvoiceDetailDescription": line.description,
                "InvoiceDetailGrain": key_value(line.grain or {}),
                "InvoiceDetailId": line.detail_id,
                "InvoiceDetailLastUpdated": max(line.created_at, line.updated_at),
                "InvoiceId": invoice.invoice_id,
                "InvoiceIssueDate": invoice.issued_at,
                "InvoiceIssueStatus": invoice.status,
                "InvoiceIssuerName": issuer,
                "PaymentDueDate": invoice.due_at,
                "PaymentTerms": invoice.payment_terms or "Not stated",
                "ReferenceInvoiceId": invoice.corrects_invoice_id or invoice.invoice_id,
            }
